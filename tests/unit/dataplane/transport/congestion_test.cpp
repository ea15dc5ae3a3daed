// Swift, DCQCN and the pacer, by events made by hand.
#include <gtest/gtest.h>

#include "dataplane/transport/dcqcn.h"
#include "dataplane/transport/pacer.h"
#include "dataplane/transport/swift.h"

namespace vrdma::transport {
namespace {

constexpr Duration kRtt = Duration::microseconds(50);

class SwiftTest : public testing::Test {
  protected:
    void ack(Duration rtt, uint32_t delivered = 16, uint32_t marked = 0) {
        swift.on_ack({.now = now,
                      .rtt = rtt,
                      .minimum_rtt = kRtt,
                      .smoothed_rtt = kRtt,
                      .delivered = delivered,
                      .received = delivered,
                      .marked = marked});
    }
    void round(Duration rtt, uint32_t delivered = 16, uint32_t marked = 0) {
        now = now + kRtt;
        ack(rtt, delivered, marked);
    }
    void lose(uint32_t packets, bool timeout = false) {
        swift.on_loss({.now = now, .smoothed_rtt = kRtt, .packets = packets, .timeout = timeout});
    }

    Instant now{1'000'000'000};
    Swift swift;
};

TEST_F(SwiftTest, starts_by_doubling_and_stops_at_half_the_window_of_the_wire) {
    const uint32_t first = swift.window();
    round(kRtt, first);
    EXPECT_EQ(swift.window(), 2 * first);
    for (int i = 0; i < 20; ++i) {
        round(kRtt, 256);
    }
    EXPECT_EQ(swift.window(), kWindowPackets / 2);
}

TEST_F(SwiftTest, delay_above_the_target_shrinks_in_proportion_and_once_a_round_trip) {
    round(Duration::microseconds(250));  // target 200, excess 1/5, beta 0.8
    const double once = swift.exact_window();
    EXPECT_NEAR(once, 32 * 0.84, 0.01);
    ack(Duration::microseconds(250));
    EXPECT_EQ(swift.exact_window(), once);
    round(Duration::microseconds(250));
    EXPECT_LT(swift.exact_window(), once);
}

TEST_F(SwiftTest, no_decrease_is_more_than_half) {
    round(Duration::milliseconds(50));
    EXPECT_EQ(swift.exact_window(), 16);
}

TEST_F(SwiftTest, below_the_target_it_grows_one_packet_a_round) {
    round(Duration::milliseconds(50));
    round(kRtt);  // the round of the decrease itself does not count
    const double before = swift.exact_window();
    round(kRtt);
    round(kRtt);
    EXPECT_EQ(swift.exact_window(), before + 2);
}

TEST_F(SwiftTest, marks_shrink_by_their_smoothed_share) {
    round(kRtt, 16, 16);
    EXPECT_NEAR(swift.exact_window(), 32 * (1 - 1.0 / 32), 0.01);
}

TEST_F(SwiftTest, single_loss_is_no_congestion) {
    const uint32_t before = swift.window();
    lose(1);
    EXPECT_EQ(swift.window(), before);
}

TEST_F(SwiftTest, loss_of_a_large_share_halves) {
    lose(10);
    EXPECT_EQ(swift.window(), 16U);
}

TEST_F(SwiftTest, needless_repetition_gives_back_what_the_loss_took) {
    lose(10);
    now = now + kRtt;
    lose(10);
    ASSERT_LT(swift.window(), 16U);
    now = now + kRtt;
    swift.on_needless(now, kRtt);
    EXPECT_EQ(swift.window(), 32U);
}

TEST_F(SwiftTest, needless_repetition_much_later_gives_nothing_back) {
    lose(10);
    now = now + kRtt * 9;
    swift.on_needless(now, kRtt);
    EXPECT_EQ(swift.window(), 16U);
}

TEST_F(SwiftTest, needless_repetition_gives_not_back_what_delay_or_marks_took) {
    lose(10);
    round(Duration::milliseconds(50));
    ASSERT_EQ(swift.window(), 8U);
    swift.on_needless(now, kRtt);
    EXPECT_EQ(swift.window(), 8U);
}

TEST_F(SwiftTest, timeout_halves) {
    lose(1, true);
    EXPECT_EQ(swift.window(), 16U);
}

TEST_F(SwiftTest, loss_and_timeouts_alone_leave_a_window) {
    for (int i = 0; i < 20; ++i) {
        now = now + kRtt;
        lose(100);
    }
    EXPECT_EQ(swift.window(), 8U);
    for (int i = 0; i < 20; ++i) {
        now = now + kRtt;
        lose(100, true);
    }
    EXPECT_EQ(swift.window(), 2U);
}

TEST_F(SwiftTest, below_one_packet_it_becomes_a_gap) {
    EXPECT_EQ(swift.gap(kRtt).ns, 0);
    while (swift.exact_window() >= 1) {
        round(Duration::milliseconds(50));
    }
    EXPECT_EQ(swift.window(), 1U);
    EXPECT_GT(swift.gap(kRtt), kRtt);
}

constexpr Rate kLine = 1'000'000'000;

TEST(Dcqcn, first_cnp_halves_the_rate) {
    Dcqcn dcqcn(kLine);
    EXPECT_FALSE(dcqcn.limiting());
    dcqcn.on_cnp(Instant{1'000'000'000});
    EXPECT_EQ(dcqcn.rate(), kLine / 2);
    EXPECT_TRUE(dcqcn.limiting());
}

TEST(Dcqcn, fast_recovery_halves_the_distance_each_period) {
    Dcqcn dcqcn(kLine);
    const Instant start{1'000'000'000};
    dcqcn.on_cnp(start);
    EXPECT_TRUE(dcqcn.advance(start + Duration::microseconds(300)));
    EXPECT_EQ(dcqcn.rate(), kLine * 3 / 4);
    dcqcn.advance(start + Duration::microseconds(600));
    EXPECT_EQ(dcqcn.rate(), kLine * 7 / 8);
}

TEST(Dcqcn, alpha_decays_without_cnps_so_a_later_one_costs_less) {
    Dcqcn dcqcn(kLine);
    Instant now{1'000'000'000};
    dcqcn.on_cnp(now);
    now = now + Duration::milliseconds(50);
    dcqcn.advance(now);
    const Rate before = dcqcn.rate();
    dcqcn.on_cnp(now);
    EXPECT_GT(dcqcn.rate(), before / 2 + before / 4);
}

TEST(Dcqcn, recovers_to_the_line_rate) {
    Dcqcn dcqcn(kLine);
    Instant now{1'000'000'000};
    for (int i = 0; i < 10; ++i) {
        dcqcn.on_cnp(now);
    }
    for (int i = 0; i < 10'000 && dcqcn.limiting(); ++i) {
        now = now + Duration::microseconds(300);
        dcqcn.advance(now);
    }
    EXPECT_FALSE(dcqcn.limiting());
    EXPECT_EQ(dcqcn.rate(), kLine);
}

TEST(Dcqcn, never_falls_below_the_minimum) {
    Dcqcn dcqcn(kLine);
    for (int i = 0; i < 100; ++i) {
        dcqcn.on_cnp(Instant{1'000'000'000});
    }
    EXPECT_EQ(dcqcn.rate(), 125'000U);
}

TEST(Dcqcn, long_silence_forgets_everything) {
    Dcqcn dcqcn(kLine);
    dcqcn.on_cnp(Instant{1'000'000'000});
    EXPECT_TRUE(dcqcn.advance(Instant{5'000'000'000}));
    EXPECT_FALSE(dcqcn.limiting());
}

TEST(Dcqcn, bytes_count_as_periods) {
    Dcqcn dcqcn(kLine);
    dcqcn.on_cnp(Instant{1'000'000'000});
    dcqcn.on_sent(10'000'000);
    EXPECT_EQ(dcqcn.rate(), kLine * 3 / 4);
}

TEST(CnpLimiter, one_cnp_in_50_us) {
    CnpLimiter limiter;
    Instant now{1'000'000'000};
    EXPECT_FALSE(limiter.due());
    limiter.on_marked(now);
    EXPECT_TRUE(limiter.due());
    limiter.sent(now);
    limiter.on_marked(now + Duration::microseconds(49));
    EXPECT_FALSE(limiter.due());
    limiter.on_marked(now + Duration::microseconds(50));
    EXPECT_TRUE(limiter.due());
}

TEST(Pacer, off_is_always_ready) {
    Pacer pacer;
    pacer.sent(1 << 30, Instant{5});
    EXPECT_TRUE(pacer.ready(Instant{5}));
}

TEST(Pacer, rate_spaces_packets_after_a_burst) {
    Pacer pacer;
    pacer.set_rate(1'000'000'000);  // 1 ns a byte
    const Instant start{1'000'000'000};
    pacer.sent(30'000, start);
    EXPECT_FALSE(pacer.ready(start));
    EXPECT_EQ(pacer.next(), start + Duration::microseconds(20));  // 10 us were saved up
    EXPECT_TRUE(pacer.ready(pacer.next()));
}

TEST(Pacer, gap_spaces_packets_of_any_size) {
    Pacer pacer;
    pacer.set_gap(Duration::microseconds(500));
    const Instant start{1'000'000'000};
    pacer.sent(1, start);
    EXPECT_EQ(pacer.next(), start + Duration::microseconds(490));
}

}  // namespace
}  // namespace vrdma::transport
