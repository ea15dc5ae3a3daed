// A descriptor from a tenant may be anything that can be opened: a file of a file system that the
// tenant itself serves, a terminal, an epoll descriptor. Each kind is recognised by something the
// tenant cannot forge (the file system's type, the kernel's own name of the object), everything
// else is refused.
#include "dataplane/platform/tenant_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    struct stat status {};
    struct statfs system {};
    if (fstat(file, &status) != 0 || fstatfs(file, &system) != 0 || !S_ISREG(status.st_mode)) {
        return refused("shared memory must be a file");
    }
    const auto type = static_cast<unsigned long>(system.f_type);
    if (type != TMPFS_MAGIC && type != HUGETLBFS_MAGIC && type != RAMFS_MAGIC) {
        return refused("shared memory must be a memfd or a file of tmpfs or hugetlbfs");
    }
    if (sealed) {
        const int seals = fcntl(file, F_GET_SEALS);
        if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
            return refused("the memfd must be sealed with F_SEAL_SHRINK");
        }
    }
    const uint64_t size = static_cast<uint64_t>(status.st_size);
    if (offset % 4096 != 0 || length == 0 || length % 4096 != 0) {
        return refused("offset and length must be whole pages");
    }
    if (length > size || offset > size - length) {
        return refused("the file is shorter than the range");
    }
    void* base = mmap(nullptr, length, PROT_READ | (writable ? PROT_WRITE : 0),
                      MAP_SHARED | MAP_NORESERVE, file, static_cast<off_t>(offset));
    if (base == MAP_FAILED) {
        return refused("the file cannot be mapped with these rights, offset and length");
    }
    const std::optional<GuardedRange> range = guard(static_cast<std::byte*>(base), length);
    if (!range) {
        munmap(base, length);
        return refused("no more mappings are possible on this host");
    }
    return TenantMapping{static_cast<std::byte*>(base), range->broken};
}

void unmap_shared(std::byte* base, uint64_t length) {
    unguard(base);
    munmap(base, length);
}

bool is_process_memory(int file) {
    struct statfs system {};
    if (fstatfs(file, &system) != 0 || system.f_type != PROC_SUPER_MAGIC) {
        return false;
    }
    std::array<char, 256> buffer{};
    const std::string_view name = name_of(file, buffer);
    constexpr std::string_view kEnd = "/mem";
    return name.size() > kEnd.size() && name.substr(name.size() - kEnd.size()) == kEnd &&
           (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDWR;
}

bool is_event_counter(int file) {
    std::array<char, 64> buffer{};
    return name_of(file, buffer) == "anon_inode:[eventfd]";
}

bool is_local_socket(int file) {
    int domain = 0;
    socklen_t length = sizeof domain;
    return getsockopt(file, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

}  // namespace vrdma::platform
