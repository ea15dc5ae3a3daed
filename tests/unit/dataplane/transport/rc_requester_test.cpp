// The requester toward a standard peer, rule by rule. Names cite IBA 1.x volume 1, chapter 9.
#include "dataplane/transport/rc_requester.h"

#include <gtest/gtest.h>

#include <vector>

#include "wire_side.h"

namespace vrdma::transport {
namespace {

using wire::NakCode;
using wire::Opcode;

constexpr uint32_t kMtu = 256;
constexpr uint32_t kPsn = 0xfffffe;  // two before the wrap

class RcRequesterTest : public testing::Test {
  protected:
    RcRequesterTest() { reset({}); }

    struct Knobs {
        uint8_t timeout = 14;
        uint8_t retry_count = 3;
        uint8_t rnr_retry = 2;
        uint8_t max_rd_atomic = 2;
    };
    void reset(Knobs knobs) {
        requester.reset({.peer = PeerKind::Standard,
                         .destination_qpn = 77,
                         .initial_psn = Psn::of(kPsn),
                         .path_mtu = kMtu,
                         .timeout = knobs.timeout,
                         .retry_count = knobs.retry_count,
                         .rnr_retry = knobs.rnr_retry,
                         .max_rd_atomic = knobs.max_rd_atomic},
                        now);
    }
    void post(uint32_t id, Operation operation, uint32_t length = 8, bool fence = false) {
        requester.post({.id = id,
                        .operation = operation,
                        .solicited = true,
                        .fence = fence,
                        .length = length,
                        .remote_address = 0x1000,
                        .rkey = 0x99,
                        .imm = 0x11223344,
                        .compare = 5,
                        .swap_or_add = 6});
    }
    std::vector<PacketPlan> poll() {
        std::vector<PacketPlan> plans;
        while (const auto plan = requester.poll_transmit(now)) {
            plans.push_back(*plan);
        }
        return plans;
    }
    Answer receive(const wire::Packet& packet) { return requester.receive(packet, now); }
    DropReason dropped(const wire::Packet& packet) {
        const Answer answer = receive(packet);
        return answer.action == Answer::Action::Drop ? answer.reason : DropReason::None;
    }
    std::vector<Completion> completions() {
        std::vector<Completion> all;
        while (const auto completion = requester.poll_completion()) {
            all.push_back(*completion);
        }
        return all;
    }
    void expect_completions(const std::vector<Completion>& want) {
        const std::vector<Completion> got = completions();
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < got.size(); ++i) {
            EXPECT_EQ(got[i].id, want[i].id);
            EXPECT_EQ(got[i].status, want[i].status);
        }
    }
    // Lets the retransmission timer run out once.
    void expire() {
        now = requester.next_deadline();
        requester.on_deadline(now);
    }

    Instant now{1'000'000'000};
    RcRequester requester;
};

constexpr uint32_t psn(uint32_t offset) {
    return (kPsn + offset) & kPsnMask;
}
constexpr auto kOk = CompletionStatus::Success;

// ---- segmentation (9.2.1, 9.7.2) ----

TEST_F(RcRequesterTest, c9_2_1_send_of_three_packets_is_first_middle_last) {
    post(1, Operation::Send, 2 * kMtu + 10);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcSendFirst);
    EXPECT_EQ(plans[1].fields.opcode, Opcode::RcSendMiddle);
    EXPECT_EQ(plans[2].fields.opcode, Opcode::RcSendLast);
    EXPECT_EQ(plans[0].length, kMtu);
    EXPECT_EQ(plans[2].length, 10U);
    EXPECT_EQ(plans[2].offset, 2 * kMtu);
    EXPECT_EQ(plans[0].fields.dqpn, 77U);
}

TEST_F(RcRequesterTest, c9_7_2_psn_wraps_from_ffffff_to_0) {
    post(1, Operation::Send, 3 * kMtu);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_EQ(plans[0].fields.psn, 0xfffffeU);
    EXPECT_EQ(plans[1].fields.psn, 0xffffffU);
    EXPECT_EQ(plans[2].fields.psn, 0U);
    receive(ack(0));
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterTest, c9_2_1_exactly_one_mtu_is_one_packet) {
    post(1, Operation::Write, kMtu);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcWriteOnly);
    EXPECT_EQ(plans[0].fields.reth.length, kMtu);
}

TEST_F(RcRequesterTest, c9_2_1_empty_message_is_one_packet_without_payload) {
    post(1, Operation::Send, 0);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcSendOnly);
    EXPECT_EQ(plans[0].source, PayloadSource::None);
}

TEST_F(RcRequesterTest, c9_4_1_send_with_invalidate_names_the_key_in_its_last_packet) {
    post(1, Operation::SendInvalidate, kMtu + 1);
    post(2, Operation::SendInvalidate, 0);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcSendFirst);
    EXPECT_EQ(plans[1].fields.opcode, Opcode::RcSendLastInvalidate);
    EXPECT_EQ(plans[1].fields.invalidate_rkey, 0x99U);
    EXPECT_EQ(plans[2].fields.opcode, Opcode::RcSendOnlyInvalidate);
    EXPECT_EQ(plans[2].fields.invalidate_rkey, 0x99U);
}

TEST_F(RcRequesterTest, c9_4_3_write_names_the_whole_message_in_its_first_packet) {
    post(1, Operation::WriteImm, kMtu + 1);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcWriteFirst);
    EXPECT_EQ(plans[0].fields.reth.address, 0x1000U);
    EXPECT_EQ(plans[0].fields.reth.rkey, 0x99U);
    EXPECT_EQ(plans[0].fields.reth.length, kMtu + 1);
    EXPECT_EQ(plans[1].fields.opcode, Opcode::RcWriteLastImm);
    EXPECT_EQ(plans[1].fields.imm, 0x11223344U);
    EXPECT_FALSE(plans[0].fields.solicited);
    EXPECT_TRUE(plans[1].fields.solicited);
}

TEST_F(RcRequesterTest, c9_4_4_read_consumes_a_psn_for_each_response) {
    post(1, Operation::Read, 3 * kMtu);
    post(2, Operation::Send, 0);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadRequest);
    EXPECT_EQ(plans[0].fields.reth.length, 3 * kMtu);
    EXPECT_EQ(plans[1].fields.psn, psn(3));
}

TEST_F(RcRequesterTest, c9_4_5_atomics_carry_operands) {
    post(1, Operation::CompareSwap);
    post(2, Operation::FetchAdd);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcCompareSwap);
    EXPECT_EQ(plans[0].fields.atomic_eth.compare, 5U);
    EXPECT_EQ(plans[0].fields.atomic_eth.swap_or_add, 6U);
    EXPECT_EQ(plans[1].fields.opcode, Opcode::RcFetchAdd);
    EXPECT_EQ(plans[1].fields.psn, psn(1));
}

TEST_F(RcRequesterTest, long_read_is_asked_for_in_chunks) {
    post(1, Operation::Read, (kReadChunkPackets + 2) * kMtu);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.reth.length, kReadChunkPackets * kMtu);
    EXPECT_EQ(plans[1].fields.reth.length, 2 * kMtu);
    EXPECT_EQ(plans[1].fields.reth.address, 0x1000U + kReadChunkPackets * kMtu);
    EXPECT_EQ(plans[1].fields.psn, psn(kReadChunkPackets));
}

// ---- asking for acknowledgements (9.7.3.1, facts B.3) ----

TEST_F(RcRequesterTest, b3_ack_is_requested_at_the_end_of_each_message) {
    post(1, Operation::Send, 2);
    post(2, Operation::Write, kMtu + 1);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_TRUE(plans[0].fields.ack_request);
    EXPECT_TRUE(plans[2].fields.ack_request);
}

TEST_F(RcRequesterTest, b3_ack_is_requested_every_n_packets_inside_a_message) {
    post(1, Operation::Send, 100 * kMtu);
    uint32_t since = 0;
    for (const PacketPlan& plan : poll()) {
        since = plan.fields.ack_request ? 0 : since + 1;
        EXPECT_LT(since, kAckRequestPackets);
    }
}

TEST_F(RcRequesterTest, b7_1_no_more_than_128_packets_are_unacknowledged_and_the_last_asks) {
    post(1, Operation::Send, 1000 * kMtu);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), kStandardWindowPackets);
    EXPECT_TRUE(plans.back().fields.ack_request);
    receive(ack(psn(9)));
    EXPECT_EQ(poll().size(), 10U);
}

TEST_F(RcRequesterTest, window_of_messages_is_bounded) {
    for (uint32_t i = 0; i < kWindowMessages; ++i) {
        ASSERT_TRUE(requester.can_post());
        post(i, Operation::Send, 0);
    }
    EXPECT_FALSE(requester.can_post());
    poll();
    receive(ack(psn(0)));
    completions();
    EXPECT_TRUE(requester.can_post());
}

// ---- acknowledgements (9.7.5.1) ----

TEST_F(RcRequesterTest, c9_7_5_1_1_ack_acknowledges_everything_before_it) {
    post(1, Operation::Send);
    post(2, Operation::Write);
    post(3, Operation::Send);
    poll();
    receive(ack(psn(1)));
    expect_completions({{1, kOk}, {2, kOk}});
    EXPECT_FALSE(requester.drained());
}

TEST_F(RcRequesterTest, c9_7_5_1_1_ack_inside_a_message_completes_nothing) {
    post(1, Operation::Send, 3 * kMtu);
    poll();
    receive(ack(psn(1)));
    expect_completions({});
    receive(ack(psn(2)));
    expect_completions({{1, kOk}});
    EXPECT_TRUE(requester.drained());
    EXPECT_EQ(requester.next_deadline(), Instant::never());
}

TEST_F(RcRequesterTest, c9_7_7_2_credits_are_ignored) {
    post(1, Operation::Send, 300 * kMtu);
    poll();
    receive(ack(psn(0), 0x00));  // zero credits
    EXPECT_EQ(poll().size(), 1U);
}

TEST_F(RcRequesterTest, c9_7_5_1_1_stale_ack_is_dropped) {
    post(1, Operation::Send);
    poll();
    receive(ack(psn(0)));
    EXPECT_EQ(dropped(ack(psn(0))), DropReason::StaleAcknowledge);
    EXPECT_EQ(dropped(nak(psn(0), NakCode::PsnSequenceError)), DropReason::StaleAcknowledge);
}

TEST_F(RcRequesterTest, c9_7_5_1_1_ghost_ack_is_dropped_and_changes_nothing) {
    post(1, Operation::Send);
    poll();
    EXPECT_EQ(dropped(ack(psn(1))), DropReason::GhostAcknowledge);
    EXPECT_EQ(dropped(nak(psn(1), NakCode::RemoteAccessError)), DropReason::GhostAcknowledge);
    expect_completions({});
    EXPECT_FALSE(requester.failed());
}

TEST_F(RcRequesterTest, c9_7_5_2_reserved_syndrome_is_dropped) {
    post(1, Operation::Send);
    poll();
    EXPECT_EQ(dropped(ack(psn(0), 0x40)), DropReason::ReservedSyndrome);
    EXPECT_EQ(dropped(ack(psn(0), 0x64)), DropReason::ReservedSyndrome);
    expect_completions({});
}

TEST_F(RcRequesterTest, request_at_the_requester_is_dropped) {
    EXPECT_EQ(dropped(make_packet(Opcode::RcSendOnly, kPsn)), DropReason::NotForRequester);
}

TEST_F(RcRequesterTest, packet_of_another_service_is_dropped) {
    EXPECT_EQ(dropped(make_packet(Opcode::UcSendOnly, kPsn)), DropReason::WrongService);
}

// ---- sequence errors (9.7.5.2.3) ----

TEST_F(RcRequesterTest, c9_7_5_2_3_nak_goes_back_to_its_psn_and_repeats_all) {
    post(1, Operation::Send, 5 * kMtu);
    poll();
    receive(nak(psn(2), NakCode::PsnSequenceError));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    for (uint32_t i = 0; i < 3; ++i) {
        EXPECT_EQ(plans[i].fields.psn, psn(2 + i));
        EXPECT_TRUE(plans[i].retransmission);
        EXPECT_EQ(plans[i].offset, (2 + i) * kMtu);
    }
    EXPECT_TRUE(plans[2].fields.ack_request);
}

TEST_F(RcRequesterTest, c9_7_5_2_3_nak_acknowledges_what_is_before_it) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    receive(nak(psn(1), NakCode::PsnSequenceError));
    expect_completions({{1, kOk}});
    EXPECT_EQ(requester.statistics().sequence_naks, 1U);
}

// ---- remote errors (9.7.5.2.4 - 9.7.5.2.6) ----

TEST_F(RcRequesterTest, c9_7_5_2_error_naks_fail_their_message_and_flush_the_rest) {
    const std::vector<std::pair<NakCode, CompletionStatus>> cases = {
        {NakCode::InvalidRequest, CompletionStatus::RemoteInvalidRequest},
        {NakCode::RemoteAccessError, CompletionStatus::RemoteAccess},
        {NakCode::RemoteOperationalError, CompletionStatus::RemoteOperational}};
    for (const auto& [code, status] : cases) {
        reset({});
        post(1, Operation::Send);
        post(2, Operation::Write);
        post(3, Operation::Send);
        poll();
        receive(nak(psn(1), code));
        expect_completions({{1, kOk}, {2, status}, {3, CompletionStatus::Flushed}});
        EXPECT_TRUE(requester.failed());
        EXPECT_FALSE(requester.can_post());
        EXPECT_FALSE(requester.poll_transmit(now).has_value());
        EXPECT_EQ(dropped(ack(psn(2))), DropReason::Failed);
        EXPECT_EQ(requester.next_deadline(), Instant::never());
    }
}

TEST_F(RcRequesterTest, c10_3_1_first_error_waits_for_what_is_before_it) {
    post(1, Operation::Read, 8);
    post(2, Operation::Send);
    poll();
    receive(nak(psn(1), NakCode::RemoteAccessError));
    expect_completions({});
    receive(read_response(Opcode::RcReadResponseOnly, psn(0), 8));
    expect_completions({{1, kOk}, {2, CompletionStatus::RemoteAccess}});
}

TEST_F(RcRequesterTest, local_failure_is_reported_in_its_turn_and_nothing_behind_it_is_sent) {
    post(1, Operation::Send);
    post(2, Operation::Send, 3 * kMtu);
    post(3, Operation::Send);
    ASSERT_TRUE(requester.poll_transmit(now).has_value());
    ASSERT_TRUE(requester.poll_transmit(now).has_value());
    requester.fail_message(2, CompletionStatus::LocalProtection);
    EXPECT_TRUE(poll().empty());
    expect_completions({});
    receive(ack(psn(0)));
    expect_completions(
        {{1, kOk}, {2, CompletionStatus::LocalProtection}, {3, CompletionStatus::Flushed}});
}

TEST_F(RcRequesterTest, local_failure_of_the_packet_just_polled_stops_what_is_behind_it) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    ASSERT_TRUE(requester.poll_transmit(now).has_value());
    requester.fail_message(1, CompletionStatus::LocalProtection);
    EXPECT_TRUE(poll().empty());
    expect_completions({{1, CompletionStatus::LocalProtection}, {2, CompletionStatus::Flushed}});
}

TEST_F(RcRequesterTest, earlier_error_replaces_a_later_one) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    requester.fail_message(2, CompletionStatus::LocalProtection);
    receive(nak(psn(0), NakCode::RemoteAccessError));
    expect_completions({{1, CompletionStatus::RemoteAccess}, {2, CompletionStatus::Flushed}});
}

TEST_F(RcRequesterTest, fail_flushes_everything_at_once) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    requester.fail();
    expect_completions({{1, CompletionStatus::Flushed}, {2, CompletionStatus::Flushed}});
}

// ---- receiver not ready (9.7.5.2.8) ----

TEST_F(RcRequesterTest, c9_7_5_2_8_rnr_nak_stops_sending_for_the_time_it_names) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    receive(rnr_nak(psn(0), 10));  // 320 us
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(requester.next_deadline(), now + Duration::microseconds(320));
    now = now + Duration::microseconds(319);
    EXPECT_TRUE(poll().empty());
    now = now + Duration::microseconds(1);
    requester.on_deadline(now);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
}

TEST_F(RcRequesterTest, c9_7_5_2_8_rnr_retries_used_up_fail_the_message) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    for (int i = 0; i < 2; ++i) {
        poll();
        receive(rnr_nak(psn(0), 1));
        expire();
    }
    poll();
    receive(rnr_nak(psn(0), 1));
    expect_completions({{1, CompletionStatus::RnrRetryExceeded}, {2, CompletionStatus::Flushed}});
}

TEST_F(RcRequesterTest, c9_7_5_2_8_rnr_retry_7_never_ends) {
    reset({.rnr_retry = 7});
    post(1, Operation::Send);
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(poll().size(), 1U);
        receive(rnr_nak(psn(0), 1));
        expire();
    }
    poll();
    receive(ack(psn(0)));
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterTest, c9_7_5_2_8_progress_gives_the_rnr_retries_back) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    for (uint32_t message = 0; message < 2; ++message) {
        for (int i = 0; i < 2; ++i) {
            poll();
            receive(rnr_nak(psn(message), 1));
            expire();
        }
    }
    poll();
    receive(ack(psn(1)));
    expect_completions({{1, kOk}, {2, kOk}});
}

TEST_F(RcRequesterTest, b7_4_sequence_nak_during_the_rnr_time_is_dropped) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    poll();
    receive(rnr_nak(psn(0), 10));
    EXPECT_EQ(dropped(nak(psn(0), NakCode::PsnSequenceError)), DropReason::RnrWait);
    EXPECT_TRUE(poll().empty());
}

TEST_F(RcRequesterTest, repeated_rnr_nak_during_the_rnr_time_is_dropped) {
    post(1, Operation::Send);
    poll();
    receive(rnr_nak(psn(0), 10));
    EXPECT_EQ(dropped(rnr_nak(psn(0), 10)), DropReason::RnrWait);
    EXPECT_EQ(requester.statistics().rnr_naks, 1U);
}

// ---- the timer (9.7.6.1.3) ----

TEST_F(RcRequesterTest, c9_7_6_1_3_timeout_repeats_from_the_oldest) {
    post(1, Operation::Send, 3 * kMtu);
    poll();
    EXPECT_EQ(requester.next_deadline(), now + Duration::nanoseconds(4096 << 14));
    receive(ack(psn(0)));
    expire();
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
    EXPECT_EQ(requester.statistics().timeouts, 1U);
}

TEST_F(RcRequesterTest, c9_7_6_1_3_retries_used_up_fail_after_every_try_had_its_time) {
    post(1, Operation::Send);
    post(2, Operation::Send);
    const Instant start = now;
    poll();
    for (int i = 0; i < 3; ++i) {
        expire();
        EXPECT_EQ(poll().size(), 2U);
    }
    expect_completions({});
    expire();
    expect_completions({{1, CompletionStatus::RetryExceeded}, {2, CompletionStatus::Flushed}});
    EXPECT_EQ(now - start, Duration::nanoseconds(4096 << 14) * 4);
}

TEST_F(RcRequesterTest, c9_7_6_1_3_progress_gives_the_retries_back) {
    post(1, Operation::Send, 2 * kMtu);
    poll();
    for (int i = 0; i < 3; ++i) {
        expire();
        poll();
    }
    receive(ack(psn(0)));
    for (int i = 0; i < 3; ++i) {
        expire();
        poll();
    }
    expect_completions({});
    receive(ack(psn(1)));
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterTest, c9_7_6_1_3_timeout_0_never_ends_but_still_repeats) {
    reset({.timeout = 0});
    post(1, Operation::Send);
    poll();
    for (int i = 0; i < 50; ++i) {
        expire();
        ASSERT_EQ(poll().size(), 1U);
    }
    EXPECT_FALSE(requester.failed());
}

// ---- READ (9.7.5.1.1, facts B.3, B.5) ----

TEST_F(RcRequesterTest, c9_4_4_read_responses_are_placed_in_order) {
    post(1, Operation::Read, 2 * kMtu + 9);
    poll();
    Answer answer = receive(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu));
    EXPECT_EQ(answer.action, Answer::Action::Place);
    EXPECT_EQ(answer.message_id, 1U);
    EXPECT_EQ(answer.offset, 0U);
    EXPECT_EQ(answer.length, kMtu);
    answer = receive(read_response(Opcode::RcReadResponseMiddle, psn(1), kMtu));
    EXPECT_EQ(answer.offset, kMtu);
    expect_completions({});
    answer = receive(read_response(Opcode::RcReadResponseLast, psn(2), 9));
    EXPECT_EQ(answer.offset, 2 * kMtu);
    EXPECT_EQ(answer.length, 9U);
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterTest, c9_7_5_1_1_read_response_acknowledges_what_is_before_the_read) {
    post(1, Operation::Send);
    post(2, Operation::Read, 8);
    poll();
    receive(read_response(Opcode::RcReadResponseOnly, psn(1), 8));
    expect_completions({{1, kOk}, {2, kOk}});
}

TEST_F(RcRequesterTest, c9_7_5_1_1_ack_beyond_a_read_is_an_implied_nak_of_it) {
    post(1, Operation::Read, 2 * kMtu);
    post(2, Operation::Send);
    poll();
    receive(ack(psn(2)));
    expect_completions({});
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);  // the SEND is acknowledged: only the READ goes out again
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadRequest);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    EXPECT_EQ(requester.statistics().implied_naks, 1U);
    receive(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu));
    receive(read_response(Opcode::RcReadResponseLast, psn(1), kMtu));
    expect_completions({{1, kOk}, {2, kOk}});
}

TEST_F(RcRequesterTest, c9_7_5_1_1_implied_nak_counts_once_for_each_missing_response) {
    post(1, Operation::Read, 8);
    post(2, Operation::Send);
    post(3, Operation::Send);
    poll();
    receive(ack(psn(1)));
    EXPECT_EQ(poll().size(), 2U);
    receive(ack(psn(2)));
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(requester.statistics().implied_naks, 1U);
}

TEST_F(RcRequesterTest, b5_read_is_asked_for_again_from_the_lowest_missing_byte_to_its_end) {
    post(1, Operation::Read, 4 * kMtu);
    poll();
    receive(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu));
    EXPECT_EQ(dropped(read_response(Opcode::RcReadResponseMiddle, psn(2), kMtu)),
              DropReason::PsnAhead);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
    EXPECT_EQ(plans[0].fields.reth.address, 0x1000U + kMtu);
    EXPECT_EQ(plans[0].fields.reth.length, 3 * kMtu);
}

TEST_F(RcRequesterTest, b5_repeated_read_may_be_answered_by_middle_and_last) {
    post(1, Operation::Read, 3 * kMtu);
    poll();
    receive(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu));
    expire();
    poll();
    EXPECT_EQ(receive(read_response(Opcode::RcReadResponseMiddle, psn(1), kMtu)).action,
              Answer::Action::Place);
    receive(read_response(Opcode::RcReadResponseLast, psn(2), kMtu));
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterTest, read_response_of_wrong_length_is_dropped) {
    post(1, Operation::Read, 2 * kMtu);
    poll();
    EXPECT_EQ(dropped(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu - 1)),
              DropReason::ResponseLength);
    expect_completions({});
}

TEST_F(RcRequesterTest, read_response_that_ends_too_early_is_dropped) {
    post(1, Operation::Read, 2 * kMtu);
    poll();
    EXPECT_EQ(dropped(read_response(Opcode::RcReadResponseLast, psn(0), kMtu)),
              DropReason::ResponseOpcode);
}

TEST_F(RcRequesterTest, read_response_with_a_nak_in_it_is_dropped) {
    post(1, Operation::Read, 8);
    poll();
    wire::Packet packet = read_response(Opcode::RcReadResponseOnly, psn(0), 8);
    packet.aeth.syndrome = wire::nak_syndrome(NakCode::RemoteAccessError);
    EXPECT_EQ(dropped(packet), DropReason::ReservedSyndrome);
}

TEST_F(RcRequesterTest, response_where_none_is_due_is_dropped) {
    EXPECT_EQ(dropped(read_response(Opcode::RcReadResponseOnly, psn(0), 8)),
              DropReason::ResponseUnexpected);
    post(1, Operation::Read, 8);
    poll();
    EXPECT_EQ(dropped(read_response(Opcode::RcReadResponseOnly, psn(1), 8)),
              DropReason::ResponseUnexpected);
    EXPECT_EQ(dropped(atomic_ack(psn(0), 1)), DropReason::ResponseUnexpected);
}

TEST_F(RcRequesterTest, duplicate_read_response_is_dropped) {
    post(1, Operation::Read, 2 * kMtu);
    poll();
    receive(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu));
    EXPECT_EQ(dropped(read_response(Opcode::RcReadResponseFirst, psn(0), kMtu)),
              DropReason::Duplicate);
}

TEST_F(RcRequesterTest, c9_4_5_atomic_ack_delivers_the_original) {
    post(1, Operation::FetchAdd);
    poll();
    const Answer answer = receive(atomic_ack(psn(0), 0xabcdef));
    EXPECT_EQ(answer.action, Answer::Action::Original);
    EXPECT_EQ(answer.original, 0xabcdefU);
    EXPECT_EQ(answer.message_id, 1U);
    expect_completions({{1, kOk}});
}

TEST_F(RcRequesterTest, local_failure_while_placing_the_last_response_fails_the_read) {
    post(1, Operation::Read, 8);
    poll();
    EXPECT_EQ(receive(read_response(Opcode::RcReadResponseOnly, psn(0), 8)).action,
              Answer::Action::Place);
    requester.fail_message(1, CompletionStatus::LocalProtection);
    expect_completions({{1, CompletionStatus::LocalProtection}});
}

// ---- order: max_rd_atomic and fence (9.7.3.2, 10.8.3.3) ----

TEST_F(RcRequesterTest, c9_7_3_2_max_rd_atomic_stalls_the_queue_in_order) {
    post(1, Operation::Read, 8);
    post(2, Operation::FetchAdd);
    post(3, Operation::Read, 8);
    post(4, Operation::Send);
    EXPECT_EQ(poll().size(), 2U);
    receive(read_response(Opcode::RcReadResponseOnly, psn(0), 8));
    EXPECT_EQ(poll().size(), 2U);
}

TEST_F(RcRequesterTest, c10_8_3_3_fence_waits_for_reads_before_it) {
    post(1, Operation::Read, 8);
    post(2, Operation::Send);
    post(3, Operation::Send, 8, true);
    EXPECT_EQ(poll().size(), 2U);
    receive(read_response(Opcode::RcReadResponseOnly, psn(0), 8));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].message_id, 3U);
}

TEST_F(RcRequesterTest, c10_8_3_3_fence_does_not_wait_for_sends) {
    post(1, Operation::Send);
    post(2, Operation::Send, 8, true);
    EXPECT_EQ(poll().size(), 2U);
}

TEST_F(RcRequesterTest, c10_3_1_3_drained_when_all_is_complete) {
    EXPECT_TRUE(requester.drained());
    post(1, Operation::Send);
    poll();
    EXPECT_FALSE(requester.drained());
    receive(ack(psn(0)));
    completions();
    EXPECT_TRUE(requester.drained());
}

}  // namespace
}  // namespace vrdma::transport
