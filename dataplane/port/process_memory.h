// Memory of a tenant that is not mapped here: reached through the tenant's own /proc/self/mem file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vrdma {

class ProcessMemory {
  public:
    virtual ~ProcessMemory() = default;
    // Copies `length` bytes at the tenant's virtual `address`. False when the tenant's memory is
    // not there (unmapped, or the process is gone); then some bytes may have been copied.
    [[nodiscard]] virtual bool read(int file, uint64_t address, std::byte* to, size_t length) = 0;
    [[nodiscard]] virtual bool write(int file, uint64_t address, const std::byte* from,
                                     size_t length) = 0;
};

}  // namespace vrdma
