#include "verbs/qp.h"

#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class QpTest : public ProviderTest {
  protected:
    QpTest() {
        attr_.qp_type = IBV_QPT_RC;
        attr_.cap = {.max_send_wr = 10,
                     .max_recv_wr = 20,
                     .max_send_sge = 1,
                     .max_recv_sge = 1,
                     .max_inline_data = 0};
    }
    void SetUp() override {
        ProviderTest::SetUp();
        attr_.send_cq = cq_;
        attr_.recv_cq = cq_;
    }
    int refused() {
        errno = 0;
        return ibv_create_qp(pd_, &attr_) == nullptr ? errno : 0;
    }
    ibv_qp_init_attr attr_{};
};

TEST_F(QpTest, create_fills_the_public_object) {
    int something = 0;
    attr_.qp_context = &something;
    ibv_qp* qp = ibv_create_qp(pd_, &attr_);
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(qp->context, context_);
    EXPECT_EQ(qp->qp_context, &something);
    EXPECT_EQ(qp->pd, pd_);
    EXPECT_EQ(qp->send_cq, cq_);
    EXPECT_EQ(qp->recv_cq, cq_);
    EXPECT_EQ(qp->srq, nullptr);
    EXPECT_EQ(qp->state, IBV_QPS_RESET);
    EXPECT_EQ(qp->qp_type, IBV_QPT_RC);
    EXPECT_NE(qp->qp_num, 0U);
    EXPECT_EQ(ibv_qp_to_qp_ex(qp), nullptr);
}

TEST_F(QpTest, create_tells_what_the_rings_hold) {
    ibv_qp* qp = ibv_create_qp(pd_, &attr_);
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(attr_.cap.max_send_wr, 16U);
    EXPECT_EQ(attr_.cap.max_recv_wr, 32U);
    EXPECT_EQ(attr_.cap.max_send_sge, 2U);
    EXPECT_EQ(attr_.cap.max_recv_sge, 1U);
    EXPECT_EQ(attr_.cap.max_inline_data, 32U);
    const auto request = device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>();
    EXPECT_EQ(request.sq_entries, 16U);
    EXPECT_EQ(request.rq_entries, 32U);
    EXPECT_EQ(request.max_send_sge, 2U);
    EXPECT_EQ(request.max_inline, 32U);
    EXPECT_EQ(request.cookie, reinterpret_cast<std::uintptr_t>(qp));
    EXPECT_EQ(request.flags, 0U);
}

TEST_F(QpTest, create_with_256_bytes_inline_works) {
    attr_.cap.max_inline_data = 256;
    ASSERT_NE(ibv_create_qp(pd_, &attr_), nullptr);
    EXPECT_GE(attr_.cap.max_inline_data, 256U);
}

TEST_F(QpTest, create_with_the_device_maxima_works_and_is_not_exceeded) {
    attr_.cap = {.max_send_wr = 4096,
                 .max_recv_wr = 4096,
                 .max_send_sge = 16,
                 .max_recv_sge = 16,
                 .max_inline_data = 512};
    ASSERT_NE(ibv_create_qp(pd_, &attr_), nullptr);
    EXPECT_EQ(attr_.cap.max_send_sge, 16U);
    EXPECT_EQ(attr_.cap.max_recv_sge, 16U);
    EXPECT_EQ(attr_.cap.max_inline_data, 512U);
}

TEST_F(QpTest, create_with_signal_all_says_so) {
    attr_.sq_sig_all = 1;
    ASSERT_NE(ibv_create_qp(pd_, &attr_), nullptr);
    EXPECT_EQ(device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>().flags,
              unsigned{VRDMA_QP_SIGNAL_ALL});
}

TEST_F(QpTest, create_with_an_srq_has_no_receive_ring) {
    ibv_srq_init_attr srq_attr{};
    srq_attr.attr = {.max_wr = 4, .max_sge = 1, .srq_limit = 0};
    attr_.srq = ibv_create_srq(pd_, &srq_attr);
    attr_.cap.max_recv_wr = 1000000;  // does not count
    ASSERT_NE(ibv_create_qp(pd_, &attr_), nullptr);
    EXPECT_EQ(attr_.cap.max_recv_wr, 0U);
    const auto request = device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>();
    EXPECT_EQ(request.rq_entries, 0U);
    EXPECT_EQ(request.srq, attr_.srq->handle);
}

TEST_F(QpTest, create_of_another_type_is_eopnotsupp) {
    for (const ibv_qp_type type : {IBV_QPT_RAW_PACKET, IBV_QPT_XRC_SEND, IBV_QPT_DRIVER}) {
        attr_.qp_type = type;
        EXPECT_EQ(refused(), EOPNOTSUPP);
    }
}

TEST_F(QpTest, create_without_a_cq_is_einval) {
    attr_.recv_cq = nullptr;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(QpTest, create_with_too_many_sends_is_einval) {
    attr_.cap.max_send_wr = 4097;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(QpTest, create_with_too_many_receives_is_einval) {
    attr_.cap.max_recv_wr = 4097;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(QpTest, create_with_too_many_send_sges_is_einval) {
    attr_.cap.max_send_sge = 17;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(QpTest, create_with_too_many_receive_sges_is_einval) {
    attr_.cap.max_recv_sge = 17;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(QpTest, create_with_too_much_inline_is_einval) {
    attr_.cap.max_inline_data = 513;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(QpTest, create_that_the_device_refuses_leaves_nothing_behind) {
    device_.refuse_next(VRDMA_CMD_CREATE_QP, VRDMA_STATUS_NO_RESOURCE, "quota max_qps is used up");
    EXPECT_EQ(refused(), ENOMEM);
    EXPECT_EQ(ibv_destroy_cq(cq_), 0);
}

TEST_F(QpTest, destroy_frees_the_number) {
    ibv_qp* qp = ibv_create_qp(pd_, &attr_);
    const std::uint32_t qpn = qp->qp_num;
    EXPECT_NE(Context::of(context_).qp_table.find(qpn), nullptr);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
    EXPECT_EQ(Context::of(context_).qp_table.find(qpn), nullptr);
    EXPECT_EQ(Context::of(context_).qp_list, nullptr);
}

TEST_F(QpTest, destroy_that_is_refused_keeps_the_queue_pair) {
    ibv_qp* qp = ibv_create_qp(pd_, &attr_);
    device_.refuse_next(VRDMA_CMD_DESTROY_QP, VRDMA_STATUS_BUSY, "busy");
    EXPECT_EQ(ibv_destroy_qp(qp), EBUSY);
    EXPECT_NE(Context::of(context_).qp_table.find(qp->qp_num), nullptr);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

TEST_F(QpTest, data_is_in_order) {
    ibv_qp* qp = ibv_create_qp(pd_, &attr_);
    EXPECT_EQ(ibv_query_qp_data_in_order(qp, IBV_WR_RDMA_WRITE, 0), 1);
    EXPECT_EQ(query_qp_data_in_order(qp, IBV_WR_RDMA_WRITE, 1), 3);
}

class CreateQpExTest : public QpTest {
  protected:
    void SetUp() override {
        QpTest::SetUp();
        attr_ex_.send_cq = cq_;
        attr_ex_.recv_cq = cq_;
        attr_ex_.qp_type = IBV_QPT_RC;
        attr_ex_.pd = pd_;
        attr_ex_.cap = attr_.cap;
        attr_ex_.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
        attr_ex_.send_ops_flags = IBV_QP_EX_WITH_SEND;
    }
    int refused_ex() {
        errno = 0;
        return create_qp_ex(context_, &attr_ex_) == nullptr ? errno : 0;
    }
    ibv_qp_init_attr_ex attr_ex_{};
};

TEST_F(CreateQpExTest, create_with_send_ops_is_extended) {
    ibv_qp* qp = create_qp_ex(context_, &attr_ex_);
    ASSERT_NE(qp, nullptr);
    EXPECT_NE(ibv_qp_to_qp_ex(qp), nullptr);
    EXPECT_EQ(attr_ex_.cap.max_send_wr, 16U);
}

TEST_F(CreateQpExTest, create_with_an_operation_the_device_lacks_is_eopnotsupp) {
    attr_ex_.send_ops_flags |= IBV_QP_EX_WITH_TSO;
    EXPECT_EQ(refused_ex(), EOPNOTSUPP);
}

TEST_F(CreateQpExTest, create_with_an_operation_the_type_lacks_is_eopnotsupp) {
    attr_ex_.qp_type = IBV_QPT_UD;
    attr_ex_.send_ops_flags |= IBV_QP_EX_WITH_RDMA_WRITE;
    EXPECT_EQ(refused_ex(), EOPNOTSUPP);
}

TEST_F(CreateQpExTest, create_with_an_unknown_comp_mask_is_eopnotsupp) {
    attr_ex_.comp_mask |= IBV_QP_INIT_ATTR_MAX_TSO_HEADER;
    EXPECT_EQ(refused_ex(), EOPNOTSUPP);
}

TEST_F(CreateQpExTest, create_with_create_flags_is_eopnotsupp) {
    attr_ex_.comp_mask |= IBV_QP_INIT_ATTR_CREATE_FLAGS;
    attr_ex_.create_flags = IBV_QP_CREATE_BLOCK_SELF_MCAST_LB;
    EXPECT_EQ(refused_ex(), EOPNOTSUPP);
}

TEST_F(CreateQpExTest, create_without_a_pd_is_einval) {
    attr_ex_.comp_mask = IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    EXPECT_EQ(refused_ex(), EINVAL);
}

}  // namespace
}  // namespace vrdma::verbs
