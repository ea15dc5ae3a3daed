// RFC 8985: lost is what had a round trip and the reordering window, while something sent later
// arrived.
#include "dataplane/transport/loss_recovery.h"

#include <gtest/gtest.h>

namespace vrdma::transport {
namespace {

class LossRecoveryTest : public testing::Test {
  protected:
    LossRecoveryTest() {
        window.reset(kFirst);
        rtt.sample(Duration::microseconds(100));  // so the reordering window is 25 us
    }
    void send_at(int64_t us) { window.send(window.sent() + 1, at(us)); }
    static Instant at(int64_t us) { return Instant{1'000'000'000 + us * 1000}; }
    void arrive(Sequence s, int64_t us) {
        recovery.on_delivered(window, s, rtt, at(us));
        window.deliver(s, s + 1);
    }
    void respond(Sequence s, int64_t us) {
        recovery.on_response(window, s, at(us));
        arrive(s, us);
    }
    uint32_t detect(int64_t us) {
        return recovery.detect(window, window.base(), window.sent(), rtt, at(us)).count();
    }

    static constexpr Sequence kFirst = 5000;
    SendWindow window;
    RttEstimator rtt;
    LossRecovery recovery;
};

TEST_F(LossRecoveryTest, nothing_is_lost_while_nothing_arrived) {
    send_at(0);
    EXPECT_EQ(detect(10'000), 0U);
    EXPECT_EQ(recovery.deadline(), Instant::never());
}

TEST_F(LossRecoveryTest, rfc8985_6_2_overtaken_packet_is_lost_after_the_reordering_window) {
    send_at(0);
    send_at(1);
    arrive(kFirst + 1, 101);
    EXPECT_EQ(detect(101), 0U);
    // Round trip 100 and 25, from its own sending; stamps have 32 ns.
    EXPECT_NEAR(static_cast<double>((recovery.deadline() - at(125)).ns), 0, 100);
    EXPECT_EQ(detect(124), 0U);
    EXPECT_EQ(detect(126), 1U);
    EXPECT_TRUE(window.lost(kFirst));
}

TEST_F(LossRecoveryTest, packet_sent_after_what_arrived_is_not_lost) {
    send_at(0);
    send_at(50);
    arrive(kFirst, 100);
    EXPECT_EQ(detect(10'000), 0U);
}

TEST_F(LossRecoveryTest, packets_of_one_time_are_ordered_by_number) {
    window.send(kFirst + 3, at(0));
    arrive(kFirst + 1, 100);
    EXPECT_EQ(detect(500), 1U);
    EXPECT_TRUE(window.lost(kFirst));
    EXPECT_TRUE(window.flying(kFirst + 2));
}

TEST_F(LossRecoveryTest, repeated_packet_is_not_lost_again_within_a_round_trip) {
    send_at(0);
    send_at(1);
    arrive(kFirst + 1, 101);
    ASSERT_EQ(detect(130), 1U);
    window.send_again(kFirst, kFirst + 1, at(131));
    EXPECT_EQ(detect(1000), 0U);  // nothing sent after it has arrived
    send_at(132);
    arrive(kFirst + 2, 232);
    EXPECT_EQ(detect(240), 0U);
    EXPECT_EQ(detect(131 + 126), 1U);
}

TEST_F(LossRecoveryTest, rfc8985_6_2_1_needless_repetition_widens_the_window) {
    const Duration before = recovery.reorder_window(rtt);
    recovery.on_needless(rtt, at(0));
    EXPECT_EQ(recovery.reorder_window(rtt), before * 2);
}

TEST_F(LossRecoveryTest, needless_repetitions_of_one_round_trip_count_once) {
    const Duration before = recovery.reorder_window(rtt);
    for (int i = 0; i < 10; ++i) {
        recovery.on_needless(rtt, at(i));
    }
    EXPECT_EQ(recovery.reorder_window(rtt), before * 2);
}

TEST_F(LossRecoveryTest, rfc8985_6_2_1_reordering_window_never_exceeds_a_round_trip) {
    for (int i = 0; i < 20; ++i) {
        recovery.on_needless(rtt, at(i * 1000));
    }
    EXPECT_EQ(recovery.reorder_window(rtt), rtt.smoothed());
}

TEST_F(LossRecoveryTest, reordering_window_shrinks_after_a_calm_while) {
    recovery.on_needless(rtt, at(0));
    const Duration wide = recovery.reorder_window(rtt);
    for (int i = 0; i < 20 * static_cast<int>(kWindowPackets); ++i) {
        send_at(i + 10);
        arrive(window.sent() - 1, i + 200);
    }
    EXPECT_LT(recovery.reorder_window(rtt), wide);
}

TEST_F(LossRecoveryTest, request_that_the_peer_holds_is_not_lost) {
    send_at(0);
    send_at(1);
    window.wait(kFirst, kFirst + 1);
    arrive(kFirst + 1, 101);
    EXPECT_EQ(detect(10'000), 0U);
}

TEST_F(LossRecoveryTest, response_is_lost_the_reordering_window_after_a_later_one) {
    window.send(kFirst + 3, at(0));
    respond(kFirst + 1, 1000);
    EXPECT_EQ(detect(1024), 0U);
    EXPECT_NEAR(static_cast<double>((recovery.deadline() - at(1025)).ns), 0, 100);
    EXPECT_EQ(detect(1026), 1U);
    EXPECT_TRUE(window.lost(kFirst));
    EXPECT_TRUE(window.flying(kFirst + 2));
}

// It was executed when a request sent before it was there: long after it was sent, but before those
// that were sent later.
TEST_F(LossRecoveryTest, answer_to_what_waited_at_the_peer_makes_no_later_response_lost) {
    send_at(0);
    send_at(50);
    window.wait(kFirst, kFirst + 1);
    window.stop_waiting(kFirst, kFirst + 1, at(200));
    respond(kFirst, 201);
    EXPECT_EQ(detect(10'000), 0U);
}

TEST_F(LossRecoveryTest, rfc8985_6_2_answer_sooner_than_a_round_trip_is_that_of_the_first_copy) {
    send_at(0);
    send_at(1);
    arrive(kFirst + 1, 101);
    ASSERT_EQ(detect(130), 1U);
    send_at(131);
    window.send_again(kFirst, kFirst + 1, at(132));
    arrive(kFirst, 140);
    EXPECT_EQ(detect(10'000), 0U);  // what was sent at 131 was not overtaken
}

TEST_F(LossRecoveryTest, timeout_forgets_what_arrived) {
    send_at(0);
    send_at(1);
    arrive(kFirst + 1, 101);
    recovery.on_timeout();
    EXPECT_EQ(detect(10'000), 0U);
}

}  // namespace
}  // namespace vrdma::transport
