#include "dataplane/transport/flowlets.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace vrdma::transport {
namespace {

constexpr uint32_t kLabel = 0x12345;

class FlowletsTest : public testing::Test {
  protected:
    std::optional<uint16_t> after(Duration pause) {
        now = now + pause;
        return flowlets.on_sent(now);
    }

    Instant now{1'000'000};
    Flowlets flowlets{kLabel};
};

TEST_F(FlowletsTest, first_packet_keeps_the_queue_pairs_own_port) {
    EXPECT_FALSE(after({}));
}

TEST_F(FlowletsTest, packets_within_the_gap_stay_on_their_path) {
    EXPECT_FALSE(after({}));
    for (int i = 0; i < 100; ++i) {
        EXPECT_FALSE(after(kFlowletGap));
    }
}

TEST_F(FlowletsTest, pause_longer_than_the_gap_begins_another) {
    EXPECT_FALSE(after({}));
    const auto port = after({kFlowletGap.ns + 1});
    ASSERT_TRUE(port);
    EXPECT_GE(*port, kFirstSourcePort);
    EXPECT_NE(*port, source_port(kLabel));
    EXPECT_FALSE(after(kFlowletGap));
}

TEST_F(FlowletsTest, ports_of_many_flowlets_spread_over_equal_paths) {
    constexpr int kPaths = 8;
    constexpr int kFlowlets = 800;
    std::set<uint16_t> ports;
    std::array<int, kPaths> hits{};
    EXPECT_FALSE(after({}));
    for (int i = 0; i < kFlowlets; ++i) {
        const auto port = after(kFlowletGap * 2);
        ASSERT_TRUE(port);
        ports.insert(*port);
        ++hits[*port % kPaths];
    }
    EXPECT_GT(ports.size(), kFlowlets * 9U / 10);
    for (const int hit : hits) {
        EXPECT_GT(hit, kFlowlets / kPaths / 2);
        EXPECT_LT(hit, kFlowlets / kPaths * 2);
    }
}

TEST_F(FlowletsTest, queue_pairs_do_not_change_in_step) {
    Flowlets other{kLabel + 1};
    (void)after({});
    (void)other.on_sent(now);
    const auto port = after(kFlowletGap * 2);
    EXPECT_NE(port, other.on_sent(now));
}

}  // namespace
}  // namespace vrdma::transport
