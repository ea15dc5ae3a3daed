#pragma once

// Counts of durations, with percentiles within 1 % at any magnitude.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace vrdma::perf {

class Histogram {
  public:
    /// `ticks` in any unit; percentiles come back in the same unit.
    void record(std::uint64_t ticks) {
        ++counts_[bucket_of(ticks)];
        ++count_;
        sum_ += ticks;
        min_ = ticks < min_ ? ticks : min_;
        max_ = ticks > max_ ? ticks : max_;
    }
    void merge(const Histogram& other);

    [[nodiscard]] std::uint64_t count() const { return count_; }
    [[nodiscard]] std::uint64_t min() const { return count_ == 0 ? 0 : min_; }
    [[nodiscard]] std::uint64_t max() const { return max_; }
    [[nodiscard]] double mean() const;
    /// The smallest value that at least `percent` of the records do not exceed; 0 without records.
    [[nodiscard]] std::uint64_t percentile(double percent) const;

  private:
    static constexpr unsigned kSubBits = 7;
    static constexpr std::uint64_t kSub = 1U << kSubBits;
    static constexpr std::size_t kBuckets = (64 - kSubBits + 1) * kSub;

    static std::size_t bucket_of(std::uint64_t value) {
        if (value < kSub) {
            return static_cast<std::size_t>(value);
        }
        const auto exponent = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
        return static_cast<std::size_t>((exponent << kSubBits) + (value >> exponent));
    }
    static std::uint64_t middle_of(std::size_t bucket);

    std::array<std::uint64_t, kBuckets> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t sum_ = 0;
    std::uint64_t min_ = UINT64_MAX;
    std::uint64_t max_ = 0;
};

}  // namespace vrdma::perf
