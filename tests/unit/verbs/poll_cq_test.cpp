#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/cq.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

class PollCqTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        qp_ = make_qp(IBV_QPS_RTS);
    }
    int post_write() {
        ibv_send_wr wr = send_request(1, IBV_WR_RDMA_WRITE);
        ibv_send_wr* bad = nullptr;
        return ibv_post_send(qp_, &wr, &bad);
    }
    int post_receive() {
        ibv_recv_wr wr{};
        ibv_recv_wr* bad = nullptr;
        return ibv_post_recv(qp_, &wr, &bad);
    }
    ibv_qp* qp_ = nullptr;
};

TEST_F(PollCqTest, empty_queue_gives_nothing) {
    EXPECT_TRUE(poll(cq_).empty());
}

TEST_F(PollCqTest, completion_is_translated) {
    vrdma_cqe cqe{};
    cqe.wr_id = 0x1122334455667788U;
    cqe.byte_len = 99;
    cqe.imm_data = 0xdeadbeef;
    cqe.qpn = qp_->qp_num;
    cqe.src_qpn_or_index = 0x654321;
    cqe.opcode = VRDMA_WC_RECV_RDMA_WITH_IMM;
    cqe.flags = VRDMA_CQE_WITH_IMM | VRDMA_CQE_GRH;
    device_.complete(cq_->handle, cqe);
    const auto found = poll(cq_);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].wr_id, 0x1122334455667788U);
    EXPECT_EQ(found[0].status, IBV_WC_SUCCESS);
    EXPECT_EQ(found[0].opcode, IBV_WC_RECV_RDMA_WITH_IMM);
    EXPECT_EQ(found[0].byte_len, 99U);
    EXPECT_EQ(found[0].imm_data, 0xdeadbeefU);
    EXPECT_EQ(found[0].qp_num, qp_->qp_num);
    EXPECT_EQ(found[0].src_qp, 0x654321U);
    EXPECT_EQ(found[0].wc_flags, unsigned{IBV_WC_WITH_IMM | IBV_WC_GRH});
}

// Where UCX looks for it (docs/device.md).
TEST_F(PollCqTest, service_level_of_a_datagram_is_the_kind_of_its_ip_header) {
    vrdma_cqe cqe{};
    cqe.qpn = qp_->qp_num;
    cqe.opcode = VRDMA_WC_RECV;
    for (const unsigned flags : {0U, 0U + VRDMA_CQE_GRH, 0U + (VRDMA_CQE_GRH | VRDMA_CQE_IPV4)}) {
        cqe.flags = static_cast<std::uint8_t>(flags);
        device_.complete(cq_->handle, cqe);
    }
    const auto found = poll(cq_);
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[0].sl, 0);
    EXPECT_EQ(found[1].sl, 1);
    EXPECT_EQ(found[2].sl, 2);
}

TEST_F(PollCqTest, failed_completion_carries_status_and_reason) {
    vrdma_cqe cqe{};
    cqe.qpn = qp_->qp_num;
    cqe.opcode = VRDMA_WC_RDMA_WRITE;
    cqe.status = VRDMA_WC_REM_ACCESS_ERR;
    cqe.vendor_err = VRDMA_REASON_RKEY_RANGE;
    device_.complete(cq_->handle, cqe);
    const auto found = poll(cq_);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].status, IBV_WC_REM_ACCESS_ERR);
    EXPECT_EQ(found[0].vendor_err, unsigned{VRDMA_REASON_RKEY_RANGE});
}

TEST_F(PollCqTest, send_completion_does_not_show_its_index_as_a_source) {
    complete_send(qp_, 77);
    EXPECT_EQ(poll(cq_)[0].src_qp, 0U);
}

TEST_F(PollCqTest, poll_takes_no_more_than_asked_and_publishes_the_consumer) {
    for (std::uint32_t i = 0; i < 5; ++i) {
        complete_send(qp_, i, i);
    }
    EXPECT_EQ(poll(cq_, 3).size(), 3U);
    EXPECT_EQ(device_.cq_header(cq_->handle).consumer, 3U);
    EXPECT_EQ(poll(cq_, 3).size(), 2U);
    EXPECT_EQ(device_.cq_header(cq_->handle).consumer, 5U);
}

TEST_F(PollCqTest, ring_goes_around_many_times) {
    for (std::uint32_t i = 0; i < 100; ++i) {
        complete_send(qp_, i, i);
        const auto found = poll(cq_);
        ASSERT_EQ(found.size(), 1U);
        ASSERT_EQ(found[0].wr_id, i);
    }
}

TEST_F(PollCqTest, send_completion_frees_every_slot_up_to_its_index) {
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(post_write(), 0);
    }
    EXPECT_EQ(post_write(), ENOMEM);
    complete_send(qp_, 2);  // 0 and 1 were not signaled
    EXPECT_EQ(post_write(), ENOMEM) << "a completion frees slots when it is polled";
    EXPECT_EQ(poll(cq_).size(), 1U);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(post_write(), 0);
    }
    EXPECT_EQ(post_write(), ENOMEM);
}

TEST_F(PollCqTest, receive_completion_frees_one_slot) {
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(post_receive(), 0);
    }
    EXPECT_EQ(post_receive(), ENOMEM);
    complete_receive(qp_);
    EXPECT_EQ(poll(cq_).size(), 1U);
    EXPECT_EQ(post_receive(), 0);
    EXPECT_EQ(post_receive(), ENOMEM);
}

TEST_F(PollCqTest, receive_from_an_srq_frees_no_slot_of_the_queue_pair) {
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(post_receive(), 0);
    }
    complete_receive(qp_, 0, VRDMA_CQE_SRQ);
    EXPECT_EQ(poll(cq_).size(), 1U);
    EXPECT_EQ(post_receive(), ENOMEM);
}

TEST_F(PollCqTest, completions_of_several_queue_pairs_free_their_own_slots) {
    ibv_qp* other = make_qp(IBV_QPS_RTS);
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(post_write(), 0);
    }
    complete_send(other, 9);
    complete_send(qp_, 0);
    complete_send(other, 10);
    EXPECT_EQ(poll(cq_).size(), 3U);
    EXPECT_EQ(post_write(), 0);
    EXPECT_EQ(post_write(), ENOMEM);
}

TEST_F(PollCqTest, completion_of_an_unknown_queue_pair_is_still_delivered) {
    vrdma_cqe cqe{};
    cqe.qpn = 0xabcdef;
    cqe.wr_id = 5;
    device_.complete(cq_->handle, cqe);
    EXPECT_EQ(poll(cq_)[0].wr_id, 5U);
}

TEST_F(PollCqTest, destroyed_queue_pair_takes_its_completions_along) {
    ibv_qp* other = make_qp(IBV_QPS_RTS);
    complete_send(qp_, 0, 1);
    complete_send(other, 0, 2);
    complete_receive(qp_, 3);
    complete_send(other, 1, 4);
    complete_send(qp_, 1, 5);
    EXPECT_EQ(ibv_destroy_qp(qp_), 0);
    const auto found = poll(cq_);
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].wr_id, 2U);
    EXPECT_EQ(found[1].wr_id, 4U);
    complete_send(other, 2, 6);
    EXPECT_EQ(poll(cq_)[0].wr_id, 6U);
}

TEST_F(PollCqTest, destroyed_queue_pair_cleans_a_full_ring) {
    for (std::uint32_t i = 0; i < 16; ++i) {
        complete_send(qp_, i, i);
    }
    EXPECT_EQ(ibv_destroy_qp(qp_), 0);
    EXPECT_TRUE(poll(cq_).empty());
    EXPECT_EQ(device_.cq_header(cq_->handle).consumer, 16U);
}

class ExtendedPollTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        ibv_cq_init_attr_ex attr{};
        attr.wc_flags = IBV_WC_STANDARD_FLAGS;
        cq_ex_ = make_cq_ex(attr);
        ASSERT_NE(cq_ex_, nullptr);
        cq_ = ibv_cq_ex_to_cq(cq_ex_);
        qp_ = make_qp(IBV_QPS_RTS);
    }
    ibv_poll_cq_attr attr_{};
    ibv_cq_ex* cq_ex_ = nullptr;
    ibv_qp* qp_ = nullptr;
};

TEST_F(ExtendedPollTest, start_on_an_empty_queue_is_enoent) {
    EXPECT_EQ(ibv_start_poll(cq_ex_, &attr_), ENOENT);
    EXPECT_EQ(ibv_start_poll(cq_ex_, &attr_), ENOENT) << "the lock was not kept";
}

TEST_F(ExtendedPollTest, start_with_an_unknown_mask_is_einval) {
    attr_.comp_mask = 1;
    EXPECT_EQ(ibv_start_poll(cq_ex_, &attr_), EINVAL);
}

TEST_F(ExtendedPollTest, completions_are_read_one_by_one) {
    vrdma_cqe cqe{};
    cqe.wr_id = 1;
    cqe.qpn = qp_->qp_num;
    cqe.byte_len = 10;
    cqe.imm_data = 20;
    cqe.src_qpn_or_index = 30;
    cqe.opcode = VRDMA_WC_RECV;
    cqe.flags = VRDMA_CQE_WITH_IMM | VRDMA_CQE_GRH | VRDMA_CQE_IPV4;
    device_.complete(cq_->handle, cqe);
    cqe.wr_id = 2;
    cqe.status = VRDMA_WC_WR_FLUSH_ERR;
    cqe.vendor_err = VRDMA_REASON_FLUSHED;
    device_.complete(cq_->handle, cqe);
    ASSERT_EQ(ibv_start_poll(cq_ex_, &attr_), 0);
    EXPECT_EQ(cq_ex_->wr_id, 1U);
    EXPECT_EQ(cq_ex_->status, IBV_WC_SUCCESS);
    EXPECT_EQ(ibv_wc_read_opcode(cq_ex_), IBV_WC_RECV);
    EXPECT_EQ(ibv_wc_read_byte_len(cq_ex_), 10U);
    EXPECT_EQ(ibv_wc_read_imm_data(cq_ex_), 20U);
    EXPECT_EQ(ibv_wc_read_src_qp(cq_ex_), 30U);
    EXPECT_EQ(ibv_wc_read_qp_num(cq_ex_), qp_->qp_num);
    EXPECT_EQ(ibv_wc_read_wc_flags(cq_ex_), unsigned{IBV_WC_WITH_IMM | IBV_WC_GRH});
    EXPECT_EQ(ibv_wc_read_slid(cq_ex_), 0U);
    EXPECT_EQ(ibv_wc_read_sl(cq_ex_), 2U);
    EXPECT_EQ(ibv_wc_read_dlid_path_bits(cq_ex_), 0U);
    ASSERT_EQ(ibv_next_poll(cq_ex_), 0);
    EXPECT_EQ(cq_ex_->wr_id, 2U);
    EXPECT_EQ(cq_ex_->status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(ibv_wc_read_vendor_err(cq_ex_), unsigned{VRDMA_REASON_FLUSHED});
    EXPECT_EQ(ibv_next_poll(cq_ex_), ENOENT);
    EXPECT_EQ(device_.cq_header(cq_->handle).consumer, 0U);
    ibv_end_poll(cq_ex_);
    EXPECT_EQ(device_.cq_header(cq_->handle).consumer, 2U);
}

TEST_F(ExtendedPollTest, end_retires_the_current_completion) {
    complete_send(qp_, 0, 1);
    complete_send(qp_, 1, 2);
    ASSERT_EQ(ibv_start_poll(cq_ex_, &attr_), 0);
    ibv_end_poll(cq_ex_);
    const auto rest = poll(cq_);
    ASSERT_EQ(rest.size(), 1U);
    EXPECT_EQ(rest[0].wr_id, 2U);
}

TEST_F(ExtendedPollTest, completions_free_slots) {
    ibv_send_wr wr = send_request(1, IBV_WR_RDMA_WRITE);
    ibv_send_wr* bad = nullptr;
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(ibv_post_send(qp_, &wr, &bad), 0);
    }
    complete_send(qp_, 3);
    ASSERT_EQ(ibv_start_poll(cq_ex_, &attr_), 0);
    ibv_end_poll(cq_ex_);
    EXPECT_EQ(ibv_post_send(qp_, &wr, &bad), 0);
}

}  // namespace
}  // namespace vrdma::verbs
