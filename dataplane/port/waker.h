// Wakes the worker of a shard that may be asleep. Cheap when it is awake.
#pragma once

#include <cstdint>

namespace vrdma {

class Waker {
  public:
    virtual ~Waker() = default;
    virtual void wake(uint32_t shard) = 0;
};

}  // namespace vrdma
