#pragma once

// Samples of one measurement, and what is reported of them.

#include <cstdint>
#include <vector>

#include "tools/verbs_util/tsc.h"
#include "tools/vrdma-perf/distance_probe.h"
#include "tools/vrdma-perf/histogram.h"

namespace vrdma::perf {

struct LatencyStats {
    double p50_ns = 0.0;
    double p99_ns = 0.0;
    double p999_ns = 0.0;
    double max_ns = 0.0;
    double min_ns = 0.0;
    double mean_ns = 0.0;
};

[[nodiscard]] LatencyStats latency_stats(const Histogram& histogram, const verbs_util::Tsc& tsc);

struct Sample {
    Probe before;
    Probe after;
    double cpu_share = 0.0;  ///< of one CPU that the measuring thread got; well below 1: disturbed
    std::uint64_t operations = 0;
    double seconds = 0.0;
    LatencyStats latency;  ///< of latency samples

    [[nodiscard]] Distance distance() const { return combine(before.distance, after.distance); }
    [[nodiscard]] double rate() const {
        return seconds > 0.0 ? static_cast<double>(operations) / seconds : 0.0;
    }
};

/// Which samples a summary is of.
struct Selection {
    std::vector<const Sample*> samples;
    Distance distance = Distance::kUnknown;  ///< what they have in common; kMixed when nothing
};

/// The near samples if there are any, else the far ones, else all.
[[nodiscard]] Selection select_comparable(const std::vector<Sample>& samples);

struct LatencySummary {
    LatencyStats median;  ///< each field: median over the samples
    double best_p50_ns = 0.0;
    Distance distance = Distance::kUnknown;
    std::size_t used = 0;
    std::size_t taken = 0;
};
[[nodiscard]] LatencySummary summarize_latency(const std::vector<Sample>& samples);

struct RateSummary {
    double median_rate = 0.0;  ///< operations per second
    double best_rate = 0.0;
    Distance distance = Distance::kUnknown;
    std::size_t used = 0;
    std::size_t taken = 0;
};
[[nodiscard]] RateSummary summarize_rate(const std::vector<Sample>& samples);

/// The mean of the two middle values when their number is even; 0 for none.
[[nodiscard]] double median(std::vector<double> values);

}  // namespace vrdma::perf
