#include "tools/vrdma-perf/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace vrdma::perf {
namespace {

TEST(Histogram, empty_reports_zero) {
    const Histogram histogram;
    EXPECT_EQ(histogram.count(), 0U);
    EXPECT_EQ(histogram.percentile(50), 0U);
    EXPECT_EQ(histogram.min(), 0U);
    EXPECT_EQ(histogram.max(), 0U);
    EXPECT_EQ(histogram.mean(), 0.0);
}

TEST(Histogram, single_value_is_every_percentile) {
    Histogram histogram;
    histogram.record(123'456'789);
    for (const double percent : {0.0, 1.0, 50.0, 99.9, 100.0}) {
        EXPECT_EQ(histogram.percentile(percent), 123'456'789U);
    }
}

TEST(Histogram, small_values_are_exact) {
    Histogram histogram;
    for (std::uint64_t value = 1; value <= 100; ++value) {
        histogram.record(value);
    }
    EXPECT_EQ(histogram.percentile(50), 50U);
    EXPECT_EQ(histogram.percentile(99), 99U);
    EXPECT_EQ(histogram.percentile(100), 100U);
    EXPECT_EQ(histogram.percentile(0.5), 1U);
}

TEST(Histogram, mean_and_extremes_are_exact) {
    Histogram histogram;
    histogram.record(1'000'003);
    histogram.record(5);
    EXPECT_EQ(histogram.min(), 5U);
    EXPECT_EQ(histogram.max(), 1'000'003U);
    EXPECT_DOUBLE_EQ(histogram.mean(), 500'004.0);
}

TEST(Histogram, percentiles_of_any_magnitude_are_within_one_percent) {
    std::mt19937_64 random(1);
    std::uniform_real_distribution<double> exponent(0.0, 60.0);
    Histogram histogram;
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 20'000; ++i) {
        values.push_back(static_cast<std::uint64_t>(std::exp2(exponent(random))));
        histogram.record(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const double percent : {1.0, 10.0, 50.0, 90.0, 99.0, 99.9}) {
        const auto rank =
            static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
        const auto exact = static_cast<double>(values[rank - 1]);
        const auto found = static_cast<double>(histogram.percentile(percent));
        EXPECT_NEAR(found, exact, exact * 0.01) << percent;
    }
}

TEST(Histogram, largest_value_has_a_bucket) {
    Histogram histogram;
    histogram.record(UINT64_MAX);
    EXPECT_EQ(histogram.percentile(50), UINT64_MAX);
}

TEST(Histogram, one_slow_operation_in_a_thousand_shows_at_99_95) {
    Histogram histogram;
    for (int i = 0; i < 999; ++i) {
        histogram.record(100);
    }
    histogram.record(50'000);
    EXPECT_EQ(histogram.percentile(99.9), 100U);
    EXPECT_EQ(histogram.percentile(99.95), 50'000U);
}

TEST(Histogram, merged_counts_like_one) {
    Histogram one;
    Histogram other;
    one.record(10);
    other.record(30);
    other.record(20);
    one.merge(other);
    EXPECT_EQ(one.count(), 3U);
    EXPECT_EQ(one.percentile(50), 20U);
    EXPECT_EQ(one.max(), 30U);
    EXPECT_EQ(one.min(), 10U);
}

}  // namespace
}  // namespace vrdma::perf
