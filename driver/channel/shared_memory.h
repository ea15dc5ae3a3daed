// Memory that the device maps too: a sealed memfd and our mapping of it.
//
// A forked child gets none of it: the mapping is not inherited, so a child can neither see nor
// disturb its parent's queues. abandon() fills the hole with private zero pages in the child, so
// that code that still holds pointers reads an idle queue instead of faulting.
//
// Threading: plain value.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <tl/expected.hpp>
#include <utility>

#include "driver/channel/unique_fd.h"

namespace vrdma::driver {

class SharedMemory {
  public:
    SharedMemory() = default;
    SharedMemory(SharedMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          fd_(std::move(other.fd_)) {}
    SharedMemory& operator=(SharedMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() {
        if (data_ != nullptr) {
            ::munmap(data_, size_);
        }
    }

    // Zeroed memory of `size` bytes (a multiple of the page size); `name` shows up in
    // /proc/<pid>/maps. The error is an errno.
    [[nodiscard]] static tl::expected<SharedMemory, int> create(const char* name,
                                                                std::size_t size) {
#if defined(MFD_NOEXEC_SEAL)
        constexpr unsigned kNoExec = MFD_NOEXEC_SEAL;
#else
        constexpr unsigned kNoExec = 0x8U;  // Linux 6.3; older headers do not know it
#endif
        SharedMemory memory;
        int fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExec);
        if (fd < 0 && errno == EINVAL) {  // a kernel before 6.3
            fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        }
        memory.fd_.reset(fd);
        if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0 ||
            ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
            return tl::unexpected(errno);
        }
        void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            return tl::unexpected(errno);
        }
        memory.data_ = data;
        memory.size_ = size;
        if (::madvise(data, size, MADV_DONTFORK) != 0) {
            return tl::unexpected(errno);
        }
        return memory;
    }

    [[nodiscard]] void* data() const {
        return data_;
    }
    [[nodiscard]] std::size_t size() const {
        return size_;
    }
    [[nodiscard]] int fd() const {
        return fd_.get();
    }
    // Once the device has mapped it, nobody needs the descriptor any more.
    void close_fd() {
        fd_.reset();
    }

    // In a child after fork. Async-signal-safe.
    void abandon() const {
        if (data_ != nullptr) {
            // Whatever took the hole's place since the fork belongs to someone else: leave it.
            [[maybe_unused]] void* zeroes =
                ::mmap(data_, size_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        }
    }

  private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
    UniqueFd fd_;
};

}  // namespace vrdma::driver
