#include "tools/vrdma-perf/tcp_peer.h"

#include <gtest/gtest.h>

namespace vrdma::perf {
namespace {

class TcpGet : public testing::TestWithParam<bool> {};

TEST_P(TcpGet, every_request_is_answered_and_recorded) {
    const auto tsc = verbs_util::Tsc::calibrate();
    auto peer = TcpPeer::start(GetParam(), -1, tsc);
    ASSERT_TRUE(peer) << peer.error().message();
    for (const std::uint64_t bytes : {8U, 100'000U, 1U}) {
        Histogram histogram;
        const auto result = (*peer)->measure(bytes, {20, 0}, histogram);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(result->operations, 20U);
        EXPECT_EQ(histogram.count(), 20U);
    }
}

INSTANTIATE_TEST_SUITE_P(SpinningAndBlocking, TcpGet, testing::Bool());

}  // namespace
}  // namespace vrdma::perf
