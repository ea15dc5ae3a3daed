#include "tools/verbs_util/tsc.h"

#include <cpuid.h>

#include <ctime>

// Calibrates the time stamp counter. Each end of the interval is read several times and the reading
// with the shortest gap around clock_gettime is kept, so being scheduled out between the two reads
// does not shift the result. CLOCK_MONOTONIC_RAW is not slewed by time synchronisation.

namespace vrdma::verbs_util {

namespace {

constexpr std::uint64_t kCalibrationNs = 20'000'000;
constexpr int kReadings = 8;

struct Reading {
    std::uint64_t ns = 0;
    std::uint64_t ticks = 0;
    std::uint64_t gap = UINT64_MAX;
};

std::uint64_t clock_ns(clockid_t clock) {
    timespec now{};
    (void)clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

Reading read_both() {
    Reading best;
    for (int i = 0; i < kReadings; ++i) {
        const std::uint64_t before = Tsc::now();
        const std::uint64_t ns = clock_ns(CLOCK_MONOTONIC_RAW);
        const std::uint64_t gap = Tsc::now() - before;
        if (gap < best.gap) {
            best = {ns, before + gap / 2, gap};
        }
    }
    return best;
}

bool counter_is_invariant() {
    constexpr unsigned kAdvancedPowerManagement = 0x80000007U;
    constexpr unsigned kInvariantTsc = 1U << 8;
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __get_cpuid(kAdvancedPowerManagement, &a, &b, &c, &d) != 0 && (d & kInvariantTsc) != 0;
}

}  // namespace

Tsc Tsc::calibrate() {
    Tsc tsc;
    const Reading start = read_both();
    while (clock_ns(CLOCK_MONOTONIC_RAW) - start.ns < kCalibrationNs) {
    }
    const Reading end = read_both();
    tsc.ns_per_tick_ =
        static_cast<double>(end.ns - start.ns) / static_cast<double>(end.ticks - start.ticks);
    tsc.invariant_ = counter_is_invariant();
    return tsc;
}

std::uint64_t monotonic_ns() {
    return clock_ns(CLOCK_MONOTONIC);
}

}  // namespace vrdma::verbs_util
