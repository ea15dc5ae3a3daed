#pragma once

// How far apart two CPUs are right now.

#include <cstdint>
#include <string_view>

#include "tools/verbs_util/tsc.h"

namespace vrdma::perf {

enum class Distance : std::uint8_t {
    kNear,     ///< they share a cache
    kFar,      ///< they do not
    kMixed,    ///< it changed during a sample
    kUnknown,  ///< fewer than two CPUs, or they were too busy to tell
};

[[nodiscard]] std::string_view distance_name(Distance distance);

struct Probe {
    Distance distance = Distance::kUnknown;
    double round_trip_ns = 0.0;  ///< median of a ping-pong over two cache lines
};

/// Round trips below this are near.
inline constexpr double kNearLimitNs = 250.0;

/// Near or far by `round_trip_ns`.
[[nodiscard]] Distance classify(double round_trip_ns);
/// What a sample is labelled with, given the probes before and after it.
[[nodiscard]] Distance combine(Distance before, Distance after);

/// Takes well below a millisecond when both CPUs are free. The calling thread is moved to `cpu_a`
/// for that time. kUnknown when the two are the same or cannot be used.
[[nodiscard]] Probe probe_distance(int cpu_a, int cpu_b, const verbs_util::Tsc& tsc);

}  // namespace vrdma::perf
