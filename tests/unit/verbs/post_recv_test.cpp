#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

const vrdma_sge* sges_of(const vrdma_recv_wqe& wqe) {
    return reinterpret_cast<const vrdma_sge*>(&wqe + 1);
}

class PostRecvTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        qp_ = make_qp(IBV_QPS_INIT, {.recv_wr = 4, .sge = 3});
    }
    int post(ibv_recv_wr& wr) { return ibv_post_recv(qp_, &wr, &bad_); }

    ibv_qp* qp_ = nullptr;
    ibv_recv_wr* bad_ = nullptr;
};

TEST_F(PostRecvTest, request_becomes_an_entry) {
    ibv_sge sges[2] = {{.addr = 0x1000, .length = 100, .lkey = 7},
                       {.addr = 0x2000, .length = 200, .lkey = 8}};
    ibv_recv_wr wr{.wr_id = 42, .next = nullptr, .sg_list = sges, .num_sge = 2};
    ASSERT_EQ(post(wr), 0);
    const vrdma_recv_wqe& wqe = device_.recv_wqe(qp_->handle, 0);
    EXPECT_EQ(wqe.wr_id, 42U);
    EXPECT_EQ(wqe.sge_count, 2);
    EXPECT_EQ(sges_of(wqe)[1].address, 0x2000U);
    EXPECT_EQ(sges_of(wqe)[1].length, 200U);
    EXPECT_EQ(sges_of(wqe)[1].lkey, 8U);
    EXPECT_EQ(device_.qp_header(qp_->handle).rq_producer, 1U);
}

TEST_F(PostRecvTest, empty_sges_are_left_out) {
    ibv_sge sges[2] = {{.addr = 0x1000, .length = 0, .lkey = 7},
                       {.addr = 0x2000, .length = 200, .lkey = 8}};
    ibv_recv_wr wr{.wr_id = 1, .next = nullptr, .sg_list = sges, .num_sge = 2};
    ASSERT_EQ(post(wr), 0);
    const vrdma_recv_wqe& wqe = device_.recv_wqe(qp_->handle, 0);
    EXPECT_EQ(wqe.sge_count, 1);
    EXPECT_EQ(sges_of(wqe)[0].lkey, 8U);
}

TEST_F(PostRecvTest, request_without_memory_is_posted) {
    ibv_recv_wr wr{.wr_id = 1, .next = nullptr, .sg_list = nullptr, .num_sge = 0};
    EXPECT_EQ(post(wr), 0);
    EXPECT_EQ(device_.recv_wqe(qp_->handle, 0).sge_count, 0);
}

TEST_F(PostRecvTest, too_many_sges_are_einval_and_what_came_before_is_posted) {
    ibv_sge sges[4] = {};
    ibv_recv_wr second{.wr_id = 2, .next = nullptr, .sg_list = sges, .num_sge = 4};
    ibv_recv_wr first{.wr_id = 1, .next = &second, .sg_list = nullptr, .num_sge = 0};
    EXPECT_EQ(post(first), EINVAL);
    EXPECT_EQ(bad_, &second);
    EXPECT_EQ(device_.qp_header(qp_->handle).rq_producer, 1U);
}

TEST_F(PostRecvTest, negative_sge_count_is_einval) {
    ibv_recv_wr wr{.wr_id = 1, .next = nullptr, .sg_list = nullptr, .num_sge = -1};
    EXPECT_EQ(post(wr), EINVAL);
}

TEST_F(PostRecvTest, full_queue_is_enomem) {
    ibv_recv_wr wr{};
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(post(wr), 0);
    }
    EXPECT_EQ(post(wr), ENOMEM);
    EXPECT_EQ(bad_, &wr);
}

TEST_F(PostRecvTest, queue_pair_in_reset_is_einval) {
    qp_ = make_qp(IBV_QPS_RESET);
    ibv_recv_wr wr{};
    EXPECT_EQ(post(wr), EINVAL);
    EXPECT_EQ(bad_, &wr);
}

TEST_F(PostRecvTest, queue_pair_with_an_srq_has_no_queue) {
    ibv_srq_init_attr attr{};
    attr.attr = {.max_wr = 4, .max_sge = 1, .srq_limit = 0};
    qp_ = make_qp(IBV_QPS_INIT, {.srq = ibv_create_srq(pd_, &attr)});
    ibv_recv_wr wr{};
    EXPECT_EQ(post(wr), ENOMEM);
}

TEST_F(PostRecvTest, doorbell_is_rung_only_in_the_error_state) {
    ibv_recv_wr wr{};
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(device_.doorbell().leaf[0], 0U);
    device_.qp_header(qp_->handle).in_error = 1;
    ASSERT_EQ(post(wr), 0);
    EXPECT_NE(device_.doorbell().leaf[0], 0U);
}

}  // namespace
}  // namespace vrdma::verbs
