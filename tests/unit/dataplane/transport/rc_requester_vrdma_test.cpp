// The requester toward a vRDMA peer: SACK, selective repeat, measured timers, tail probe, and the
// congestion window.
#include <gtest/gtest.h>

#include <vector>

#include "dataplane/transport/rc_requester.h"
#include "wire_side.h"

namespace vrdma::transport {
namespace {

using wire::Opcode;

constexpr uint32_t kMtu = 256;
constexpr uint32_t kPsn = 0xfffff0;
constexpr auto kOk = CompletionStatus::Success;

constexpr uint32_t psn(uint32_t offset) {
    return (kPsn + offset) & kPsnMask;
}

class RcRequesterVrdmaTest : public testing::Test {
  protected:
    RcRequesterVrdmaTest() {
        requester.reset({.peer = PeerKind::Vrdma,
                         .destination_qpn = 77,
                         .initial_psn = Psn::of(kPsn),
                         .path_mtu = kMtu,
                         .timeout = 10,  // 4.2 ms
                         .retry_count = 3,
                         .rnr_retry = 2,
                         .max_rd_atomic = 4},
                        now);
    }
    void post(uint32_t id, Operation operation, uint32_t length = 8) {
        requester.post({.id = id, .operation = operation, .length = length});
    }
    std::vector<PacketPlan> poll() {
        std::vector<PacketPlan> plans;
        while (const auto plan = requester.poll_transmit(now)) {
            plans.push_back(*plan);
        }
        return plans;
    }
    void advance(int64_t us) { now = now + Duration::microseconds(us); }
    // The peer has everything before `base` and what is listed behind it, and saw `echo` just now.
    Answer sack(uint32_t base, std::vector<uint32_t> held = {}, std::optional<uint32_t> echo = {},
                uint8_t syndrome = wire::kAckSyndrome) {
        const bool nak = wire::aeth_kind(syndrome) != wire::AethKind::Ack;
        wire::Packet packet = make_packet(Opcode::Sack, psn(nak ? base : base - 1));
        packet.aeth.syndrome = syndrome;
        packet.sack.base_psn = psn(base);
        packet.sack.received = ++received;
        for (const uint32_t h : held) {
            packet.sack.held[(h - base - 1) / 64] |= uint64_t{1} << ((h - base - 1) % 64);
        }
        packet.sack.echo_valid = echo.has_value();
        packet.sack.echo_psn = psn(echo.value_or(0));
        return requester.receive(packet, now);
    }
    // A first exchange, so that the round trip is known: 100 us.
    void measure() {
        post(1000, Operation::Send);
        poll();
        advance(100);
        sack(1, {}, 0);
        expect_completions({{1000, kOk}});
    }
    void expect_completions(const std::vector<Completion>& want) {
        for (const Completion& w : want) {
            const auto got = requester.poll_completion();
            ASSERT_TRUE(got.has_value());
            EXPECT_EQ(got->id, w.id);
            EXPECT_EQ(got->status, w.status);
        }
        EXPECT_FALSE(requester.poll_completion().has_value());
    }
    void expect_next_deadline_in(int64_t us) {
        EXPECT_NEAR(static_cast<double>((requester.next_deadline() - now).ns),
                    static_cast<double>(us * 1000), 200);
    }
    void expire() {
        now = requester.next_deadline();
        requester.on_deadline(now);
    }

    uint32_t received = 0;
    Instant now{1'000'000'000};
    RcRequester requester;
};

TEST_F(RcRequesterVrdmaTest, sack_acknowledges_like_an_ack) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    sack(1);
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterVrdmaTest, only_the_hole_is_sent_again) {
    measure();
    post(1, Operation::Send, 4 * kMtu);
    poll();
    advance(100);
    sack(2, {3, 4}, 4);  // 2 is missing
    EXPECT_TRUE(poll().empty());
    expect_next_deadline_in(25);
    expire();
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(2));
    EXPECT_TRUE(plans[0].retransmission);
    EXPECT_TRUE(plans[0].fields.ack_request);
    advance(100);
    sack(5);
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterVrdmaTest, hole_that_fills_in_time_is_not_sent_again) {
    measure();
    post(1, Operation::Send, 3 * kMtu);
    poll();
    advance(100);
    sack(1, {2, 3}, 3);
    advance(10);
    sack(4);
    advance(1000);
    requester.on_deadline(now);
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(requester.statistics().retransmitted_packets, 0U);
}

TEST_F(RcRequesterVrdmaTest, hole_is_sent_at_most_once_in_a_round_trip) {
    measure();
    post(1, Operation::Send, 8 * kMtu);
    poll();
    advance(100);
    sack(1, {2}, 2);
    advance(30);
    requester.on_deadline(now);
    ASSERT_EQ(poll().size(), 1U);
    for (uint32_t h = 3; h < 8; ++h) {
        advance(5);
        sack(1, {2, h});
        EXPECT_TRUE(poll().empty());
    }
}

TEST_F(RcRequesterVrdmaTest, overtaken_sack_does_not_deliver_again_what_was_given_up) {
    post(1, Operation::Send, 3 * kMtu);
    poll();
    sack(0, {1, 2});
    const uint32_t old = received;
    sack(1, {}, {}, wire::rnr_syndrome(1));  // 1 was held and refused
    received = old - 1;
    sack(0, {1, 2});  // overtaken by the RNR NAK
    advance(20);
    requester.on_deadline(now);
    const auto plans = poll();
    ASSERT_GE(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
}

TEST_F(RcRequesterVrdmaTest, list_of_a_sack_says_nothing_to_one_that_goes_back) {
    requester.set_peer(PeerKind::Standard, now);
    post(1, Operation::Send, 3 * kMtu);
    poll();
    sack(1, {2});
    (void)requester.receive(nak(psn(1), wire::NakCode::PsnSequenceError), now);
    EXPECT_EQ(poll().size(), 2U);
}

TEST_F(RcRequesterVrdmaTest, peer_that_became_standard_gets_again_what_was_only_held) {
    post(1, Operation::Send, 3 * kMtu);
    poll();
    sack(1, {2});
    requester.set_peer(PeerKind::Standard, now);
    const auto plans = poll();
    ASSERT_GE(plans.size(), 1U);
    EXPECT_EQ(plans.back().fields.psn, psn(2));
}

TEST_F(RcRequesterVrdmaTest, rnr_repeats_only_what_was_refused) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    post(3, Operation::Send);
    poll();
    sack(0, {1, 2}, {}, wire::rnr_syndrome(1));  // 10 us
    EXPECT_TRUE(poll().empty());
    advance(10);
    requester.on_deadline(now);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    sack(3);
    expect_completions({{1, kOk}, {2, kOk}, {3, kOk}});
}

// What was held counts as delivered; only the RNR NAK and every later SACK say otherwise.
TEST_F(RcRequesterVrdmaTest, held_packet_refused_by_a_lost_rnr_nak_is_sent_again) {
    measure();
    for (uint32_t id = 1; id <= 3; ++id) {
        post(id, Operation::Send);
    }
    poll();
    advance(100);
    sack(1, {2, 3}, 3);
    advance(100);
    ++received;  // 1 arrives and is executed, 2 is refused: that SACK is lost
    sack(2, {3}, 1);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(2));
    sack(2, {3});  // once: it is under way
    EXPECT_TRUE(poll().empty());
}

TEST_F(RcRequesterVrdmaTest, tail_is_probed_after_two_round_trips) {
    measure();
    post(1, Operation::Send, 3 * kMtu);
    poll();
    expect_next_deadline_in(2 * 100 + 50);
    expire();
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(3));  // the last
    EXPECT_TRUE(plans[0].fields.ack_request);
    EXPECT_EQ(requester.statistics().tail_probes, 1U);
}

TEST_F(RcRequesterVrdmaTest, lost_last_acknowledgement_is_asked_for) {
    measure();
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    advance(100);
    sack(1, {2}, 2);  // 1 comes late; the SACK that says so is lost
    EXPECT_NE(requester.next_deadline(), Instant::never());
    for (int i = 0; i < 4 && poll().empty(); ++i) {
        expire();
    }
    EXPECT_GE(requester.statistics().retransmitted_packets, 1U);
    sack(3);
    expect_completions({{1, kOk}, {2, kOk}});
}

TEST_F(RcRequesterVrdmaTest, all_held_and_the_rest_unanswered_is_probed_too) {
    measure();
    post(1, Operation::Send, 2 * kMtu);
    poll();
    sack(1, {1 + 1});
    sack(1, {1 + 1});
    advance(100);
    ASSERT_NE(requester.next_deadline(), Instant::never());
}

TEST_F(RcRequesterVrdmaTest, timeout_repeats_everything_at_growing_intervals) {
    post(1, Operation::Send, 3 * kMtu);
    poll();
    expect_next_deadline_in(1000);  // nothing measured yet
    expire();
    EXPECT_EQ(poll().size(), 3U);
    expect_next_deadline_in(2000);
    EXPECT_EQ(requester.statistics().timeouts, 1U);
}

// On a host with fewer CPUs than threads a receiver is away for hundreds of microseconds, many
// times a second. The window must not leave again for that.
TEST_F(RcRequesterVrdmaTest, receiver_that_is_scheduled_away_costs_a_probe_and_no_more) {
    for (int i = 0; i < 100; ++i) {
        post(1000, Operation::Send);
        poll();
        advance(100);
        sack(1 + static_cast<uint32_t>(i), {}, i);
        expect_completions({{1000, kOk}});
    }
    post(1, Operation::Send, 64 * kMtu);
    poll();
    const Instant back = now + Duration::microseconds(900);
    while (requester.next_deadline() < back) {
        expire();
        poll();
    }
    now = back;
    sack(100 + 64, {}, 100 + 63);
    expect_completions({{1, kOk}});
    EXPECT_EQ(requester.statistics().timeouts, 0U);
    EXPECT_LE(requester.statistics().retransmitted_packets, 1U);
}

TEST_F(RcRequesterVrdmaTest, timeout_times_retry_count_bounds_the_time_without_progress) {
    post(1, Operation::Send);
    const Instant start = now;
    poll();
    while (!requester.failed() && requester.next_deadline() != Instant::never()) {
        expire();
        poll();
    }
    EXPECT_EQ(now - start, Duration::nanoseconds(4096 << 10) * 4);
    expect_completions({{1, CompletionStatus::RetryExceeded}});
}

TEST_F(RcRequesterVrdmaTest, what_the_peer_only_held_is_sent_again_after_a_timeout) {
    post(1, Operation::Send, 3 * kMtu);
    poll();
    sack(0, {1, 2});
    while (requester.statistics().timeouts == 0) {
        expire();
    }
    EXPECT_EQ(poll().size(), 3U);
}

TEST_F(RcRequesterVrdmaTest, responses_out_of_order_are_held_and_given_back) {
    post(1, Operation::Read, 3 * kMtu);
    poll();
    const Answer early =
        requester.receive(read_response(Opcode::RcReadResponseLast, psn(2), kMtu), now);
    ASSERT_EQ(early.action, Answer::Action::Hold);
    requester.hold(early.sequence, 31);
    EXPECT_EQ(
        requester.receive(read_response(Opcode::RcReadResponseLast, psn(2), kMtu), now).reason,
        DropReason::Duplicate);
    EXPECT_FALSE(requester.next_held().has_value());
    EXPECT_EQ(
        requester.receive(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu), now).action,
        Answer::Action::Place);
    EXPECT_FALSE(requester.next_held().has_value());
    EXPECT_EQ(
        requester.receive(read_response(Opcode::RcReadResponseMiddle, psn(1), kMtu), now).action,
        Answer::Action::Place);
    ASSERT_EQ(requester.next_held(), std::optional<HeldPacket>(31));
    const Answer last =
        requester.receive(read_response(Opcode::RcReadResponseLast, psn(2), kMtu), now);
    EXPECT_EQ(last.action, Answer::Action::Place);
    EXPECT_EQ(last.offset, 2 * kMtu);
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterVrdmaTest, only_the_missing_responses_are_asked_for_again) {
    measure();
    post(1, Operation::Read, 8 * kMtu);
    poll();
    advance(100);
    for (const uint32_t i : {0U, 1U, 4U, 5U, 6U, 7U}) {
        const Answer answer =
            requester.receive(read_response(Opcode::RcReadResponseMiddle, psn(1 + i), kMtu), now);
        if (answer.action == Answer::Action::Hold) {
            requester.hold(answer.sequence, i);
        }
    }
    EXPECT_TRUE(poll().empty());
    advance(30);
    requester.on_deadline(now);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadRequest);
    EXPECT_EQ(plans[0].fields.psn, psn(1 + 2));
    EXPECT_EQ(plans[0].fields.reth.address, 2 * kMtu);
    EXPECT_EQ(plans[0].fields.reth.length, 2 * kMtu);
}

TEST_F(RcRequesterVrdmaTest, ack_beyond_a_read_is_no_implied_nak) {
    measure();
    post(1, Operation::Read, 8);
    post(2, Operation::Send);
    poll();
    advance(100);
    sack(3, {}, 2);
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(requester.statistics().implied_naks, 0U);
}

TEST_F(RcRequesterVrdmaTest, read_that_the_peer_holds_is_not_sent_again) {
    measure();
    post(1, Operation::Send);
    post(2, Operation::Read, 8);
    post(3, Operation::Send);
    poll();
    advance(100);
    sack(1, {2, 3}, 3);
    advance(30);
    requester.on_deadline(now);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
}

// The answer of a request that was sent again says nothing about requests sent before that: their
// answers are in the queue behind it.
TEST_F(RcRequesterVrdmaTest, read_behind_one_sent_again_is_not_lost_when_that_is_answered) {
    measure();
    post(1, Operation::Read);
    post(2, Operation::Read);
    poll();
    advance(100);
    sack(1, {2}, 2);
    advance(25);
    post(3, Operation::Read);
    ASSERT_EQ(poll().size(), 1U);
    advance(5);
    requester.on_deadline(now);
    const auto again = poll();
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].fields.psn, psn(1));
    advance(125);
    for (const uint32_t i : {1U, 2U}) {
        EXPECT_EQ(
            requester.receive(read_response(Opcode::RcReadResponseOnly, psn(i), 8), now).action,
            Answer::Action::Place);
    }
    advance(50);
    requester.on_deadline(now);
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(requester.statistics().retransmitted_packets, 1U);
}

// Otherwise nothing goes out until the timer: there is no room for what is lost, and what fills
// the room may be lost, too.
TEST_F(RcRequesterVrdmaTest, lost_packet_without_room_is_probed_with) {
    measure();
    for (uint32_t i = 0; i < 40; ++i) {
        post(i, Operation::Send);
    }
    poll();
    advance(100);
    sack(1, {9, 10, 11, 12, 13, 14, 15, 16});
    poll();
    advance(30);
    requester.on_deadline(now);  // eight are lost, and the window is halved
    ASSERT_TRUE(poll().empty());
    now = requester.next_deadline();
    requester.on_deadline(now);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
    EXPECT_EQ(requester.statistics().tail_probes, 1U);
    EXPECT_EQ(requester.statistics().timeouts, 0U);
}

TEST_F(RcRequesterVrdmaTest, congestion_window_limits_what_flies_and_the_last_asks_for_an_ack) {
    post(1, Operation::Send, 200 * kMtu);
    const auto plans = poll();
    EXPECT_EQ(plans.size(), 32U);  // swift's first window
    EXPECT_TRUE(plans.back().fields.ack_request);
}

TEST_F(RcRequesterVrdmaTest, first_error_is_reported_through_a_sack_too) {
    post(1, Operation::Send);
    poll();
    sack(0, {}, {}, wire::nak_syndrome(wire::NakCode::RemoteAccessError));
    expect_completions({{1, CompletionStatus::RemoteAccess}});
}

// ---- toward a standard peer: CNPs ----

class RcRequesterCnpTest : public testing::Test {
  protected:
    RcRequesterCnpTest() {
        requester.reset({.peer = PeerKind::Standard,
                         .destination_qpn = 77,
                         .initial_psn = Psn::of(kPsn),
                         .path_mtu = 4096,
                         .line_rate = 1'000'000'000},
                        now);
    }
    Instant now{1'000'000'000};
    RcRequester requester;
};

TEST_F(RcRequesterCnpTest, b4_cnp_paces_the_sender) {
    requester.post({.id = 1, .operation = Operation::Send, .length = 100 * 4096});
    (void)requester.receive(make_packet(Opcode::Cnp, 0), now);
    int polled = 0;
    while (requester.poll_transmit(now)) {
        ++polled;
    }
    EXPECT_LE(polled, 3);
    const Instant next = requester.next_deadline();
    EXPECT_GT(next, now);
    EXPECT_LT(next, now + Duration::microseconds(20));  // 8.2 us a packet at half the rate
    now = next;
    requester.on_deadline(now);
    EXPECT_TRUE(requester.poll_transmit(now).has_value());
    EXPECT_EQ(requester.statistics().congestion_notifications, 1U);
}

TEST_F(RcRequesterCnpTest, b4_marked_read_response_is_answered_by_a_cnp) {
    requester.post({.id = 1, .operation = Operation::Read, .length = 8});
    ASSERT_TRUE(requester.poll_transmit(now).has_value());
    wire::Packet response = read_response(Opcode::RcReadResponseOnly, psn(0), 8);
    response.network.ecn = wire::Ecn::Experienced;
    (void)requester.receive(response, now);
    const auto plan = requester.poll_transmit(now);
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->fields.opcode, Opcode::Cnp);
    EXPECT_TRUE(plan->fields.becn);
    EXPECT_EQ(plan->fields.psn, 0U);
    EXPECT_EQ(plan->fields.dqpn, 77U);
    EXPECT_FALSE(requester.poll_transmit(now).has_value());
}

}  // namespace
}  // namespace vrdma::transport
