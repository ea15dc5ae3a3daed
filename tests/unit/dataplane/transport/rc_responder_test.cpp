// The responder, check by check. Names cite IBA 1.x volume 1, chapter 9.
#include "dataplane/transport/rc_responder.h"

#include <gtest/gtest.h>

#include <vector>

#include "wire_side.h"

namespace vrdma::transport {
namespace {

using wire::NakCode;
using wire::Opcode;
using Action = Inbound::Action;

constexpr uint32_t kMtu = 256;
constexpr uint32_t kPsn = 0xffffff;  // the next one wraps

constexpr uint32_t psn(uint32_t offset) {
    return (kPsn + offset) & kPsnMask;
}

class RcResponderTest : public testing::Test {
  protected:
    RcResponderTest() { reset(PeerKind::Standard); }

    void reset(PeerKind peer, uint8_t max_dest_rd_atomic = 2) {
        responder.reset({.peer = peer,
                         .destination_qpn = 55,
                         .initial_psn = Psn::of(kPsn),
                         .path_mtu = kMtu,
                         .max_dest_rd_atomic = max_dest_rd_atomic});
    }
    // A request, and that it was executed well if it is to be.
    Inbound give(const wire::Packet& packet, const ExecuteResult& result = {}) {
        const Inbound inbound = responder.receive(packet, now);
        if (inbound.action == Action::Execute || inbound.action == Action::Reexecute) {
            responder.executed(result);
        }
        return inbound;
    }
    DropReason dropped(const wire::Packet& packet) {
        const Inbound inbound = give(packet);
        return inbound.action == Action::Drop ? inbound.reason : DropReason::None;
    }
    std::vector<PacketPlan> poll() {
        std::vector<PacketPlan> plans;
        while (const auto plan = responder.poll_transmit(now)) {
            plans.push_back(*plan);
        }
        return plans;
    }
    void expect_ack(uint32_t want_psn, uint32_t want_msn) {
        const auto plans = poll();
        ASSERT_EQ(plans.size(), 1U);
        EXPECT_EQ(plans[0].fields.opcode, Opcode::RcAcknowledge);
        EXPECT_EQ(plans[0].fields.psn, want_psn);
        EXPECT_EQ(plans[0].fields.aeth.syndrome, 0x1f);
        EXPECT_EQ(plans[0].fields.aeth.msn, want_msn);
        EXPECT_EQ(plans[0].fields.dqpn, 55U);
    }
    // Exactly a NAK that ends the connection.
    void expect_end(NakCode code, uint32_t want_psn) {
        EXPECT_TRUE(responder.failed());
        EXPECT_EQ(responder.failure(), code);
        const auto plans = poll();
        ASSERT_EQ(plans.size(), 1U);
        EXPECT_EQ(plans[0].fields.aeth.syndrome, wire::nak_syndrome(code));
        EXPECT_EQ(plans[0].fields.psn, want_psn);
        EXPECT_EQ(dropped(send(psn(1))), DropReason::Failed);
    }
    static wire::Packet send(uint32_t at, size_t length = 8, bool ask = true) {
        wire::Packet packet = make_packet(Opcode::RcSendOnly, at, length);
        packet.bth.ack_request = ask;
        return packet;
    }
    static wire::Packet write(Opcode opcode, uint32_t at, size_t payload, uint32_t total) {
        wire::Packet packet = make_packet(opcode, at, payload);
        packet.bth.ack_request = true;
        packet.reth = {0x2000, 0x77, total};
        return packet;
    }
    static wire::Packet read(uint32_t at, uint32_t length) {
        wire::Packet packet = make_packet(Opcode::RcReadRequest, at);
        packet.reth = {0x3000, 0x88, length};
        return packet;
    }
    static wire::Packet fetch_add(uint32_t at, uint64_t address = 0x4000) {
        wire::Packet packet = make_packet(Opcode::RcFetchAdd, at);
        packet.atomic_eth = {address, 0x99, 3, 0};
        return packet;
    }

    Instant now{1'000'000};
    RcResponder responder;
};

// ---- in order ----

TEST_F(RcResponderTest, c9_7_4_1_send_is_executed_and_acknowledged_with_its_psn_and_msn) {
    const Inbound in = give(send(psn(0)));
    EXPECT_EQ(in.action, Action::Execute);
    EXPECT_EQ(in.operation, Operation::Send);
    EXPECT_TRUE(in.first && in.last);
    EXPECT_EQ(in.length, 8U);
    expect_ack(psn(0), 1);
    EXPECT_FALSE(responder.has_output());
}

TEST_F(RcResponderTest, c9_7_5_1_acknowledgements_between_two_polls_become_one) {
    give(send(psn(0)));
    give(send(psn(1)));
    give(send(psn(2)));
    expect_ack(psn(2), 3);
}

TEST_F(RcResponderTest, c9_7_5_1_without_ack_request_nothing_is_sent_for_a_while) {
    for (uint32_t i = 0; i + 1 < kUnaskedAckPackets; ++i) {
        give(send(psn(i), 8, false));
        ASSERT_TRUE(poll().empty());
    }
    give(send(psn(kUnaskedAckPackets - 1), 8, false));
    expect_ack(psn(kUnaskedAckPackets - 1), kUnaskedAckPackets);
}

TEST_F(RcResponderTest, c9_7_5_1_ack_request_inside_a_message_is_answered_at_once) {
    wire::Packet packet = make_packet(Opcode::RcSendFirst, psn(0), kMtu);
    packet.bth.ack_request = true;
    give(packet);
    expect_ack(psn(0), 0);  // the message is not complete
}

TEST_F(RcResponderTest, message_of_three_packets_carries_its_offsets) {
    EXPECT_EQ(give(make_packet(Opcode::RcSendFirst, psn(0), kMtu)).offset, 0U);
    EXPECT_EQ(give(make_packet(Opcode::RcSendMiddle, psn(1), kMtu)).offset, kMtu);
    wire::Packet last = make_packet(Opcode::RcSendLastImm, psn(2), 7);
    last.imm = 0xaabbccdd;
    last.bth.solicited = true;
    const Inbound in = give(last);
    EXPECT_EQ(in.offset, 2 * kMtu);
    EXPECT_EQ(in.total, 2 * kMtu + 7);
    EXPECT_EQ(in.operation, Operation::SendImm);
    EXPECT_EQ(in.imm, 0xaabbccddU);
    EXPECT_TRUE(in.solicited && in.last && !in.first);
}

TEST_F(RcResponderTest, write_carries_key_and_address_to_its_last_packet) {
    give(write(Opcode::RcWriteFirst, psn(0), kMtu, kMtu + 5));
    const Inbound in = give(make_packet(Opcode::RcWriteLastImm, psn(1), 5));
    EXPECT_EQ(in.operation, Operation::WriteImm);
    EXPECT_EQ(in.remote_address, 0x2000U);
    EXPECT_EQ(in.rkey, 0x77U);
    EXPECT_EQ(in.offset, kMtu);
    EXPECT_EQ(in.total, kMtu + 5);
}

TEST_F(RcResponderTest, c9_7_5_2_msn_counts_a_read_when_it_is_accepted) {
    give(read(psn(0), 2 * kMtu));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.aeth.msn, 1U);
}

TEST_F(RcResponderTest, c9_4_4_read_is_answered_by_first_middle_last_with_its_psns) {
    give(read(psn(0), 2 * kMtu + 9));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadResponseFirst);
    EXPECT_EQ(plans[1].fields.opcode, Opcode::RcReadResponseMiddle);
    EXPECT_EQ(plans[2].fields.opcode, Opcode::RcReadResponseLast);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    EXPECT_EQ(plans[2].fields.psn, psn(2));
    EXPECT_EQ(plans[2].source, PayloadSource::Memory);
    EXPECT_EQ(plans[2].address, 0x3000U + 2 * kMtu);
    EXPECT_EQ(plans[2].length, 9U);
    EXPECT_EQ(plans[2].rkey, 0x88U);
    EXPECT_EQ(plans[2].request_length, 2 * kMtu + 9);
    EXPECT_EQ(give(send(psn(3))).action, Action::Execute);
}

TEST_F(RcResponderTest, c9_4_4_empty_read_is_answered_by_one_packet) {
    give(read(psn(0), 0));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadResponseOnly);
    EXPECT_EQ(plans[0].source, PayloadSource::None);
}

TEST_F(RcResponderTest, c9_7_5_1_1_ack_does_not_overtake_the_answer_of_an_earlier_read) {
    give(read(psn(0), 2 * kMtu));
    give(send(psn(2)));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadResponseFirst);
    EXPECT_EQ(plans[2].fields.opcode, Opcode::RcAcknowledge);
    EXPECT_EQ(plans[2].fields.psn, psn(2));
}

TEST_F(RcResponderTest, c9_4_5_atomic_is_answered_with_the_original) {
    const Inbound in = give(fetch_add(psn(0)), {.original = 41});
    EXPECT_EQ(in.operation, Operation::FetchAdd);
    EXPECT_EQ(in.swap_or_add, 3U);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcAtomicAcknowledge);
    EXPECT_EQ(plans[0].fields.original, 41U);
    EXPECT_EQ(plans[0].fields.aeth.msn, 1U);
}

// ---- gaps (9.7.5.2.3) ----

TEST_F(RcResponderTest, c9_7_5_2_3_gap_is_reported_once_with_the_expected_psn) {
    EXPECT_EQ(responder.receive(send(psn(1)), now).action, Action::Hold);
    EXPECT_EQ(responder.receive(send(psn(2)), now).action, Action::Hold);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.aeth.syndrome, 0x60);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    give(send(psn(3)));
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(responder.statistics().sequence_naks, 1U);
}

TEST_F(RcResponderTest, c9_7_5_2_3_after_the_gap_is_filled_the_next_gap_is_reported) {
    give(send(psn(1)));
    poll();
    give(send(psn(0)));
    poll();
    give(send(psn(2)));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.aeth.syndrome, 0x60);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
}

TEST_F(RcResponderTest, gap_that_closes_before_the_next_poll_is_not_reported) {
    EXPECT_EQ(responder.receive(send(psn(1)), now).action, Action::Hold);
    give(send(psn(0)));
    expect_ack(psn(0), 1);
}

TEST_F(RcResponderTest, b5_held_packet_is_given_back_when_its_turn_comes) {
    const Inbound early = responder.receive(send(psn(1)), now);
    ASSERT_EQ(early.action, Action::Hold);
    responder.hold(early.sequence, 4711);
    EXPECT_FALSE(responder.next_held().has_value());
    give(send(psn(0)));
    ASSERT_EQ(responder.next_held(), std::optional<HeldPacket>(4711));
    EXPECT_EQ(give(send(psn(1))).action, Action::Execute);
    EXPECT_FALSE(responder.next_held().has_value());
    expect_ack(psn(1), 2);
}

TEST_F(RcResponderTest, second_copy_of_a_held_packet_is_dropped) {
    responder.hold(responder.receive(send(psn(1)), now).sequence, 1);
    EXPECT_EQ(dropped(send(psn(1))), DropReason::Duplicate);
}

TEST_F(RcResponderTest, held_read_stands_for_all_its_psns) {
    responder.hold(responder.receive(read(psn(1), 3 * kMtu), now).sequence, 1);
    EXPECT_EQ(dropped(send(psn(3))), DropReason::Duplicate);
    EXPECT_EQ(responder.receive(send(psn(4)), now).action, Action::Hold);
}

TEST_F(RcResponderTest, read_that_overlaps_a_held_packet_is_not_held) {
    responder.hold(responder.receive(send(psn(3)), now).sequence, 1);
    EXPECT_EQ(dropped(read(psn(1), 3 * kMtu)), DropReason::PsnAhead);
}

TEST_F(RcResponderTest, packet_beyond_the_window_is_dropped_and_the_gap_reported) {
    EXPECT_EQ(dropped(send(psn(kWindowPackets))), DropReason::PsnOutsideWindow);
    EXPECT_EQ(responder.receive(send(psn(kWindowPackets - 1)), now).action, Action::Hold);
    ASSERT_EQ(poll().size(), 1U);
}

TEST_F(RcResponderTest, discard_gives_every_held_packet_once) {
    for (uint32_t i = 1; i < 5; ++i) {
        responder.hold(responder.receive(send(psn(i)), now).sequence, i);
    }
    uint32_t sum = 0;
    while (const auto handle = responder.discard_held()) {
        sum += *handle;
    }
    EXPECT_EQ(sum, 10U);
}

// ---- duplicates (9.7.4.2) ----

TEST_F(RcResponderTest, c9_7_4_2_duplicate_send_is_not_executed_and_acknowledged_with_the_latest) {
    give(send(psn(0)));
    give(send(psn(1)));
    poll();
    EXPECT_EQ(dropped(send(psn(0), 8, false)), DropReason::Duplicate);
    expect_ack(psn(1), 2);
}

TEST_F(RcResponderTest, c9_7_4_2_duplicate_read_is_executed_again) {
    give(read(psn(0), 2 * kMtu));
    poll();
    const Inbound again = give(read(psn(0), 2 * kMtu));
    EXPECT_EQ(again.action, Action::Reexecute);
    EXPECT_EQ(again.rkey, 0x88U);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    EXPECT_EQ(plans[0].fields.aeth.msn, 1U);  // not counted twice
    EXPECT_TRUE(plans[0].retransmission);
}

TEST_F(RcResponderTest, c9_7_4_2_duplicate_read_may_ask_for_the_rest_only) {
    give(read(psn(0), 3 * kMtu));
    poll();
    give(read(psn(1), 2 * kMtu));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 2U);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
    EXPECT_EQ(plans[0].fields.opcode, Opcode::RcReadResponseFirst);
}

TEST_F(RcResponderTest, duplicate_read_beyond_what_was_requested_is_dropped) {
    give(read(psn(0), 2 * kMtu));
    poll();
    EXPECT_EQ(dropped(read(psn(1), 2 * kMtu)), DropReason::ReplayRange);
}

TEST_F(RcResponderTest, duplicate_read_whose_answer_has_not_left_is_dropped) {
    give(read(psn(0), 2 * kMtu));
    EXPECT_EQ(dropped(read(psn(0), 2 * kMtu)), DropReason::Duplicate);
    EXPECT_EQ(poll().size(), 2U);
}

TEST_F(RcResponderTest, duplicate_reads_beyond_all_resources_are_dropped) {
    for (uint32_t i = 0; i <= kMaxRdAtomic; ++i) {
        give(read(psn(i), 8));
        poll();
    }
    for (uint32_t i = 0; i < kMaxRdAtomic; ++i) {
        EXPECT_EQ(give(read(psn(i), 8)).action, Action::Reexecute);
    }
    EXPECT_EQ(dropped(read(psn(kMaxRdAtomic), 8)), DropReason::ReplayFull);
    EXPECT_EQ(poll().size(), kMaxRdAtomic);
}

TEST_F(RcResponderTest, c9_7_4_2_duplicate_atomic_replays_its_saved_result) {
    give(fetch_add(psn(0)), {.original = 41});
    give(fetch_add(psn(1)), {.original = 44});
    poll();
    const Inbound again = give(fetch_add(psn(0)), {.original = 999});
    EXPECT_EQ(again.action, Action::Drop);
    EXPECT_EQ(again.reason, DropReason::Duplicate);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.original, 41U);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    EXPECT_EQ(plans[0].fields.aeth.msn, 1U);
}

TEST_F(RcResponderTest, duplicate_atomic_whose_answer_has_not_left_is_dropped) {
    give(fetch_add(psn(0)), {.original = 41});
    EXPECT_EQ(dropped(fetch_add(psn(0))), DropReason::Duplicate);
    EXPECT_EQ(poll().size(), 1U);
}

TEST_F(RcResponderTest, c9_7_4_2_duplicate_atomic_that_is_forgotten_is_dropped_silently) {
    for (uint32_t i = 0; i <= kMaxRdAtomic; ++i) {
        give(fetch_add(psn(i)));
        poll();
    }
    EXPECT_EQ(dropped(fetch_add(psn(0))), DropReason::AtomicForgotten);
    EXPECT_TRUE(poll().empty());
}

// ---- receiver not ready (9.7.5.2.8) ----

TEST_F(RcResponderTest, c9_7_5_2_8_rnr_leaves_no_trace_but_the_nak) {
    give(send(psn(0)), {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = 9});
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.aeth.syndrome, 0x20 | 9);
    EXPECT_EQ(plans[0].fields.psn, psn(0));
    EXPECT_EQ(plans[0].fields.aeth.msn, 0U);
    EXPECT_EQ(give(send(psn(0))).action, Action::Execute);
    expect_ack(psn(0), 1);
}

TEST_F(RcResponderTest, b7_4_after_rnr_what_follows_is_dropped_without_a_nak) {
    give(send(psn(0)), {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = 9});
    poll();
    EXPECT_EQ(dropped(send(psn(1))), DropReason::PsnAhead);
    EXPECT_TRUE(poll().empty());
}

TEST_F(RcResponderTest, c9_7_5_2_8_rnr_at_the_last_packet_of_a_write_with_imm_keeps_the_message) {
    give(write(Opcode::RcWriteFirst, psn(0), kMtu, kMtu + 5));
    const wire::Packet last = make_packet(Opcode::RcWriteLastImm, psn(1), 5);
    give(last, {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = 1});
    poll();
    const Inbound in = give(last);
    EXPECT_EQ(in.action, Action::Execute);
    EXPECT_EQ(in.offset, kMtu);
}

// ---- what ends the connection (9.7.4.1, 9.9.3) ----

TEST_F(RcResponderTest, c9_7_4_1_4_middle_without_first_is_invalid) {
    give(make_packet(Opcode::RcSendMiddle, psn(0), kMtu));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_4_1_4_last_without_first_is_invalid) {
    give(make_packet(Opcode::RcWriteLast, psn(0), 8));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_4_1_4_first_inside_a_message_is_invalid) {
    give(make_packet(Opcode::RcSendFirst, psn(0), kMtu));
    give(make_packet(Opcode::RcSendFirst, psn(1), kMtu));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_4_write_inside_a_send_is_invalid) {
    give(make_packet(Opcode::RcSendFirst, psn(0), kMtu));
    give(make_packet(Opcode::RcWriteLast, psn(1), 8));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_4_send_inside_a_write_is_invalid) {
    give(write(Opcode::RcWriteFirst, psn(0), kMtu, 2 * kMtu));
    give(make_packet(Opcode::RcSendLast, psn(1), 8));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_4_read_inside_a_message_is_invalid) {
    give(make_packet(Opcode::RcSendFirst, psn(0), kMtu));
    give(read(psn(1), 8));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_6_first_that_is_not_a_whole_mtu_is_invalid) {
    give(make_packet(Opcode::RcSendFirst, psn(0), kMtu - 4));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_4_1_6_middle_that_is_longer_than_the_mtu_is_invalid) {
    give(make_packet(Opcode::RcSendFirst, psn(0), kMtu));
    give(make_packet(Opcode::RcSendMiddle, psn(1), kMtu + 4));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_6_empty_last_is_invalid) {
    give(make_packet(Opcode::RcSendFirst, psn(0), kMtu));
    give(make_packet(Opcode::RcSendLast, psn(1), 0));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_6_only_longer_than_the_mtu_is_invalid) {
    give(send(psn(0), kMtu + 4));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_4_1_6_write_only_of_another_length_than_announced_is_invalid) {
    give(write(Opcode::RcWriteOnly, psn(0), 8, 9));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_4_1_6_write_that_goes_on_beyond_what_it_announced_is_invalid) {
    give(write(Opcode::RcWriteFirst, psn(0), kMtu, 2 * kMtu));
    give(make_packet(Opcode::RcWriteMiddle, psn(1), kMtu));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_7_4_1_6_write_that_ends_before_what_it_announced_is_invalid) {
    give(write(Opcode::RcWriteFirst, psn(0), kMtu, 2 * kMtu));
    give(make_packet(Opcode::RcWriteLast, psn(1), 8));
    expect_end(NakCode::InvalidRequest, psn(1));
}

TEST_F(RcResponderTest, c9_2_write_longer_than_2_gib_is_invalid) {
    give(write(Opcode::RcWriteFirst, psn(0), kMtu, 0x80000001));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_2_read_longer_than_2_gib_is_invalid) {
    give(read(psn(0), 0x80000001));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_4_1_5_more_reads_than_resources_are_invalid) {
    give(read(psn(0), 8));
    give(read(psn(1), 8));
    give(read(psn(2), 8));
    EXPECT_TRUE(responder.failed());
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 3U);  // the answers of the first two come first
    EXPECT_EQ(plans[2].fields.aeth.syndrome, 0x61);
    EXPECT_EQ(plans[2].fields.psn, psn(2));
}

TEST_F(RcResponderTest, c9_7_4_1_5_atomic_without_resources_is_invalid) {
    reset(PeerKind::Standard, 0);
    give(fetch_add(psn(0)));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_4_5_atomic_at_an_odd_address_is_invalid) {
    give(fetch_add(psn(0), 0x4004));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_4_1_send_with_invalidate_hands_over_the_key) {
    wire::Packet packet = make_packet(Opcode::RcSendOnlyInvalidate, psn(0), 8);
    packet.invalidate_rkey = 0x8123'4567;
    const Inbound inbound = responder.receive(packet, now);
    EXPECT_EQ(inbound.action, Inbound::Action::Execute);
    EXPECT_EQ(inbound.operation, Operation::SendInvalidate);
    EXPECT_EQ(inbound.rkey, 0x8123'4567U);
    EXPECT_TRUE(inbound.last);
    responder.executed({});
}

TEST_F(RcResponderTest, read_whose_responses_have_the_numbers_of_a_held_packet_is_invalid) {
    responder.hold(responder.receive(send(psn(1)), now).sequence, 1);
    poll();
    give(read(psn(0), 3 * kMtu));
    expect_end(NakCode::InvalidRequest, psn(0));
}

TEST_F(RcResponderTest, c9_7_5_2_what_the_owner_refuses_ends_with_its_code) {
    const std::vector<std::pair<ExecuteStatus, NakCode>> cases = {
        {ExecuteStatus::NakInvalidRequest, NakCode::InvalidRequest},
        {ExecuteStatus::NakRemoteAccess, NakCode::RemoteAccessError},
        {ExecuteStatus::NakRemoteOperational, NakCode::RemoteOperationalError}};
    for (const auto& [status, code] : cases) {
        reset(PeerKind::Standard);
        give(send(psn(0)), {.status = status});
        expect_end(code, psn(0));
    }
}

TEST_F(RcResponderTest, lost_final_nak_is_sent_again_when_its_packet_comes_again) {
    give(send(psn(0)), {.status = ExecuteStatus::NakRemoteAccess});
    EXPECT_EQ(poll().size(), 1U);
    EXPECT_EQ(dropped(send(psn(0))), DropReason::Failed);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.aeth.syndrome, 0x62);
}

TEST_F(RcResponderTest, read_response_that_cannot_be_read_becomes_a_nak_of_its_psn) {
    give(read(psn(0), 3 * kMtu));
    ASSERT_TRUE(responder.poll_transmit(now).has_value());
    ASSERT_TRUE(responder.poll_transmit(now).has_value());
    responder.response_failed(ExecuteStatus::NakRemoteAccess);
    expect_end(NakCode::RemoteAccessError, psn(1));
}

TEST_F(RcResponderTest, failed_from_outside_is_silent) {
    give(send(psn(0)));
    responder.fail();
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(dropped(send(psn(1))), DropReason::Failed);
    EXPECT_TRUE(poll().empty());
}

TEST_F(RcResponderTest, response_at_the_responder_is_dropped) {
    EXPECT_EQ(dropped(ack(psn(0))), DropReason::NotForResponder);
}

TEST_F(RcResponderTest, packet_of_another_service_is_dropped) {
    EXPECT_EQ(dropped(make_packet(Opcode::UcSendOnly, psn(0), 8)), DropReason::WrongService);
}

// ---- CNP toward a standard peer (facts B.4) ----

TEST_F(RcResponderTest, b4_marked_packet_is_answered_by_one_cnp_in_a_while) {
    wire::Packet marked = send(psn(0), 8, false);
    marked.network.ecn = wire::Ecn::Experienced;
    give(marked);
    EXPECT_TRUE(responder.has_output());
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::Cnp);
    EXPECT_TRUE(plans[0].fields.becn);
    EXPECT_EQ(plans[0].fields.dqpn, 55U);
    EXPECT_EQ(plans[0].fields.psn, 0U);
    marked.bth.psn = psn(1);
    give(marked);
    EXPECT_TRUE(poll().empty());
}

// ---- the pace of READ responses (DCQCN) ----

constexpr uint32_t kPacketBytes = kPacedHeaderBytes + kMtu;
constexpr uint64_t kPacketPerMicrosecond = uint64_t{1'000'000} * kPacketBytes;

class RcResponderPaceTest : public RcResponderTest {
  protected:
    RcResponderPaceTest() { begin(PeerKind::Standard); }
    void begin(PeerKind peer) {
        responder.reset({.peer = peer,
                         .destination_qpn = 55,
                         .initial_psn = Psn::of(kPsn),
                         .path_mtu = kMtu,
                         .max_dest_rd_atomic = 2,
                         .line_rate = kPacketPerMicrosecond});
        give(read(psn(0), 64 * kMtu));
    }
    // Answers to the end; how long it takes.
    Duration time_of(size_t answers) {
        const Instant begin = now;
        size_t count = poll().size();
        while (count < answers && responder.next_deadline() != Instant::never()) {
            now = responder.next_deadline();
            responder.on_deadline(now);
            count += poll().size();
        }
        EXPECT_EQ(count, answers);
        return now - begin;
    }
};

TEST_F(RcResponderPaceTest, without_a_cnp_all_leave_at_once) {
    EXPECT_EQ(time_of(64).ns, 0);
    EXPECT_EQ(responder.next_deadline(), Instant::never());
}

TEST_F(RcResponderPaceTest, first_cnp_halves_the_rate_of_the_responses) {
    responder.on_congestion(now);
    const Duration time = time_of(64);
    // Two microseconds each, less the part of a nanosecond that is rounded down, and a burst of ten
    // in advance.
    EXPECT_GE(time, Duration::nanoseconds(1999 * 64 - 12000));
    EXPECT_LE(time, Duration::microseconds(2 * 64));
}

TEST_F(RcResponderPaceTest, second_cnp_slows_down_further) {
    responder.on_congestion(now);
    responder.on_congestion(now);
    EXPECT_GE(time_of(64), Duration::microseconds(3 * 64));
}

TEST_F(RcResponderPaceTest, rate_comes_back_without_more_of_them) {
    responder.on_congestion(now);
    now = now + Duration::milliseconds(1500);
    EXPECT_EQ(time_of(64).ns, 0);
}

TEST_F(RcResponderPaceTest, c9_7_5_1_1_acknowledgement_waits_behind_the_responses) {
    responder.on_congestion(now);
    give(send(psn(64)));
    const auto burst = poll();
    for (const PacketPlan& plan : burst) {
        EXPECT_NE(plan.fields.opcode, Opcode::RcAcknowledge);
    }
    EXPECT_TRUE(responder.has_output());
    EXPECT_GT(time_of(65 - burst.size()).ns, 0);
    EXPECT_FALSE(responder.has_output());
}

TEST_F(RcResponderPaceTest, cnp_of_a_vrdma_peer_slows_nothing_down) {
    begin(PeerKind::Vrdma);
    responder.on_congestion(now);
    EXPECT_EQ(poll().size(), 64U);
}

TEST_F(RcResponderPaceTest, peer_that_turns_out_to_be_vrdma_is_not_paced_any_more) {
    responder.on_congestion(now);
    ASSERT_LT(poll().size(), 64U);
    responder.set_peer(PeerKind::Vrdma);
    responder.on_deadline(responder.next_deadline());
    EXPECT_GT(poll().size(), 50U);
    EXPECT_EQ(responder.next_deadline(), Instant::never());
}

TEST_F(RcResponderPaceTest, queue_pair_that_fails_is_not_paced_any_more) {
    responder.on_congestion(now);
    ASSERT_LT(poll().size(), 64U);
    give(write(Opcode::RcWriteMiddle, psn(64), kMtu, 3 * kMtu));
    ASSERT_TRUE(responder.failed());
    const auto plans = poll();
    ASSERT_FALSE(plans.empty());
    EXPECT_EQ(plans.back().fields.aeth.syndrome, wire::nak_syndrome(NakCode::InvalidRequest));
    responder.fail();
    EXPECT_EQ(responder.next_deadline(), Instant::never());
}

TEST_F(RcResponderPaceTest, cnps_for_marked_requests_do_not_wait) {
    responder.on_congestion(now);
    ASSERT_LT(poll().size(), 64U);
    wire::Packet marked = send(psn(64));
    marked.network.ecn = wire::Ecn::Experienced;
    give(marked);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::Cnp);
}

// ---- SACK toward a vRDMA peer ----

TEST_F(RcResponderTest, sack_names_base_and_what_is_held) {
    reset(PeerKind::Vrdma);
    give(send(psn(0)));
    responder.hold(responder.receive(send(psn(2)), now).sequence, 1);
    responder.hold(responder.receive(send(psn(70)), now).sequence, 2);
    now = now + Duration::nanoseconds(500);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    const wire::HeaderFields& f = plans[0].fields;
    EXPECT_EQ(f.opcode, Opcode::Sack);
    EXPECT_EQ(f.psn, psn(0));
    EXPECT_EQ(f.sack.base_psn, psn(1));
    EXPECT_EQ(f.sack.held[0], 1U);
    EXPECT_EQ(f.sack.held[1], uint64_t{1} << (70 - 2 - 64));
    EXPECT_EQ(f.sack.received, 3U);
    EXPECT_TRUE(f.sack.echo_valid);
    EXPECT_EQ(f.sack.echo_psn, psn(70));
    EXPECT_EQ(f.sack.hold_ns, 500U);
}

TEST_F(RcResponderTest, sack_does_not_list_what_the_owner_did_not_keep) {
    reset(PeerKind::Vrdma);
    EXPECT_EQ(responder.receive(send(psn(2)), now).action, Action::Hold);
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.sack.held[0], 0U);
}

TEST_F(RcResponderTest, sack_counts_marked_packets) {
    reset(PeerKind::Vrdma);
    wire::Packet marked = send(psn(0));
    marked.network.ecn = wire::Ecn::Experienced;
    give(marked);
    give(send(psn(1)));
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.sack.ce_marked, 1U);
    EXPECT_EQ(plans[0].fields.sack.received, 2U);
}

TEST_F(RcResponderTest, rnr_of_a_held_packet_takes_it_off_the_list) {
    reset(PeerKind::Vrdma);
    responder.hold(responder.receive(send(psn(1)), now).sequence, 1);
    give(send(psn(0)));
    ASSERT_TRUE(responder.next_held().has_value());
    give(send(psn(1)), {.status = ExecuteStatus::ReceiverNotReady, .rnr_timer = 4});
    const auto plans = poll();
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_EQ(plans[0].fields.opcode, Opcode::Sack);
    EXPECT_EQ(plans[0].fields.aeth.syndrome, 0x20 | 4);
    EXPECT_EQ(plans[0].fields.psn, psn(1));
    EXPECT_EQ(give(send(psn(1))).action, Action::Execute);
}

}  // namespace
}  // namespace vrdma::transport
