#include "verbs/dead_device.h"

#include <cerrno>
#include <thread>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/cq.h"

namespace vrdma::verbs {
namespace {

class DeadDeviceTest : public ProviderTest {
  protected:
    void post_send(ibv_qp* qp, std::uint64_t wr_id, ibv_wr_opcode opcode, unsigned flags) {
        ibv_send_wr wr = send_request(wr_id, opcode, nullptr, 0, flags);
        ibv_send_wr* bad = nullptr;
        ASSERT_EQ(ibv_post_send(qp, &wr, &bad), 0);
    }
    void post_receive(ibv_qp* qp, std::uint64_t wr_id) {
        ibv_recv_wr wr{};
        wr.wr_id = wr_id;
        ibv_recv_wr* bad = nullptr;
        ASSERT_EQ(ibv_post_recv(qp, &wr, &bad), 0);
    }
    // The fixture asks the device what to destroy; a dead one cannot tell.
    void TearDown() override {
        for (ibv_qp* qp : qps_) {
            EXPECT_EQ(ibv_destroy_qp(qp), 0);
        }
        for (ibv_cq* cq : cqs_) {
            EXPECT_EQ(ibv_destroy_cq(cq), 0);
        }
        if (pd_ != nullptr) {
            EXPECT_EQ(ibv_dealloc_pd(pd_), 0);
        }
        ProviderTest::TearDown();
    }
    ibv_qp* ready_qp() {
        qps_.push_back(make_qp(IBV_QPS_RTS));
        return qps_.back();
    }
    void use_cq_with_channel() {
        channel_ = ibv_create_comp_channel(context_);
        ASSERT_NE(channel_, nullptr);
        use_cq(make_cq(16, channel_));
    }
    void use_cq(ibv_cq* cq) {
        ASSERT_EQ(ibv_destroy_cq(cq_), 0);
        cq_ = cq;
        cqs_ = {cq};
    }
    void SetUp() override {
        ProviderTest::SetUp();
        cqs_ = {cq_};
    }
    std::vector<ibv_qp*> qps_;
    std::vector<ibv_cq*> cqs_;

    void die() {
        device_.hang_up();
        while (!Context::of(context_).dead()) {
            std::this_thread::yield();
        }
    }
};

TEST_F(DeadDeviceTest, program_is_told_once) {
    die();
    ibv_async_event event{};
    ASSERT_EQ(ibv_get_async_event(context_, &event), 0);
    EXPECT_EQ(event.event_type, IBV_EVENT_DEVICE_FATAL);
    ibv_ack_async_event(&event);
    Context::of(context_).device_lost();
    ibv_qp_init_attr attr{};
    EXPECT_EQ(ibv_create_qp(pd_, &attr), nullptr);
}

TEST_F(DeadDeviceTest, outstanding_requests_are_flushed_in_order_once) {
    ibv_qp* qp = ready_qp();
    post_send(qp, 1, IBV_WR_RDMA_READ, 0);
    post_send(qp, 2, IBV_WR_SEND, IBV_SEND_SIGNALED);
    post_receive(qp, 3);
    die();
    const auto found = poll(cq_);
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[0].wr_id, 1U);
    EXPECT_EQ(found[0].opcode, IBV_WC_RDMA_READ);
    EXPECT_EQ(found[1].wr_id, 2U);
    EXPECT_EQ(found[2].wr_id, 3U);
    EXPECT_EQ(found[2].opcode, IBV_WC_RECV);
    for (const ibv_wc& wc : found) {
        EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
        EXPECT_EQ(wc.vendor_err, unsigned{VRDMA_REASON_DEVICE_FATAL});
        EXPECT_EQ(wc.qp_num, qp->qp_num);
    }
    EXPECT_TRUE(poll(cq_).empty());
}

TEST_F(DeadDeviceTest, completions_that_were_written_come_first) {
    ibv_qp* qp = ready_qp();
    post_send(qp, 1, IBV_WR_SEND, IBV_SEND_SIGNALED);
    post_send(qp, 2, IBV_WR_SEND, IBV_SEND_SIGNALED);
    complete_send(qp, 0, 1);
    die();
    const auto first = poll(cq_);
    ASSERT_EQ(first.size(), 1U);
    EXPECT_EQ(first[0].status, IBV_WC_SUCCESS);
    const auto second = poll(cq_);
    ASSERT_EQ(second.size(), 1U);
    EXPECT_EQ(second[0].wr_id, 2U);
    EXPECT_EQ(second[0].status, IBV_WC_WR_FLUSH_ERR);
}

TEST_F(DeadDeviceTest, requests_posted_afterwards_are_flushed) {
    ibv_qp* qp = ready_qp();
    die();
    post_send(qp, 1, IBV_WR_SEND, 0);
    EXPECT_EQ(poll(cq_).size(), 1U);
}

TEST_F(DeadDeviceTest, extended_polling_flushes_too) {
    ibv_cq_ex* cq = make_cq_ex({});
    ASSERT_NE(cq, nullptr);
    use_cq(ibv_cq_ex_to_cq(cq));
    ibv_qp* qp = ready_qp();
    post_receive(qp, 7);
    post_receive(qp, 8);
    die();
    ibv_poll_cq_attr attr{};
    ASSERT_EQ(ibv_start_poll(cq, &attr), 0);
    EXPECT_EQ(cq->wr_id, 7U);
    EXPECT_EQ(cq->status, IBV_WC_WR_FLUSH_ERR);
    ASSERT_EQ(ibv_next_poll(cq), 0);
    EXPECT_EQ(cq->wr_id, 8U);
    EXPECT_EQ(ibv_next_poll(cq), ENOENT);
    ibv_end_poll(cq);
    EXPECT_EQ(ibv_start_poll(cq, &attr), ENOENT);
}

TEST_F(DeadDeviceTest, sleeper_on_a_channel_is_woken) {
    use_cq_with_channel();
    ibv_qp* qp = ready_qp();
    post_receive(qp, 1);
    ibv_req_notify_cq(cq_, 0);
    die();
    ibv_cq* cq = nullptr;
    void* cq_context = nullptr;
    ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &cq_context), 0);
    EXPECT_EQ(cq, cq_);
    ibv_ack_cq_events(cq, 1);
    EXPECT_EQ(poll(cq_).size(), 1U);
}

TEST_F(DeadDeviceTest, arming_with_requests_outstanding_wakes_at_once) {
    use_cq_with_channel();
    ibv_qp* qp = ready_qp();
    die();
    ibv_cq* cq = nullptr;
    void* cq_context = nullptr;
    ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &cq_context), 0);  // the device's death
    post_receive(qp, 1);
    ibv_req_notify_cq(cq_, 0);
    ASSERT_EQ(ibv_get_cq_event(channel_, &cq, &cq_context), 0);
    ibv_ack_cq_events(cq, 2);
}

TEST_F(DeadDeviceTest, everything_can_be_destroyed) {
    ibv_qp* qp = ready_qp();
    ibv_srq_init_attr attr{};
    attr.attr.max_wr = 4;
    attr.attr.max_sge = 1;
    ibv_srq* srq = ibv_create_srq(pd_, &attr);
    ibv_mr* mr = ibv_reg_mr(pd_, this, 0, IBV_ACCESS_LOCAL_WRITE);
    die();
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
    EXPECT_EQ(ibv_destroy_srq(srq), 0);
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
    EXPECT_EQ(ibv_dealloc_pd(pd_), 0);
    EXPECT_EQ(ibv_alloc_pd(context_), nullptr);
    EXPECT_EQ(errno, EIO);
    qps_.clear();
    cqs_.clear();
    pd_ = nullptr;
}

}  // namespace
}  // namespace vrdma::verbs
