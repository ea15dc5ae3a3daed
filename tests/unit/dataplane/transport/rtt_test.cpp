#include "dataplane/transport/rtt.h"

#include <gtest/gtest.h>

namespace vrdma::transport {
namespace {

TEST(RttEstimator, without_samples_the_timeout_is_the_initial_one) {
    const RttEstimator rtt;
    EXPECT_FALSE(rtt.known());
    EXPECT_EQ(rtt.timeout(), kInitialTimeout);
}

TEST(RttEstimator, rfc6298_2_2_first_sample_gives_three_times_itself) {
    RttEstimator rtt;
    rtt.sample(Duration::microseconds(2000));
    EXPECT_EQ(rtt.smoothed(), Duration::microseconds(2000));
    EXPECT_EQ(rtt.timeout(), Duration::microseconds(6000));
}

TEST(RttEstimator, rfc6298_2_3_later_samples_are_smoothed) {
    RttEstimator rtt;
    rtt.sample(Duration::microseconds(800));
    rtt.sample(Duration::microseconds(1600));
    EXPECT_EQ(rtt.smoothed(), Duration::microseconds(900));
    // variation = 400 + (800 - 400) / 4
    EXPECT_EQ(rtt.timeout(), Duration::microseconds(900 + 4 * 500));
}

TEST(RttEstimator, timeout_has_a_floor_and_a_ceiling) {
    RttEstimator fast;
    fast.sample(Duration::microseconds(2));
    EXPECT_EQ(fast.timeout(), kMinTimeout);
    RttEstimator slow;
    slow.sample(Duration::milliseconds(5000));
    EXPECT_EQ(slow.timeout(), kMaxTimeout);
}

TEST(RttEstimator, minimum_follows_a_path_that_became_longer) {
    RttEstimator rtt;
    rtt.sample(Duration::microseconds(10));
    for (int i = 0; i < 3000; ++i) {
        EXPECT_LE(rtt.minimum(), Duration::microseconds(30));
        rtt.sample(Duration::microseconds(30));
    }
    EXPECT_EQ(rtt.minimum(), Duration::microseconds(30));
}

}  // namespace
}  // namespace vrdma::transport
