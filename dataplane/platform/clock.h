// The workers' clock: the processor's time stamp counter in nanoseconds.
#pragma once

#include "dataplane/base/time.h"
#include "dataplane/port/clock.h"

namespace vrdma::platform {

// Measures the counter against CLOCK_MONOTONIC once; about 20 ms. Before the first now().
void calibrate_clock();
// Monotonic; not the wall clock. 10 ns.
[[nodiscard]] Instant now();

class WorkerClock final : public Clock {
  public:
    [[nodiscard]] Instant now() override { return platform::now(); }
};

}  // namespace vrdma::platform
