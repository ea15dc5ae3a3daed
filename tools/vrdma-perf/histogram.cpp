#include "tools/vrdma-perf/histogram.h"

#include <algorithm>
#include <cmath>

// A log-linear histogram: each power of two is divided into 128 buckets of equal width, so a bucket
// is at most 1/128 of its value wide and its middle is within 0.4 % of anything in it. Recording is
// one shift and one increment whatever the value. Minimum, maximum and mean are kept exactly; a
// percentile is never reported outside of them.

namespace vrdma::perf {

std::uint64_t Histogram::middle_of(std::size_t bucket) {
    if (bucket < 2 * kSub) {
        return bucket;
    }
    const auto exponent = static_cast<unsigned>((bucket >> kSubBits) - 1);
    const std::uint64_t low = (kSub + (bucket & (kSub - 1))) << exponent;
    return low + (std::uint64_t{1} << exponent) / 2;
}

void Histogram::merge(const Histogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) {
        counts_[i] += other.counts_[i];
    }
    count_ += other.count_;
    sum_ += other.sum_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
}

double Histogram::mean() const {
    return count_ == 0 ? 0.0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::uint64_t Histogram::percentile(double percent) const {
    if (count_ == 0) {
        return 0;
    }
    // The tolerance keeps 99.9 % of 1000 from becoming rank 1000 by rounding.
    const double exact_rank = std::ceil(percent * static_cast<double>(count_) / 100.0 - 1e-6);
    const auto rank =
        std::clamp<std::uint64_t>(static_cast<std::uint64_t>(std::max(exact_rank, 0.0)), 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
        seen += counts_[i];
        if (seen >= rank) {
            return std::clamp(middle_of(i), min_, max_);
        }
    }
    return max_;
}

}  // namespace vrdma::perf
