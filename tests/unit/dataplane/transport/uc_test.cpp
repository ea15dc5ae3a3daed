// UC both ways (IBA 9.8).
#include <gtest/gtest.h>

#include <vector>

#include "dataplane/transport/uc_receiver.h"
#include "dataplane/transport/uc_sender.h"
#include "wire_side.h"

namespace vrdma::transport {
namespace {

using wire::Opcode;
using Action = Inbound::Action;

constexpr uint32_t kMtu = 256;
constexpr uint32_t kPsn = 0xfffffe;

constexpr uint32_t psn(uint32_t offset) {
    return (kPsn + offset) & kPsnMask;
}

class UcSenderTest : public testing::Test {
  protected:
    UcSenderTest() {
        sender.reset({.destination_qpn = 9, .initial_psn = Psn::of(kPsn), .path_mtu = kMtu});
    }
    UcSender sender;
};

TEST_F(UcSenderTest, c9_8_1_write_with_imm_is_first_middle_last) {
    sender.post({.id = 5,
                 .operation = Operation::WriteImm,
                 .length = 2 * kMtu + 1,
                 .remote_address = 0x1000,
                 .rkey = 3,
                 .imm = 7});
    EXPECT_FALSE(sender.can_post());
    const auto first = sender.poll_transmit();
    const auto middle = sender.poll_transmit();
    const auto last = sender.poll_transmit();
    ASSERT_TRUE(first && middle && last);
    EXPECT_EQ(first->fields.opcode, Opcode::UcWriteFirst);
    EXPECT_EQ(first->fields.reth.length, 2 * kMtu + 1);
    EXPECT_EQ(middle->fields.opcode, Opcode::UcWriteMiddle);
    EXPECT_EQ(last->fields.opcode, Opcode::UcWriteLastImm);
    EXPECT_EQ(last->fields.imm, 7U);
    EXPECT_EQ(last->fields.psn, psn(2));
    EXPECT_EQ(last->length, 1U);
    EXPECT_FALSE(sender.poll_transmit().has_value());
}

TEST_F(UcSenderTest, c9_8_1_no_packet_asks_for_an_acknowledgement) {
    sender.post({.id = 5, .operation = Operation::Send, .length = 3 * kMtu});
    while (const auto plan = sender.poll_transmit()) {
        EXPECT_FALSE(plan->fields.ack_request);
    }
}

TEST_F(UcSenderTest, message_completes_with_its_last_packet) {
    sender.post({.id = 5, .operation = Operation::Send, .length = 0});
    EXPECT_FALSE(sender.poll_completion().has_value());
    ASSERT_TRUE(sender.poll_transmit().has_value());
    EXPECT_FALSE(sender.can_post());
    const auto completion = sender.poll_completion();
    ASSERT_TRUE(completion.has_value());
    EXPECT_EQ(completion->id, 5U);
    EXPECT_EQ(completion->status, CompletionStatus::Success);
    EXPECT_TRUE(sender.can_post());
}

TEST_F(UcSenderTest, failed_message_completes_with_its_status_even_after_its_last_packet) {
    sender.post({.id = 5, .operation = Operation::Send, .length = 8});
    ASSERT_TRUE(sender.poll_transmit().has_value());
    sender.fail_message(5, CompletionStatus::LocalProtection);
    const auto completion = sender.poll_completion();
    ASSERT_TRUE(completion.has_value());
    EXPECT_EQ(completion->status, CompletionStatus::LocalProtection);
    EXPECT_FALSE(sender.poll_transmit().has_value());
}

class UcReceiverTest : public testing::Test {
  protected:
    UcReceiverTest() { receiver.reset({.initial_psn = Psn::of(kPsn), .path_mtu = kMtu}); }

    Inbound give(const wire::Packet& packet, ExecuteStatus status = ExecuteStatus::Ok) {
        const Inbound in = receiver.receive(packet);
        if (in.action == Action::Execute) {
            receiver.executed({.status = status});
        }
        return in;
    }
    Inbound give(Opcode opcode, uint32_t at, size_t length, uint32_t announced = 0) {
        wire::Packet packet = make_packet(opcode, at, length);
        packet.reth = {0x5000, 6, announced};
        return give(packet);
    }
    UcReceiver receiver;
};

TEST_F(UcReceiverTest, whole_message_is_executed_in_order) {
    EXPECT_EQ(give(Opcode::UcWriteFirst, psn(0), kMtu, kMtu + 4).action, Action::Execute);
    const Inbound in = give(Opcode::UcWriteLast, psn(1), 4);
    EXPECT_EQ(in.action, Action::Execute);
    EXPECT_EQ(in.offset, kMtu);
    EXPECT_EQ(in.remote_address, 0x5000U);
    EXPECT_TRUE(in.last);
}

TEST_F(UcReceiverTest, c9_8_2_2_gap_drops_the_whole_message) {
    give(Opcode::UcSendFirst, psn(0), kMtu);
    EXPECT_EQ(give(Opcode::UcSendMiddle, psn(2), kMtu).reason, DropReason::MessageDropped);
    EXPECT_EQ(give(Opcode::UcSendLast, psn(3), 8).reason, DropReason::MessageDropped);
}

TEST_F(UcReceiverTest, c9_8_2_2_next_first_packet_begins_anew_and_says_so) {
    give(Opcode::UcSendFirst, psn(0), kMtu);
    give(Opcode::UcSendLast, psn(2), 8);
    const Inbound in = give(Opcode::UcSendOnly, psn(3), 8);
    EXPECT_EQ(in.action, Action::Execute);
    EXPECT_EQ(in.offset, 0U);
    EXPECT_TRUE(in.restarted);
    EXPECT_FALSE(give(Opcode::UcSendOnly, psn(4), 8).restarted);
}

TEST_F(UcReceiverTest, c9_8_2_2_only_after_a_gap_is_executed) {
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(40), 8).action, Action::Execute);
}

TEST_F(UcReceiverTest, first_inside_a_message_begins_a_new_one) {
    give(Opcode::UcSendFirst, psn(0), kMtu);
    const Inbound in = give(Opcode::UcSendFirst, psn(1), kMtu);
    EXPECT_EQ(in.action, Action::Execute);
    EXPECT_TRUE(in.restarted);
}

TEST_F(UcReceiverTest, late_packet_is_dropped) {
    give(Opcode::UcSendOnly, psn(0), 8);
    give(Opcode::UcSendOnly, psn(1), 8);
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(0), 8).reason, DropReason::UcSequence);
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(2), 8).action, Action::Execute);
}

// A network that holds packets for a millisecond at 100 Gb/s holds thousands of them.
TEST_F(UcReceiverTest, duplicate_that_is_thousands_of_packets_late_is_dropped) {
    give(Opcode::UcSendOnly, psn(0), 8);
    give(Opcode::UcSendOnly, psn(kUcLatePackets - 1), 8);
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(0), 8).reason, DropReason::UcSequence);
    EXPECT_GE(kUcLatePackets, 50000U);
}

TEST_F(UcReceiverTest, far_behind_means_a_long_outage_and_is_followed) {
    const uint32_t ahead = (1U << 23) + 5;  // half of all numbers and more were lost
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(ahead), 8).action, Action::Execute);
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(ahead + 1), 8).action, Action::Execute);
}

TEST_F(UcReceiverTest, middle_without_a_first_is_dropped) {
    EXPECT_EQ(give(Opcode::UcSendMiddle, psn(0), kMtu).reason, DropReason::UcOpcodeSequence);
}

TEST_F(UcReceiverTest, write_inside_a_send_is_dropped) {
    give(Opcode::UcSendFirst, psn(0), kMtu);
    EXPECT_EQ(give(Opcode::UcWriteLast, psn(1), 8).reason, DropReason::UcOpcodeSequence);
}

TEST_F(UcReceiverTest, wrong_lengths_are_dropped) {
    uint32_t at = 0;
    EXPECT_EQ(give(Opcode::UcSendFirst, psn(at++), kMtu - 4).reason, DropReason::UcLength);
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(at++), kMtu + 4).reason, DropReason::UcLength);
    EXPECT_EQ(give(Opcode::UcWriteOnly, psn(at++), 8, 9).reason, DropReason::UcLength);
    EXPECT_EQ(give(Opcode::UcWriteFirst, psn(at++), kMtu, kMtu).reason, DropReason::UcLength);
    EXPECT_EQ(give(Opcode::UcWriteFirst, psn(at++), kMtu, 0x80000001).reason, DropReason::UcLength);
    give(Opcode::UcSendFirst, psn(at++), kMtu);
    EXPECT_EQ(give(Opcode::UcSendLast, psn(at++), 0).reason, DropReason::UcLength);
    give(Opcode::UcWriteFirst, psn(at++), kMtu, 3 * kMtu);
    EXPECT_EQ(give(Opcode::UcWriteLast, psn(at++), 8).reason, DropReason::UcLength);
}

TEST_F(UcReceiverTest, refused_message_is_dropped_to_its_end) {
    give(make_packet(Opcode::UcSendFirst, psn(0), kMtu), ExecuteStatus::ReceiverNotReady);
    EXPECT_EQ(give(Opcode::UcSendLast, psn(1), 8).reason, DropReason::MessageDropped);
    EXPECT_EQ(give(Opcode::UcSendOnly, psn(2), 8).action, Action::Execute);
}

TEST_F(UcReceiverTest, packet_of_another_service_is_dropped) {
    EXPECT_EQ(give(Opcode::RcSendOnly, psn(0), 8).reason, DropReason::WrongService);
}

}  // namespace
}  // namespace vrdma::transport
