#include "tools/verbs_util/memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "tools/verbs_util/unique_fd.h"

// Allocates the four kinds of memory a verbs program registers. Heap memory is deliberately not
// page aligned: its first and last page also hold other data, which is the hard case for a device
// that makes memory reachable page by page. Shared kinds are sealed against shrinking, as a careful
// program would do before it hands a file to anyone. The file descriptor is closed after mapping:
// whoever needs the file has to find it from the mapping, as with any program's memory.

namespace vrdma::verbs_util {

namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

Result<void*> map_memfd(std::size_t bytes, bool huge) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    flags |= huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0U;
    const UniqueFd fd(memfd_create("vrdma-transfer", flags));
    const std::string remedy = huge ? "reserve huge pages: sysctl vm.nr_hugepages=N" : "";
    if (!fd || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
        return fail_errno(ErrorKind::kSetup, fmt::format("memfd of {} bytes", bytes), errno,
                          remedy);
    }
    (void)fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK);
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (at == MAP_FAILED) {
        return fail_errno(ErrorKind::kSetup, fmt::format("mapping a memfd of {} bytes", bytes),
                          errno, remedy);
    }
    return at;
}

}  // namespace

std::string_view memory_kind_name(MemoryKind kind) {
    switch (kind) {
        case MemoryKind::kMalloc:
            return "malloc";
        case MemoryKind::kMmap:
            return "mmap";
        case MemoryKind::kMemfd:
            return "memfd";
        case MemoryKind::kHugetlb:
            return "hugetlb";
    }
    return "unknown";
}

std::optional<MemoryKind> memory_kind_from(std::string_view name) {
    for (const MemoryKind kind :
         {MemoryKind::kMalloc, MemoryKind::kMmap, MemoryKind::kMemfd, MemoryKind::kHugetlb}) {
        if (name == memory_kind_name(kind)) {
            return kind;
        }
    }
    return std::nullopt;
}

Result<Buffer> Buffer::allocate(MemoryKind kind, std::size_t bytes) {
    Buffer buffer;
    buffer.kind_ = kind;
    buffer.size_ = bytes;
    void* at = nullptr;
    switch (kind) {
        case MemoryKind::kMalloc:
            if (posix_memalign(&at, kCacheLine, bytes == 0 ? kCacheLine : bytes) != 0) {
                return fail_errno(ErrorKind::kSetup, fmt::format("malloc of {} bytes", bytes),
                                  ENOMEM);
            }
            break;
        case MemoryKind::kMmap:
            buffer.mapped_ = round_up(bytes, kPage);
            at = mmap(nullptr, buffer.mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
            if (at == MAP_FAILED) {
                return fail_errno(ErrorKind::kSetup, fmt::format("mmap of {} bytes", bytes), errno);
            }
            break;
        case MemoryKind::kMemfd:
        case MemoryKind::kHugetlb: {
            const bool huge = kind == MemoryKind::kHugetlb;
            buffer.mapped_ = round_up(bytes, huge ? kHugePage : kPage);
            auto mapped = map_memfd(buffer.mapped_, huge);
            if (!mapped) {
                return tl::make_unexpected(mapped.error());
            }
            at = *mapped;
            break;
        }
    }
    buffer.data_ = static_cast<std::byte*>(at);
    std::memset(buffer.data_, 0, bytes);
    return buffer;
}

Buffer::~Buffer() {
    release();
}

Buffer::Buffer(Buffer&& other) noexcept
    : kind_(other.kind_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    if (this != &other) {
        release();
        kind_ = other.kind_;
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
        mapped_ = std::exchange(other.mapped_, 0);
    }
    return *this;
}

void Buffer::release() {
    if (data_ == nullptr) {
        return;
    }
    if (mapped_ != 0) {
        (void)munmap(data_, mapped_);
    } else {
        std::free(data_);
    }
    data_ = nullptr;
}

}  // namespace vrdma::verbs_util
