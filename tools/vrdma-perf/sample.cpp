#include "tools/vrdma-perf/sample.h"

#include <algorithm>

// Decides which samples count. On a machine whose CPUs move nearer and farther, a median over all
// samples says more about the host's scheduler than about what is measured; so the summary is of
// the samples that were near before and after, and says how many those were. Best values are
// reported beside the median, never instead of it.

namespace vrdma::perf {

namespace {

constexpr double kPercentMedian = 50.0;
constexpr double kPercent99 = 99.0;
constexpr double kPercent999 = 99.9;

double median_of(const Selection& selection, double LatencyStats::*field) {
    std::vector<double> values;
    for (const Sample* sample : selection.samples) {
        values.push_back(sample->latency.*field);
    }
    return median(std::move(values));
}

}  // namespace

LatencyStats latency_stats(const Histogram& histogram, const verbs_util::Tsc& tsc) {
    LatencyStats stats;
    stats.p50_ns = tsc.to_ns(histogram.percentile(kPercentMedian));
    stats.p99_ns = tsc.to_ns(histogram.percentile(kPercent99));
    stats.p999_ns = tsc.to_ns(histogram.percentile(kPercent999));
    stats.max_ns = tsc.to_ns(histogram.max());
    stats.min_ns = tsc.to_ns(histogram.min());
    stats.mean_ns = histogram.mean() * tsc.to_ns(1);
    return stats;
}

double median(std::vector<double> values) {
    if (values.empty()) {
        return 0.0;
    }
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2.0;
}

Selection select_comparable(const std::vector<Sample>& samples) {
    Selection selection;
    for (const Distance wanted : {Distance::kNear, Distance::kFar}) {
        for (const Sample& sample : samples) {
            if (sample.distance() == wanted) {
                selection.samples.push_back(&sample);
            }
        }
        if (!selection.samples.empty()) {
            selection.distance = wanted;
            return selection;
        }
    }
    for (const Sample& sample : samples) {
        selection.samples.push_back(&sample);
        selection.distance =
            sample.distance() == Distance::kMixed ? Distance::kMixed : selection.distance;
    }
    return selection;
}

LatencySummary summarize_latency(const std::vector<Sample>& samples) {
    const Selection selection = select_comparable(samples);
    LatencySummary summary;
    summary.distance = selection.distance;
    summary.used = selection.samples.size();
    summary.taken = samples.size();
    for (const auto field :
         {&LatencyStats::p50_ns, &LatencyStats::p99_ns, &LatencyStats::p999_ns,
          &LatencyStats::max_ns, &LatencyStats::min_ns, &LatencyStats::mean_ns}) {
        summary.median.*field = median_of(selection, field);
    }
    for (const Sample* sample : selection.samples) {
        const double p50 = sample->latency.p50_ns;
        summary.best_p50_ns = summary.best_p50_ns == 0.0 ? p50 : std::min(summary.best_p50_ns, p50);
    }
    return summary;
}

RateSummary summarize_rate(const std::vector<Sample>& samples) {
    const Selection selection = select_comparable(samples);
    RateSummary summary;
    summary.distance = selection.distance;
    summary.used = selection.samples.size();
    summary.taken = samples.size();
    std::vector<double> rates;
    for (const Sample* sample : selection.samples) {
        rates.push_back(sample->rate());
        summary.best_rate = std::max(summary.best_rate, sample->rate());
    }
    summary.median_rate = median(std::move(rates));
    return summary;
}

}  // namespace vrdma::perf
