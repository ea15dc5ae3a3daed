// What time it is, for what must be exact within a turn: time stamps of completions.
#pragma once

#include "dataplane/base/time.h"

namespace vrdma {

class Clock {
  public:
    virtual ~Clock() = default;
    // The clock of which every turn is told the time.
    [[nodiscard]] virtual Instant now() = 0;
};

}  // namespace vrdma
