#include <cerrno>
#include <cstring>

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

class SendBuilderTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        use(IBV_QPT_RC, IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM |
                            IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM |
                            IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
                            IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD);
    }
    void use(ibv_qp_type type, std::uint64_t operations) {
        ibv_qp_init_attr_ex attr{};
        attr.send_cq = cq_;
        attr.recv_cq = cq_;
        attr.qp_type = type;
        attr.pd = pd_;
        attr.cap = {.max_send_wr = 4,
                    .max_recv_wr = 4,
                    .max_send_sge = 2,
                    .max_recv_sge = 1,
                    .max_inline_data = 32};
        attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
        attr.send_ops_flags = operations;
        qp_ = create_qp_ex(context_, &attr);
        ASSERT_NE(qp_, nullptr);
        ex_ = ibv_qp_to_qp_ex(qp_);
        for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
            ASSERT_EQ(move_to(qp_, state), 0);
        }
    }
    const vrdma_send_wqe& entry(std::uint32_t index = 0) {
        return device_.send_wqe(qp_->handle, index);
    }
    std::uint32_t producer() { return device_.qp_header(qp_->handle).sq_producer; }
    void begin(std::uint64_t wr_id, unsigned flags = IBV_SEND_SIGNALED) {
        ex_->wr_id = wr_id;
        ex_->wr_flags = flags;
    }

    ibv_qp* qp_ = nullptr;
    ibv_qp_ex* ex_ = nullptr;
};

TEST_F(SendBuilderTest, batch_is_published_at_its_end) {
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_rdma_write(ex_, 7, 0x99);
    ibv_wr_set_sge(ex_, 5, 0x1000, 64);
    begin(2, IBV_SEND_FENCE);
    ibv_wr_send_imm(ex_, 0xabc);
    char data[] = "inline";
    ibv_wr_set_inline_data(ex_, data, sizeof data);
    begin(3);
    ibv_wr_rdma_read(ex_, 8, 0x88);
    ibv_sge sges[2] = {{.addr = 1, .length = 2, .lkey = 3}, {.addr = 4, .length = 5, .lkey = 6}};
    ibv_wr_set_sge_list(ex_, 2, sges);
    EXPECT_EQ(producer(), 0U);
    ASSERT_EQ(ibv_wr_complete(ex_), 0);
    EXPECT_EQ(producer(), 3U);
    EXPECT_NE(device_.doorbell().leaf[0], 0U);
    EXPECT_EQ(entry(0).opcode, VRDMA_WQE_RDMA_WRITE);
    EXPECT_EQ(entry(0).wr_id, 1U);
    EXPECT_EQ(entry(0).rkey, 7U);
    EXPECT_EQ(entry(0).remote_address, 0x99U);
    EXPECT_EQ(entry(0).sge[0].length, 64U);
    EXPECT_EQ(entry(1).flags, VRDMA_WQE_FENCE | VRDMA_WQE_INLINE);
    EXPECT_EQ(entry(1).imm_data, 0xabcU);
    EXPECT_EQ(entry(1).inline_length, sizeof data);
    EXPECT_STREQ(reinterpret_cast<const char*>(entry(1).inline_data), "inline");
    EXPECT_EQ(entry(2).sge_count, 2);
    EXPECT_EQ(entry(2).sge[1].lkey, 6U);
}

TEST_F(SendBuilderTest, atomics_and_immediate_write_are_built) {
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_atomic_cmp_swp(ex_, 7, 0x88, 1, 2);
    ibv_wr_set_sge(ex_, 5, 0x1000, 8);
    ibv_wr_atomic_fetch_add(ex_, 7, 0x88, 3);
    ibv_wr_set_sge(ex_, 5, 0x1000, 8);
    ibv_wr_rdma_write_imm(ex_, 7, 0x88, 4);
    ibv_wr_send(ex_);
    ASSERT_EQ(ibv_wr_complete(ex_), 0);
    EXPECT_EQ(entry(0).atomic.compare_add, 1U);
    EXPECT_EQ(entry(0).atomic.swap, 2U);
    EXPECT_EQ(entry(0).atomic.result.length, 8U);
    EXPECT_EQ(entry(1).atomic.compare_add, 3U);
    EXPECT_EQ(entry(2).imm_data, 4U);
    EXPECT_EQ(entry(3).opcode, VRDMA_WQE_SEND);
    EXPECT_EQ(entry(3).sge_count, 0);
}

TEST_F(SendBuilderTest, aborted_batch_leaves_nothing) {
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_abort(ex_);
    EXPECT_EQ(producer(), 0U);
    ibv_wr_start(ex_);
    EXPECT_EQ(ibv_wr_complete(ex_), 0);
    EXPECT_EQ(device_.doorbell().leaf[0], 0U);
}

TEST_F(SendBuilderTest, batch_beyond_the_queue_is_enomem_and_posts_nothing) {
    ibv_wr_start(ex_);
    begin(1);
    for (int i = 0; i < 5; ++i) {
        ibv_wr_send(ex_);
    }
    EXPECT_EQ(ibv_wr_complete(ex_), ENOMEM);
    EXPECT_EQ(producer(), 0U);
}

TEST_F(SendBuilderTest, too_much_inline_data_is_enomem) {
    char data[200] = {};
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_set_inline_data(ex_, data, sizeof data);
    EXPECT_EQ(ibv_wr_complete(ex_), ENOMEM);
}

TEST_F(SendBuilderTest, inline_read_is_einval) {
    char data[8] = {};
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_rdma_read(ex_, 1, 1);
    ibv_wr_set_inline_data(ex_, data, sizeof data);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(SendBuilderTest, too_many_sges_are_enomem) {
    ibv_sge sges[30] = {};
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_set_sge_list(ex_, 30, sges);
    EXPECT_EQ(ibv_wr_complete(ex_), ENOMEM);
}

TEST_F(SendBuilderTest, atomic_of_another_size_is_einval) {
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_atomic_fetch_add(ex_, 1, 1, 1);
    ibv_wr_set_sge(ex_, 5, 0x1000, 4);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(SendBuilderTest, unknown_flag_is_einval) {
    ibv_wr_start(ex_);
    begin(1, IBV_SEND_IP_CSUM);
    ibv_wr_send(ex_);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(SendBuilderTest, ud_address_on_rc_is_einval) {
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_set_ud_addr(ex_, nullptr, 1, 1);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(SendBuilderTest, queue_pair_that_is_not_ready_is_einval) {
    ASSERT_EQ(move_to(qp_, IBV_QPS_RESET), 0);
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
}

TEST_F(SendBuilderTest, operation_that_the_type_lacks_is_einval) {
    use(IBV_QPT_UC, IBV_QP_EX_WITH_SEND);
    ibv_wr_start(ex_);
    begin(1);
    ex_->wr_rdma_read(ex_, 1, 1);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
    EXPECT_EQ(producer(), 0U);
}

TEST_F(SendBuilderTest, datagram_without_an_address_is_einval) {
    use(IBV_QPT_UD, IBV_QP_EX_WITH_SEND);
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_set_sge(ex_, 5, 0x1000, 64);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
    EXPECT_EQ(producer(), 0U);
}

TEST_F(SendBuilderTest, datagram_without_an_address_before_another_is_einval) {
    use(IBV_QPT_UD, IBV_QP_EX_WITH_SEND);
    ibv_ah_attr attr{};
    attr.is_global = 1;
    attr.port_num = 1;
    attr.grh.sgid_index = 3;
    attr.grh.dgid.raw[15] = 2;
    ibv_ah* ah = ibv_create_ah(pd_, &attr);
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_send(ex_);
    ibv_wr_set_ud_addr(ex_, ah, 0x123, 0x456);
    EXPECT_EQ(ibv_wr_complete(ex_), EINVAL);
    EXPECT_EQ(ibv_destroy_ah(ah), 0);
}

TEST_F(SendBuilderTest, datagram_is_built_with_its_address) {
    use(IBV_QPT_UD, IBV_QP_EX_WITH_SEND);
    ibv_ah_attr attr{};
    attr.is_global = 1;
    attr.port_num = 1;
    attr.grh.sgid_index = 3;
    attr.grh.dgid.raw[15] = 2;
    ibv_ah* ah = ibv_create_ah(pd_, &attr);
    ibv_wr_start(ex_);
    begin(1);
    ibv_wr_send(ex_);
    ibv_wr_set_ud_addr(ex_, ah, 0x123, 0x456);
    ibv_wr_set_sge(ex_, 5, 0x1000, 64);
    ASSERT_EQ(ibv_wr_complete(ex_), 0);
    EXPECT_EQ(entry().ud.remote_qpn, 0x123U);
    EXPECT_EQ(entry().ud_address.remote_gid[15], 2);
    EXPECT_EQ(ibv_destroy_ah(ah), 0);
}

}  // namespace
}  // namespace vrdma::verbs
