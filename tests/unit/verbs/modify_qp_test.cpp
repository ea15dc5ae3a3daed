#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

class ModifyQpTest : public ProviderTest {
  protected:
    std::size_t modifications() { return device_.commands(VRDMA_CMD_MODIFY_QP).size(); }
};

TEST_F(ModifyQpTest, attributes_reach_the_device_under_their_mask) {
    ibv_qp* qp = make_qp(IBV_QPS_INIT);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_RTR;
    attr.path_mtu = IBV_MTU_2048;
    attr.dest_qp_num = 0x123456;
    attr.rq_psn = 0x654321;
    attr.max_dest_rd_atomic = 4;
    attr.min_rnr_timer = 12;
    attr.qkey = 99;  // not in the mask
    attr.ah_attr.is_global = 1;
    attr.ah_attr.port_num = 1;
    attr.ah_attr.sl = 5;
    attr.ah_attr.grh.sgid_index = 3;
    attr.ah_attr.grh.hop_limit = 255;
    attr.ah_attr.grh.traffic_class = 0x60;
    attr.ah_attr.grh.flow_label = 0x54321;
    attr.ah_attr.grh.dgid.raw[0] = 0xaa;
    const int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                     IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
    ASSERT_EQ(ibv_modify_qp(qp, &attr, mask), 0);
    const auto request = device_.last(VRDMA_CMD_MODIFY_QP).as<vrdma_cmd_modify_qp>();
    EXPECT_EQ(request.handle, qp->handle);
    EXPECT_EQ(request.mask, static_cast<std::uint32_t>(mask));
    const vrdma_qp_attributes& sent = request.attributes;
    EXPECT_EQ(sent.state, unsigned{VRDMA_QPS_RTR});
    EXPECT_EQ(sent.path_mtu, 4U);
    EXPECT_EQ(sent.dest_qpn, 0x123456U);
    EXPECT_EQ(sent.rq_psn, 0x654321U);
    EXPECT_EQ(sent.max_dest_rd_atomic, 4);
    EXPECT_EQ(sent.min_rnr_timer, 12);
    EXPECT_EQ(sent.qkey, 0U);
    EXPECT_EQ(sent.address.gid[0], 0xaa);
    EXPECT_EQ(sent.address.flow_label, 0x54321U);
    EXPECT_EQ(sent.address.sgid_index, 3);
    EXPECT_EQ(sent.address.hop_limit, 255);
    EXPECT_EQ(sent.address.traffic_class, 0x60);
    EXPECT_EQ(sent.address.sl, 5);
}

TEST_F(ModifyQpTest, transition_that_does_not_exist_is_einval_without_a_command) {
    ibv_qp* qp = make_qp(IBV_QPS_RESET);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_RTS;
    EXPECT_EQ(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN), EINVAL);
    EXPECT_EQ(modifications(), 0U);
}

TEST_F(ModifyQpTest, missing_attribute_is_einval_without_a_command) {
    ibv_qp* qp = make_qp(IBV_QPS_RESET);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_INIT;
    EXPECT_EQ(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PORT), EINVAL);
    EXPECT_EQ(modifications(), 0U);
}

TEST_F(ModifyQpTest, path_without_a_gid_is_einval) {
    ibv_qp* qp = make_qp(IBV_QPS_INIT);
    const std::size_t before = modifications();
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_RTR;
    attr.ah_attr.port_num = 1;
    EXPECT_EQ(ibv_modify_qp(qp, &attr,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
              EINVAL);
    EXPECT_EQ(modifications(), before);
}

TEST_F(ModifyQpTest, what_the_device_does_not_have_is_eopnotsupp) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    ibv_qp_attr attr{};
    for (const int bit : {IBV_QP_ALT_PATH, IBV_QP_PATH_MIG_STATE, IBV_QP_CAP, IBV_QP_RATE_LIMIT}) {
        EXPECT_EQ(ibv_modify_qp(qp, &attr, bit), EOPNOTSUPP);
    }
}

TEST_F(ModifyQpTest, refusal_of_the_device_is_its_errno_and_keeps_the_state) {
    ibv_qp* qp = make_qp(IBV_QPS_INIT);
    device_.refuse_next(VRDMA_CMD_MODIFY_QP, VRDMA_STATUS_INVALID, "no");
    EXPECT_EQ(move_to(qp, IBV_QPS_RTR), EINVAL);
    EXPECT_EQ(qp->state, IBV_QPS_INIT);
}

TEST_F(ModifyQpTest, access_bits_without_an_operation_are_not_sent) {
    ibv_qp* qp = make_qp(IBV_QPS_RESET);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_INIT;
    attr.port_num = 1;
    attr.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_MW_BIND;
    ASSERT_EQ(ibv_modify_qp(qp, &attr,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
              0);
    EXPECT_EQ(device_.last(VRDMA_CMD_MODIFY_QP).as<vrdma_cmd_modify_qp>().attributes.access,
              unsigned{VRDMA_ACCESS_REMOTE_READ});
}

TEST_F(ModifyQpTest, error_that_the_device_reported_is_the_present_state) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    device_.qp_header(qp->handle).in_error = 1;
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_SQD;
    EXPECT_EQ(ibv_modify_qp(qp, &attr, IBV_QP_STATE), EINVAL);
}

TEST_F(ModifyQpTest, named_current_state_is_the_present_state) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_SQD;
    attr.cur_qp_state = IBV_QPS_INIT;
    EXPECT_EQ(ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_CUR_STATE), EINVAL);
}

TEST_F(ModifyQpTest, reset_empties_the_rings_and_discards_completions) {
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    ibv_send_wr wr = send_request(1, IBV_WR_SEND);
    ibv_send_wr* bad = nullptr;
    ibv_recv_wr receive{};
    ibv_recv_wr* bad_receive = nullptr;
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(ibv_post_send(qp, &wr, &bad), 0);
        ASSERT_EQ(ibv_post_recv(qp, &receive, &bad_receive), 0);
    }
    complete_send(qp, 0);
    ASSERT_EQ(move_to(qp, IBV_QPS_RESET), 0);
    EXPECT_TRUE(poll(cq_).empty());
    EXPECT_EQ(device_.qp_header(qp->handle).sq_producer, 0U);
    EXPECT_EQ(device_.qp_header(qp->handle).rq_producer, 0U);
    for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
        ASSERT_EQ(move_to(qp, state), 0);
    }
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(ibv_post_send(qp, &wr, &bad), 0);
        EXPECT_EQ(ibv_post_recv(qp, &receive, &bad_receive), 0);
    }
    EXPECT_EQ(ibv_post_send(qp, &wr, &bad), ENOMEM);
}

TEST_F(ModifyQpTest, query_returns_what_the_device_says) {
    ibv_qp* qp = make_qp(IBV_QPS_RTR);
    ibv_qp_attr attr{};
    ibv_qp_init_attr init{};
    ASSERT_EQ(ibv_query_qp(qp, &attr, IBV_QP_STATE, &init), 0);
    EXPECT_EQ(attr.qp_state, IBV_QPS_RTR);
    EXPECT_EQ(attr.path_mtu, IBV_MTU_1024);
    EXPECT_EQ(attr.ah_attr.is_global, 1);
    EXPECT_EQ(attr.ah_attr.grh.sgid_index, 3);
    EXPECT_EQ(attr.cap.max_send_wr, 4U);
    EXPECT_EQ(init.send_cq, cq_);
    EXPECT_EQ(init.qp_type, IBV_QPT_RC);
    EXPECT_EQ(init.cap.max_send_sge, 2U);
}

}  // namespace
}  // namespace vrdma::verbs
