#include "tests/e2e/verify/completion_check.h"

#include <gtest/gtest.h>

#include <functional>

namespace vrdma::verify {
namespace {

constexpr std::uint32_t kRound = 9;
constexpr std::uint32_t kOwnQpn = 100;
constexpr std::uint32_t kRemoteQpn = 200;

/// One UD QP with its two CQs and one RC QP that receives from an SRQ; this side is A (0).
EpochPlan two_queues() {
    EpochPlan epoch;
    epoch.queues.resize(2);
    epoch.queues[0].type = IBV_QPT_UD;
    epoch.queues[0].sides[0].recv_cq = 1;
    epoch.queues[1].type = IBV_QPT_RC;
    epoch.queues[1].sides[0].shared_receive = true;
    epoch.sides[0].completion_queues = 2;
    return epoch;
}

Operation operation(Opcode opcode, std::uint8_t initiator, std::uint32_t queue,
                    std::uint32_t size) {
    Operation made;
    made.opcode = opcode;
    made.initiator = initiator;
    made.queue = queue;
    made.size = size;
    made.immediate = 0x1234;
    return made;
}

/// Operation 0: own unsignaled SEND, 1: own READ, 2: a SEND_IMM from the other side over UD into
/// receive 0, 3 and 4: messages over RC into the shared receives 1 and 2.
RoundPlan mixed_plan() {
    RoundPlan plan;
    plan.operations = {operation(Opcode::kSend, 0, 1, 10), operation(Opcode::kRead, 0, 1, 20),
                       operation(Opcode::kSendImm, 1, 0, 30), operation(Opcode::kSend, 1, 1, 40),
                       operation(Opcode::kWriteImm, 1, 1, 50)};
    plan.operations[0].signaled = false;
    plan.operations[2].receive = 0;
    plan.receives.resize(3);
    plan.receives[0].operation = 2;
    plan.receives[1].shared = true;
    plan.receives[2].shared = true;
    return plan;
}

ibv_wc read_done() {
    ibv_wc wc{};
    wc.wr_id = send_id(kRound, 1);
    wc.opcode = IBV_WC_RDMA_READ;
    wc.byte_len = 20;
    wc.qp_num = kOwnQpn + 1;
    return wc;
}

ibv_wc datagram_received() {
    ibv_wc wc{};
    wc.wr_id = receive_id(kRound, 0);
    wc.opcode = IBV_WC_RECV;
    wc.byte_len = 30 + kGrhBytes;
    wc.qp_num = kOwnQpn;
    wc.src_qp = kRemoteQpn;
    wc.wc_flags = IBV_WC_GRH | IBV_WC_WITH_IMM;
    wc.imm_data = 0x1234;
    return wc;
}

ibv_wc shared_received(std::uint32_t receive, std::uint32_t bytes, bool write) {
    ibv_wc wc{};
    wc.wr_id = receive_id(kRound, receive);
    wc.opcode = write ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV;
    wc.byte_len = bytes;
    wc.qp_num = kOwnQpn + 1;
    wc.wc_flags = write ? IBV_WC_WITH_IMM : 0;
    wc.imm_data = write ? 0x1234 : 0;
    return wc;
}

class CompletionChecks : public testing::Test {
  protected:
    CompletionChecks() : check_(epoch_, 0, {{kOwnQpn, kOwnQpn + 1}, {kRemoteQpn, kRemoteQpn + 1}}) {
        check_.begin(plan_, kRound);
    }

    const EpochPlan epoch_ = two_queues();
    const RoundPlan plan_ = mixed_plan();
    CompletionCheck check_;
};

TEST_F(CompletionChecks, right_completions_complete_the_round) {
    EXPECT_FALSE(check_.complete());
    EXPECT_TRUE(check_.accept(1, datagram_received()));
    EXPECT_TRUE(check_.accept(0, shared_received(2, 40, false)));
    EXPECT_TRUE(check_.accept(0, read_done()));
    EXPECT_FALSE(check_.complete());
    EXPECT_TRUE(check_.accept(0, shared_received(1, 50, true)));
    EXPECT_TRUE(check_.complete());
    EXPECT_EQ(check_.taker_of(2), 3U);
    EXPECT_EQ(check_.taker_of(1), 4U);
}

TEST_F(CompletionChecks, error_status_is_a_failed_transfer) {
    auto wc = read_done();
    wc.status = IBV_WC_REM_ACCESS_ERR;
    const auto accepted = check_.accept(0, wc);
    ASSERT_FALSE(accepted);
    EXPECT_EQ(accepted.error().kind, verbs_util::ErrorKind::kTransfer);
}

TEST_F(CompletionChecks, completion_of_the_unsignaled_send_is_refused) {
    auto wc = read_done();
    wc.wr_id = send_id(kRound, 0);
    wc.opcode = IBV_WC_SEND;
    EXPECT_FALSE(check_.accept(0, wc));
}

TEST_F(CompletionChecks, second_completion_of_the_same_operation_is_refused) {
    EXPECT_TRUE(check_.accept(0, read_done()));
    const auto again = check_.accept(0, read_done());
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().what.find("nobody asked for"), std::string::npos);
}

TEST_F(CompletionChecks, receive_without_message_is_refused) {
    EXPECT_TRUE(check_.accept(1, datagram_received()));
    const auto again = check_.accept(1, datagram_received());
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().what.find("without a message"), std::string::npos);
}

TEST_F(CompletionChecks, shared_receive_is_taken_once) {
    EXPECT_TRUE(check_.accept(0, shared_received(1, 40, false)));
    const auto again = check_.accept(0, shared_received(1, 50, true));
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().what.find("no free shared receive"), std::string::npos);
}

TEST_F(CompletionChecks, missing_completions_are_named) {
    EXPECT_TRUE(check_.accept(1, datagram_received()));
    const auto text = check_.describe_missing();
    EXPECT_NE(text.find("3 completions missing"), std::string::npos) << text;
    EXPECT_NE(text.find("READ of 20 bytes"), std::string::npos) << text;
}

struct Damage {
    const char* field;
    std::function<void(ibv_wc&, unsigned& cq)> damage;
};

class DamagedSend : public CompletionChecks, public testing::WithParamInterface<Damage> {};

TEST_P(DamagedSend, is_refused_by_its_field) {
    auto wc = read_done();
    unsigned cq = 0;
    GetParam().damage(wc, cq);
    const auto accepted = check_.accept(cq, wc);
    ASSERT_FALSE(accepted);
    EXPECT_EQ(accepted.error().kind, verbs_util::ErrorKind::kVerification);
    EXPECT_NE(accepted.error().what.find(GetParam().field), std::string::npos)
        << accepted.error().what;
}

INSTANTIATE_TEST_SUITE_P(
    Each, DamagedSend,
    testing::Values(Damage{"unknown QP", [](ibv_wc& wc, unsigned&) { wc.qp_num = 1; }},
                    Damage{"CQ is", [](ibv_wc&, unsigned& cq) { cq = 1; }},
                    Damage{"wr_id is", [](ibv_wc& wc, unsigned&) { ++wc.wr_id; }},
                    Damage{"wr_id is",
                           [](ibv_wc& wc, unsigned&) { wc.wr_id = send_id(kRound - 1, 1); }},
                    Damage{"opcode is", [](ibv_wc& wc, unsigned&) { wc.opcode = IBV_WC_SEND; }},
                    Damage{"byte_len is", [](ibv_wc& wc, unsigned&) { wc.byte_len = 19; }}));

class DamagedReceive : public CompletionChecks, public testing::WithParamInterface<Damage> {};

TEST_P(DamagedReceive, is_refused_by_its_field) {
    auto wc = datagram_received();
    unsigned cq = 1;
    GetParam().damage(wc, cq);
    const auto accepted = check_.accept(cq, wc);
    ASSERT_FALSE(accepted);
    EXPECT_NE(accepted.error().what.find(GetParam().field), std::string::npos)
        << accepted.error().what;
}

INSTANTIATE_TEST_SUITE_P(
    Each, DamagedReceive,
    testing::Values(
        Damage{"CQ is", [](ibv_wc&, unsigned& cq) { cq = 0; }},
        Damage{"wr_id is", [](ibv_wc& wc, unsigned&) { wc.wr_id = receive_id(kRound, 1); }},
        Damage{"opcode is", [](ibv_wc& wc, unsigned&) { wc.opcode = IBV_WC_RECV_RDMA_WITH_IMM; }},
        Damage{"byte_len is", [](ibv_wc& wc, unsigned&) { wc.byte_len = 30; }},
        Damage{"IBV_WC_WITH_IMM is", [](ibv_wc& wc, unsigned&) { wc.wc_flags = IBV_WC_GRH; }},
        Damage{"imm_data is", [](ibv_wc& wc, unsigned&) { wc.imm_data = 1; }},
        Damage{"IBV_WC_GRH is", [](ibv_wc& wc, unsigned&) { wc.wc_flags = IBV_WC_WITH_IMM; }},
        Damage{"src_qp is", [](ibv_wc& wc, unsigned&) { wc.src_qp = kRemoteQpn + 1; }}));

}  // namespace
}  // namespace vrdma::verify
