// now() is one rdtsc and one multiplication by a 32.32 fixed-point factor. The factor is measured
// over 20 ms, which is good to about one part in 10^5: enough for timers that are specified to
// within 4x.
#include "dataplane/platform/clock.h"

#include <time.h>
#include <x86intrin.h>

namespace vrdma::platform {
namespace {

uint64_t factor = uint64_t{1} << 32;

int64_t monotonic_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

void calibrate_clock() {
    constexpr int64_t kMeasureNs = 20'000'000;
    const int64_t start_ns = monotonic_ns();
    const uint64_t start = __rdtsc();
    int64_t elapsed = 0;
    do {
        elapsed = monotonic_ns() - start_ns;
    } while (elapsed < kMeasureNs);
    const uint64_t ticks = __rdtsc() - start;
    factor = static_cast<uint64_t>((static_cast<__uint128_t>(elapsed) << 32) / ticks);
}

Instant now() {
    return Instant{static_cast<int64_t>((static_cast<__uint128_t>(__rdtsc()) * factor) >> 32)};
}

}  // namespace vrdma::platform
