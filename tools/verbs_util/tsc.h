#pragma once

// Time for measuring: the time stamp counter, which costs a third of clock_gettime.

#include <x86intrin.h>

#include <cstdint>

namespace vrdma::verbs_util {

class Tsc {
  public:
    /// Compares the counter with CLOCK_MONOTONIC_RAW for about 20 ms.
    [[nodiscard]] static Tsc calibrate();

    [[nodiscard]] static std::uint64_t now() { return __rdtsc(); }
    [[nodiscard]] double to_ns(std::uint64_t ticks) const {
        return static_cast<double>(ticks) * ns_per_tick_;
    }
    [[nodiscard]] std::uint64_t from_seconds(double seconds) const {
        return static_cast<std::uint64_t>(seconds * 1e9 / ns_per_tick_);
    }
    [[nodiscard]] double ghz() const { return 1.0 / ns_per_tick_; }
    /// False on a processor whose counter stops or changes speed: times are then not to be trusted.
    [[nodiscard]] bool invariant() const { return invariant_; }

  private:
    double ns_per_tick_ = 1.0;
    bool invariant_ = false;
};

/// CLOCK_MONOTONIC in nanoseconds: comparable between the processes of one host.
[[nodiscard]] std::uint64_t monotonic_ns();

}  // namespace vrdma::verbs_util
