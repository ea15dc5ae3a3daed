#pragma once

// The sparse memory file into which private memory of this process is adopted. Offsets are handed
// out once and never again. Not thread-safe: the MemoryMap's lock is held around every call.

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "driver/memory/memory_map.h"

namespace vrdma::tenant_memory {

class AdoptionFile {
  public:
    struct Extent {
        uint64_t offset = 0;    // congruent to the address modulo kHugePageBytes
        uint64_t reserved = 0;  // bytes from offset that are nobody else's, the gap included
    };

    AdoptionFile() = default;
    ~AdoptionFile();
    AdoptionFile(const AdoptionFile&) = delete;
    AdoptionFile& operator=(const AdoptionFile&) = delete;

    // Makes the file unless it is there. Errors of the kernel (EMFILE, ENOMEM); EFBIG when a
    // RLIMIT_FSIZE would kill the process for it; EBADF when the program closed the descriptor.
    [[nodiscard]] tl::expected<void, Error> open();

    // The descriptor, or -1: not open, or the program closed it under us.
    [[nodiscard]] int fd() const;

    // In the child of a fork: the file is the parent's; a later open() makes another.
    void close_in_child();

    // Where `length` bytes at `address` go; ENOSPC when the file is used up.
    [[nodiscard]] tl::expected<Extent, Error> reserve(uint64_t address, uint64_t length);

    // Gives the memory behind [offset, offset+length) back to the system.
    void punch(uint64_t offset, uint64_t length) const;

    [[nodiscard]] uint64_t bytes_in_use() const;

    // As /proc/self/maps prints it.
    uint32_t device_major() const { return device_major_; }
    uint32_t device_minor() const { return device_minor_; }
    uint64_t inode() const { return inode_; }

    static constexpr uint64_t kFileBytes = 1ull << 62;
    static constexpr uint64_t kGapBytes = 1ull << 30;
    static constexpr uint64_t kHugePageBytes = 2ull << 20;

  private:
    int fd_ = -1;
    uint32_t device_major_ = 0;
    uint32_t device_minor_ = 0;
    uint64_t inode_ = 0;
    uint64_t next_ = 0;
};

}  // namespace vrdma::tenant_memory
