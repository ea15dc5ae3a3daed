// Memory windows: their commands, and the entries that bind and invalidate them.
#include "verbs/mw.h"

#include "tests/unit/verbs/provider_fixture.h"
#include "verbs/device.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

constexpr unsigned kRemote = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

class MwTest : public ProviderTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        qp_ = make_qp(IBV_QPS_RTS);
        mr_ = ibv_reg_mr(pd_, memory_, sizeof memory_, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
        ASSERT_NE(mr_, nullptr);
    }
    void TearDown() override {
        if (mw_ != nullptr) {
            EXPECT_EQ(ibv_dealloc_mw(mw_), 0);
        }
        EXPECT_EQ(ibv_dereg_mr(mr_), 0);
        ProviderTest::TearDown();
    }
    void use(ibv_mw_type type) {
        mw_ = ibv_alloc_mw(pd_, type);
        ASSERT_NE(mw_, nullptr);
    }
    ibv_mw_bind bind() {
        return {.wr_id = 9,
                .send_flags = IBV_SEND_SIGNALED,
                .bind_info = {.mr = mr_,
                              .addr = reinterpret_cast<std::uintptr_t>(memory_) + 8,
                              .length = 100,
                              .mw_access_flags = kRemote}};
    }
    ibv_send_wr bind_request(std::uint32_t rkey) {
        ibv_send_wr wr = send_request(9, IBV_WR_BIND_MW);
        wr.bind_mw.mw = mw_;
        wr.bind_mw.rkey = rkey;
        wr.bind_mw.bind_info = bind().bind_info;
        return wr;
    }
    int post(ibv_send_wr& wr) {
        ibv_send_wr* bad = nullptr;
        const int error = ibv_post_send(qp_, &wr, &bad);
        EXPECT_EQ(bad, error == 0 ? nullptr : &wr);
        return error;
    }
    const vrdma_send_wqe& entry(std::uint32_t index = 0) {
        return device_.send_wqe(qp_->handle, index);
    }
    std::uint32_t producer() { return device_.qp_header(qp_->handle).sq_producer; }
    void expect_bind(const vrdma_send_wqe& wqe, std::uint32_t rkey) {
        EXPECT_EQ(wqe.opcode, VRDMA_WQE_BIND_MW);
        EXPECT_EQ(wqe.flags, VRDMA_WQE_SIGNALED);
        EXPECT_EQ(wqe.wr_id, 9U);
        EXPECT_EQ(wqe.sge_count, 0);
        EXPECT_EQ(wqe.inline_length, 0U);
        EXPECT_EQ(wqe.remote_address, reinterpret_cast<std::uintptr_t>(memory_) + 8);
        EXPECT_EQ(wqe.bind.length, 100U);
        EXPECT_EQ(wqe.bind.lkey, mr_->lkey);
        EXPECT_EQ(wqe.bind.rkey, rkey);
        EXPECT_EQ(wqe.bind.access, kRemote);
    }

    char memory_[256] = {};
    ibv_qp* qp_ = nullptr;
    ibv_mr* mr_ = nullptr;
    ibv_mw* mw_ = nullptr;
};

TEST_F(MwTest, window_lives_at_the_device) {
    use(IBV_MW_TYPE_2);
    const auto request = device_.last(VRDMA_CMD_ALLOC_MW).as<vrdma_cmd_alloc_mw>();
    EXPECT_EQ(request.pd, pd_->handle);
    EXPECT_EQ(request.type, std::uint32_t{VRDMA_MW_TYPE_2});
    EXPECT_EQ(mw_->pd, pd_);
    EXPECT_EQ(mw_->context, context_);
    EXPECT_EQ(mw_->type, IBV_MW_TYPE_2);
    EXPECT_EQ(mw_->rkey, 0x80000000U | mw_->handle << 8U);
    EXPECT_EQ(device_.last(VRDMA_CMD_REG_MR).as<vrdma_cmd_reg_mr>().access,
              std::uint32_t{VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_MW_BIND});
}

TEST_F(MwTest, unknown_type_is_einval) {
    errno = 0;
    EXPECT_EQ(ibv_alloc_mw(pd_, static_cast<ibv_mw_type>(3)), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST_F(MwTest, refused_window_leaves_nothing_behind) {
    device_.refuse_next(VRDMA_CMD_ALLOC_MW, VRDMA_STATUS_NO_RESOURCE, "no window is left");
    errno = 0;
    EXPECT_EQ(ibv_alloc_mw(pd_, IBV_MW_TYPE_1), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

TEST_F(MwTest, region_with_a_bound_window_stays) {
    device_.refuse_next(VRDMA_CMD_DEREG_MR, VRDMA_STATUS_BUSY, "memory windows are bound to it");
    EXPECT_EQ(ibv_dereg_mr(mr_), EBUSY);
}

TEST_F(MwTest, device_tells_of_its_windows) {
    ibv_device_attr_ex attr{};
    ASSERT_EQ(query_device_ex(context_, nullptr, &attr, sizeof attr), 0);
    EXPECT_EQ(attr.orig_attr.max_mw, 64);
    EXPECT_NE(attr.orig_attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW, 0U);
    EXPECT_NE(attr.orig_attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B, 0U);
}

TEST_F(MwTest, bind_of_type_1_gives_the_next_key) {
    use(IBV_MW_TYPE_1);
    const std::uint32_t first = mw_->rkey;
    ibv_mw_bind request = bind();
    ASSERT_EQ(ibv_bind_mw(qp_, mw_, &request), 0);
    EXPECT_EQ(mw_->rkey, first + 1);
    EXPECT_EQ(entry().rkey, first);
    expect_bind(entry(), first + 1);
    EXPECT_EQ(producer(), 1U);
    EXPECT_NE(device_.doorbell().leaf[0], 0U);
}

TEST_F(MwTest, bind_of_type_1_that_fails_keeps_the_key) {
    use(IBV_MW_TYPE_1);
    const std::uint32_t key = mw_->rkey;
    ibv_mw_bind request = bind();
    request.bind_info.mw_access_flags = IBV_ACCESS_LOCAL_WRITE;
    EXPECT_EQ(ibv_bind_mw(qp_, mw_, &request), EINVAL);
    request = bind();
    request.send_flags = IBV_SEND_INLINE;
    EXPECT_EQ(ibv_bind_mw(qp_, mw_, &request), EINVAL);
    request = bind();
    ibv_qp* early = make_qp(IBV_QPS_INIT);
    EXPECT_EQ(ibv_bind_mw(early, mw_, &request), EINVAL);
    ibv_qp* datagrams = make_qp(IBV_QPS_RTS, {.type = IBV_QPT_UD});
    EXPECT_EQ(ibv_bind_mw(datagrams, mw_, &request), EINVAL);
    EXPECT_EQ(mw_->rkey, key);
    EXPECT_EQ(producer(), 0U);
}

TEST_F(MwTest, bind_of_type_1_on_a_full_queue_is_enomem) {
    use(IBV_MW_TYPE_1);
    ibv_mw_bind request = bind();
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(ibv_bind_mw(qp_, mw_, &request), 0);
    }
    const std::uint32_t key = mw_->rkey;
    EXPECT_EQ(ibv_bind_mw(qp_, mw_, &request), ENOMEM);
    EXPECT_EQ(mw_->rkey, key);
}

TEST_F(MwTest, bind_of_type_2_is_a_send_request) {
    use(IBV_MW_TYPE_2);
    ibv_send_wr wr = bind_request(mw_->rkey + 5);
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry().rkey, mw_->rkey);
    expect_bind(entry(), mw_->rkey + 5);
}

TEST_F(MwTest, bind_of_no_bytes_needs_no_region) {
    use(IBV_MW_TYPE_2);
    ibv_send_wr wr = bind_request(mw_->rkey);
    wr.bind_mw.bind_info = {};
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry().bind.length, 0U);
    wr.bind_mw.bind_info.length = 1;
    EXPECT_EQ(post(wr), EINVAL);
}

TEST_F(MwTest, bind_request_of_type_1_or_of_no_window_is_einval) {
    use(IBV_MW_TYPE_1);
    ibv_send_wr wr = bind_request(mw_->rkey);
    EXPECT_EQ(post(wr), EINVAL);
    wr.bind_mw.mw = nullptr;
    EXPECT_EQ(post(wr), EINVAL);
}

TEST_F(MwTest, bind_request_with_data_is_einval) {
    use(IBV_MW_TYPE_2);
    ibv_send_wr wr = bind_request(mw_->rkey);
    ibv_sge sge{};
    wr.sg_list = &sge;
    wr.num_sge = 1;
    EXPECT_EQ(post(wr), EINVAL);
    wr = bind_request(mw_->rkey);
    wr.send_flags = IBV_SEND_INLINE;
    EXPECT_EQ(post(wr), EINVAL);
    EXPECT_EQ(producer(), 0U);
}

TEST_F(MwTest, invalidations_carry_their_key) {
    ibv_send_wr wr = send_request(1, IBV_WR_LOCAL_INV);
    wr.invalidate_rkey = 0x80001234;
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(0).opcode, VRDMA_WQE_LOCAL_INV);
    EXPECT_EQ(entry(0).rkey, 0x80001234U);
    char text[] = "x";
    ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(text), .length = 1, .lkey = 0};
    wr = send_request(1, IBV_WR_SEND_WITH_INV, &sge, 1, IBV_SEND_INLINE);
    wr.invalidate_rkey = 0x80001235;
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(1).opcode, VRDMA_WQE_SEND_WITH_INV);
    EXPECT_EQ(entry(1).rkey, 0x80001235U);
    EXPECT_EQ(entry(1).inline_length, 1U);
}

TEST_F(MwTest, operations_follow_the_type_of_queue_pair) {
    use(IBV_MW_TYPE_2);
    qp_ = make_qp(IBV_QPS_RTS, {.type = IBV_QPT_UC});
    ibv_send_wr wr = bind_request(mw_->rkey);
    EXPECT_EQ(post(wr), 0);
    wr = send_request(1, IBV_WR_SEND_WITH_INV);
    EXPECT_EQ(post(wr), EINVAL);
    qp_ = make_qp(IBV_QPS_RTS, {.type = IBV_QPT_UD});
    wr = bind_request(mw_->rkey);
    EXPECT_EQ(post(wr), EINVAL);
}

TEST_F(MwTest, builder_makes_the_same_entries) {
    use(IBV_MW_TYPE_2);
    ibv_qp_init_attr_ex attr{};
    attr.send_cq = cq_;
    attr.recv_cq = cq_;
    attr.qp_type = IBV_QPT_RC;
    attr.pd = pd_;
    attr.cap = {.max_send_wr = 4,
                .max_recv_wr = 4,
                .max_send_sge = 2,
                .max_recv_sge = 1,
                .max_inline_data = 32};
    attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
    attr.send_ops_flags =
        IBV_QP_EX_WITH_BIND_MW | IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_SEND_WITH_INV;
    qp_ = create_qp_ex(context_, &attr);
    ASSERT_NE(qp_, nullptr);
    for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
        ASSERT_EQ(move_to(qp_, state), 0);
    }
    ibv_qp_ex* ex = ibv_qp_to_qp_ex(qp_);
    const ibv_mw_bind_info info = bind().bind_info;
    ibv_wr_start(ex);
    ex->wr_id = 9;
    ex->wr_flags = IBV_SEND_SIGNALED;
    ibv_wr_bind_mw(ex, mw_, mw_->rkey + 1, &info);
    ibv_wr_local_inv(ex, mw_->rkey + 1);
    ibv_wr_send_inv(ex, 0x80005555);
    ibv_wr_set_sge(ex, mr_->lkey, reinterpret_cast<std::uintptr_t>(memory_), 16);
    ASSERT_EQ(ibv_wr_complete(ex), 0);
    expect_bind(entry(0), mw_->rkey + 1);
    EXPECT_EQ(entry(1).opcode, VRDMA_WQE_LOCAL_INV);
    EXPECT_EQ(entry(1).rkey, mw_->rkey + 1);
    EXPECT_EQ(entry(2).opcode, VRDMA_WQE_SEND_WITH_INV);
    EXPECT_EQ(entry(2).rkey, 0x80005555U);
    EXPECT_EQ(entry(2).sge_count, 1);
    // A bind has no data, and a window of type 1 another way.
    ibv_wr_start(ex);
    ibv_wr_local_inv(ex, 1);
    ibv_wr_set_sge(ex, 1, 1, 1);
    EXPECT_EQ(ibv_wr_complete(ex), EINVAL);
    ibv_wr_start(ex);
    ibv_wr_local_inv(ex, 1);
    ibv_wr_set_inline_data(ex, memory_, 1);
    EXPECT_EQ(ibv_wr_complete(ex), EINVAL);
    ibv_mw type_1 = *mw_;
    type_1.type = IBV_MW_TYPE_1;
    ibv_wr_start(ex);
    ibv_wr_bind_mw(ex, &type_1, 1, &info);
    EXPECT_EQ(ibv_wr_complete(ex), EINVAL);
    EXPECT_EQ(producer(), 3U);
}

TEST_F(MwTest, receive_tells_which_key_ended) {
    vrdma_cqe cqe{};
    cqe.imm_data = 0x80001234;
    cqe.qpn = qp_->qp_num;
    cqe.opcode = VRDMA_WC_RECV;
    cqe.flags = VRDMA_CQE_WITH_INV;
    device_.complete(cq_->handle, cqe);
    const auto found = poll(cq_);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].wc_flags, unsigned{IBV_WC_WITH_INV});
    EXPECT_EQ(found[0].invalidated_rkey, 0x80001234U);
}

class OldServiceMwTest : public ProviderTest {
  protected:
    OldServiceMwTest() {
        device_.features = VRDMA_FEATURE_PEER_DEATH;
        device_.info.limits.max_mws = 0;
    }
};

TEST_F(OldServiceMwTest, service_without_windows_is_eopnotsupp) {
    errno = 0;
    EXPECT_EQ(ibv_alloc_mw(pd_, IBV_MW_TYPE_1), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    char memory[8];
    errno = 0;
    EXPECT_EQ(ibv_reg_mr(pd_, memory, 8, IBV_ACCESS_MW_BIND), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    ibv_qp* qp = make_qp(IBV_QPS_RTS);
    for (const ibv_wr_opcode opcode : {IBV_WR_LOCAL_INV, IBV_WR_SEND_WITH_INV, IBV_WR_BIND_MW}) {
        ibv_send_wr wr = send_request(1, opcode);
        ibv_send_wr* bad = nullptr;
        EXPECT_EQ(ibv_post_send(qp, &wr, &bad), EINVAL);
    }
    ibv_device_attr_ex attr{};
    ASSERT_EQ(query_device_ex(context_, nullptr, &attr, sizeof attr), 0);
    EXPECT_EQ(attr.orig_attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW, 0U);
}

}  // namespace
}  // namespace vrdma::verbs
