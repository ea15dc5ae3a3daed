// Gives back what a worker must not give back itself: unmapping and closing take the kernel's time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vrdma {

class Reclaimer {
  public:
    virtual ~Reclaimer() = default;
    // Never blocks. The worker does not touch the memory or the file any more.
    virtual void unmap(std::byte* base, uint64_t length) = 0;
    virtual void close(int file) = 0;
};

}  // namespace vrdma
