// A descriptor from a tenant may be anything that can be opened: a file of a file system that the
// tenant itself serves, a terminal, an epoll descriptor. Each kind is recognised by something the
// tenant cannot forge (what only memory files can do, the kernel's own name of the object),
// everything else is refused.
//
// Asking a file system a question (fstat, fstatfs), and even closing a file of it, waits for an
// answer, and a tenant's own file system (FUSE) may never give one. So the control thread asks only
// what the kernel answers itself: fcntl, socket options, the name of an open file.
#include "dataplane/platform/tenant_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "dataplane/platform/fault_guard.h"

namespace vrdma::platform {
namespace {

tl::unexpected<const char*> refused(const char* why) {
    return tl::unexpected<const char*>(why);
}

// The kernel's name of an open file, as /proc/self/fd shows it.
template <size_t N>
std::string_view name_of(int file, std::array<char, N>& buffer) {
    std::array<char, 64> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", file);
    const ssize_t length = readlink(path.data(), buffer.data(), buffer.size());
    return length <= 0 ? std::string_view{}
                       : std::string_view{buffer.data(), static_cast<size_t>(length)};
}

}  // namespace

tl::expected<TenantMapping, const char*> map_shared(int file, uint64_t offset, uint64_t length,
                                                    bool writable, bool sealed) {
    const int seals = fcntl(file, F_GET_SEALS);  // only memory files have any
    if (seals < 0) {
        return refused("shared memory must be a memfd or a file of tmpfs or hugetlbfs");
    }
    struct stat status {};
    struct statfs system {};
    if (fstat(file, &status) != 0 || fstatfs(file, &system) != 0 || !S_ISREG(status.st_mode)) {
        return refused("shared memory must be a file");
    }
    const bool may_shrink = (seals & F_SEAL_SHRINK) == 0;
    if (sealed && may_shrink) {
        return refused("the memfd must be sealed with F_SEAL_SHRINK");
    }
    const uint64_t size = static_cast<uint64_t>(status.st_size);
    if (offset % 4096 != 0 || length == 0 || length % 4096 != 0) {
        return refused("offset and length must be whole pages");
    }
    if (length > size || offset > size - length) {
        return refused("the file is shorter than the range");
    }
    // Huge pages are mapped, replaced and unmapped whole.
    const uint64_t page =
        system.f_type == HUGETLBFS_MAGIC ? static_cast<uint64_t>(system.f_bsize) : uint64_t{4096};
    const uint64_t mapped = (length + page - 1) / page * page;
    void* base = mmap(nullptr, mapped, PROT_READ | (writable ? PROT_WRITE : 0),
                      MAP_SHARED | MAP_NORESERVE, file, static_cast<off_t>(offset));
    if (base == MAP_FAILED) {
        return refused("the file cannot be mapped with these rights, offset and length");
    }
    const std::optional<GuardedRange> range = guard(static_cast<std::byte*>(base), mapped);
    if (!range) {
        munmap(base, mapped);
        return refused("no more memory can be mapped on this host (vm.max_map_count)");
    }
    return TenantMapping{static_cast<std::byte*>(base), range->broken, may_shrink};
}

void unmap_shared(std::byte* base) {
    munmap(base, unguard(base));
}

bool is_process_memory(int file) {
    std::array<char, 256> buffer{};
    const std::string_view name = name_of(file, buffer);
    constexpr std::string_view kEnd = "/mem";
    if (name.size() <= kEnd.size() || name.substr(name.size() - kEnd.size()) != kEnd ||
        (fcntl(file, F_GETFL) & (O_ACCMODE | O_PATH)) != O_RDWR) {
        return false;
    }
    struct statfs system {};
    return fstatfs(file, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

bool is_event_counter(int file) {
    std::array<char, 64> buffer{};
    return name_of(file, buffer) == "anon_inode:[eventfd]";
}

bool is_private_socket(int file) {
    const auto option = [file](int name) {
        int value = -1;
        socklen_t length = sizeof value;
        return getsockopt(file, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
    };
    if (option(SO_DOMAIN) != AF_UNIX || option(SO_TYPE) != SOCK_SEQPACKET ||
        option(SO_ACCEPTCONN) != 0) {
        return false;
    }
    const auto unnamed = [file](auto ask) {
        sockaddr_un address{};
        socklen_t length = sizeof address;
        return ask(file, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
               length == sizeof(sa_family_t);
    };
    return unnamed(getsockname) && unnamed(getpeername);
}

std::optional<FileIdentity> identity_of(int file) {
    struct statx status {};
    // What a file system knows without asking: a tenant's own may not answer.
    if (statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) != 0 ||
        (status.stx_mask & STATX_INO) == 0) {
        return std::nullopt;
    }
    return FileIdentity{uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor,
                        status.stx_ino};
}

bool closes_at_once(int file) {
    int domain = 0;
    socklen_t length = sizeof domain;
    return fcntl(file, F_GET_SEALS) >= 0 || is_event_counter(file) ||
           (getsockopt(file, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX);
}

}  // namespace vrdma::platform
