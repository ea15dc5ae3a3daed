#include "tools/vrdma-perf/sample.h"

#include <gtest/gtest.h>

namespace vrdma::perf {
namespace {

Sample sample(Distance before, Distance after, double p50_ns, std::uint64_t operations) {
    Sample made;
    made.before.distance = before;
    made.after.distance = after;
    made.latency.p50_ns = p50_ns;
    made.operations = operations;
    made.seconds = 1.0;
    return made;
}

TEST(Median, odd_and_even_numbers_of_values) {
    EXPECT_EQ(median({}), 0.0);
    EXPECT_EQ(median({3.0, 1.0, 2.0}), 2.0);
    EXPECT_EQ(median({4.0, 1.0, 2.0, 3.0}), 2.5);
}

TEST(Summary, near_samples_alone_count_when_there_are_any) {
    const std::vector<Sample> samples = {sample(Distance::kNear, Distance::kNear, 300, 30),
                                         sample(Distance::kFar, Distance::kFar, 900, 10),
                                         sample(Distance::kNear, Distance::kFar, 100, 99),
                                         sample(Distance::kNear, Distance::kNear, 500, 20)};
    const auto latency = summarize_latency(samples);
    EXPECT_EQ(latency.median.p50_ns, 400.0);
    EXPECT_EQ(latency.best_p50_ns, 300.0);
    EXPECT_EQ(latency.distance, Distance::kNear);
    EXPECT_EQ(latency.used, 2U);
    EXPECT_EQ(latency.taken, 4U);
    const auto rate = summarize_rate(samples);
    EXPECT_EQ(rate.median_rate, 25.0);
    EXPECT_EQ(rate.best_rate, 30.0);
}

TEST(Summary, far_samples_count_when_none_was_near) {
    const auto summary = summarize_latency({sample(Distance::kFar, Distance::kFar, 900, 1),
                                            sample(Distance::kNear, Distance::kFar, 100, 1)});
    EXPECT_EQ(summary.median.p50_ns, 900.0);
    EXPECT_EQ(summary.distance, Distance::kFar);
}

TEST(Summary, all_count_when_none_is_pure) {
    const auto summary = summarize_latency({sample(Distance::kFar, Distance::kNear, 900, 1),
                                            sample(Distance::kNear, Distance::kFar, 100, 1)});
    EXPECT_EQ(summary.used, 2U);
    EXPECT_EQ(summary.distance, Distance::kMixed);
}

TEST(Summary, no_samples_give_zero) {
    EXPECT_EQ(summarize_latency({}).median.p50_ns, 0.0);
    EXPECT_EQ(summarize_rate({}).median_rate, 0.0);
}

}  // namespace
}  // namespace vrdma::perf
