#include <cerrno>
#include <cstring>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class PostSendTest : public ProviderTest {
  protected:
    void use(const QpOptions& options, ibv_qp_state state = IBV_QPS_RTS) {
        qp_ = make_qp(state, options);
    }
    void SetUp() override {
        ProviderTest::SetUp();
        use({.send_wr = 4, .sge = 3, .inline_bytes = 64});
    }
    int post(ibv_send_wr& wr) {
        bad_ = nullptr;
        return ibv_post_send(qp_, &wr, &bad_);
    }
    const vrdma_send_wqe& entry(std::uint32_t index = 0) {
        return device_.send_wqe(qp_->handle, index);
    }
    std::uint32_t producer() { return device_.qp_header(qp_->handle).sq_producer; }
    void refused(ibv_send_wr& wr, int error) {
        EXPECT_EQ(post(wr), error);
        EXPECT_EQ(bad_, &wr);
        EXPECT_EQ(producer(), 0U);
        EXPECT_EQ(device_.doorbell().leaf[0], 0U);
    }

    ibv_qp* qp_ = nullptr;
    ibv_send_wr* bad_ = nullptr;
    ibv_sge sges_[4] = {{.addr = 0x1000, .length = 8, .lkey = 7},
                        {.addr = 0x2000, .length = 16, .lkey = 8},
                        {.addr = 0x3000, .length = 32, .lkey = 9},
                        {.addr = 0x4000, .length = 64, .lkey = 10}};
};

TEST_F(PostSendTest, write_becomes_an_entry) {
    ibv_send_wr wr = send_request(42, IBV_WR_RDMA_WRITE, sges_, 2);
    wr.wr.rdma = {.remote_addr = 0x123456789, .rkey = 0x77};
    ASSERT_EQ(post(wr), 0);
    const vrdma_send_wqe& wqe = entry();
    EXPECT_EQ(wqe.opcode, VRDMA_WQE_RDMA_WRITE);
    EXPECT_EQ(wqe.flags, VRDMA_WQE_SIGNALED);
    EXPECT_EQ(wqe.sge_count, 2);
    EXPECT_EQ(wqe.reserved0, 0);
    EXPECT_EQ(wqe.imm_data, 0U);
    EXPECT_EQ(wqe.wr_id, 42U);
    EXPECT_EQ(wqe.remote_address, 0x123456789U);
    EXPECT_EQ(wqe.rkey, 0x77U);
    EXPECT_EQ(wqe.inline_length, 0U);
    EXPECT_EQ(wqe.sge[1].address, 0x2000U);
    EXPECT_EQ(wqe.sge[1].length, 16U);
    EXPECT_EQ(wqe.sge[1].lkey, 8U);
    EXPECT_EQ(producer(), 1U);
    EXPECT_NE(device_.doorbell().leaf[0], 0U);
}

TEST_F(PostSendTest, every_opcode_is_translated) {
    struct Case {
        ibv_wr_opcode opcode;
        std::uint8_t expected;
    };
    const Case cases[] = {{IBV_WR_SEND, VRDMA_WQE_SEND},
                          {IBV_WR_SEND_WITH_IMM, VRDMA_WQE_SEND_WITH_IMM},
                          {IBV_WR_RDMA_WRITE_WITH_IMM, VRDMA_WQE_RDMA_WRITE_WITH_IMM},
                          {IBV_WR_RDMA_READ, VRDMA_WQE_RDMA_READ}};
    std::uint32_t index = 0;
    for (const Case& c : cases) {
        ibv_send_wr wr = send_request(1, c.opcode, sges_, 1);
        wr.imm_data = 0xabcd;
        ASSERT_EQ(post(wr), 0);
        EXPECT_EQ(entry(index).opcode, c.expected);
        const bool imm = c.opcode == IBV_WR_SEND_WITH_IMM || c.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
        EXPECT_EQ(entry(index).imm_data, imm ? 0xabcdU : 0U);
        ++index;
    }
}

TEST_F(PostSendTest, every_flag_is_translated) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, nullptr, 0, IBV_SEND_FENCE);
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(0).flags, VRDMA_WQE_FENCE);
    wr.send_flags = IBV_SEND_SOLICITED;
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(1).flags, VRDMA_WQE_SOLICITED);
    wr.send_flags = IBV_SEND_INLINE | IBV_SEND_SIGNALED;
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(2).flags, VRDMA_WQE_INLINE | VRDMA_WQE_SIGNALED);
    wr.send_flags = 0;
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(3).flags, 0);
}

TEST_F(PostSendTest, send_carries_no_remote_address_of_an_earlier_entry) {
    for (int lap = 0; lap < 2; ++lap) {
        ibv_send_wr wr = send_request(1, lap == 0 ? IBV_WR_RDMA_WRITE : IBV_WR_SEND, sges_, 1);
        wr.wr.rdma = {.remote_addr = 0xffff, .rkey = 0xffff};
        for (int i = 0; i < 4; ++i) {
            ASSERT_EQ(post(wr), 0);
        }
        complete_send(qp_, static_cast<std::uint32_t>(4 * lap + 3));
        ASSERT_EQ(poll(cq_).size(), 1U);
    }
    EXPECT_EQ(entry(4).remote_address, 0U);
    EXPECT_EQ(entry(4).rkey, 0U);
}

TEST_F(PostSendTest, inline_data_is_copied_at_once) {
    char first[] = "hello ";
    char second[] = "world";
    ibv_sge sges[2] = {{.addr = reinterpret_cast<std::uintptr_t>(first), .length = 6, .lkey = 0},
                       {.addr = reinterpret_cast<std::uintptr_t>(second), .length = 6, .lkey = 0}};
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, sges, 2, IBV_SEND_INLINE);
    ASSERT_EQ(post(wr), 0);
    std::memset(first, 'x', sizeof first);
    EXPECT_EQ(entry().inline_length, 12U);
    EXPECT_EQ(entry().sge_count, 0);
    EXPECT_STREQ(reinterpret_cast<const char*>(entry().inline_data), "hello world");
}

TEST_F(PostSendTest, inline_of_the_whole_slot_fits_and_one_byte_more_is_enomem) {
    ibv_qp_init_attr init{};
    ibv_qp_attr attr{};
    ASSERT_EQ(ibv_query_qp(qp_, &attr, IBV_QP_CAP, &init), 0);
    std::vector<char> data(init.cap.max_inline_data + 1);
    ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(data.data()),
                .length = init.cap.max_inline_data + 1,
                .lkey = 0};
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, &sge, 1, IBV_SEND_INLINE);
    refused(wr, ENOMEM);
    --sge.length;
    EXPECT_EQ(post(wr), 0);
}

TEST_F(PostSendTest, inline_read_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_RDMA_READ, sges_, 1, IBV_SEND_INLINE);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, atomics_carry_their_operands) {
    ibv_send_wr wr = send_request(1, IBV_WR_ATOMIC_CMP_AND_SWP, sges_, 1);
    wr.wr.atomic = {.remote_addr = 0x88, .compare_add = 5, .swap = 6, .rkey = 7};
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(0).opcode, VRDMA_WQE_ATOMIC_CMP_AND_SWP);
    EXPECT_EQ(entry(0).remote_address, 0x88U);
    EXPECT_EQ(entry(0).rkey, 7U);
    EXPECT_EQ(entry(0).atomic.compare_add, 5U);
    EXPECT_EQ(entry(0).atomic.swap, 6U);
    EXPECT_EQ(entry(0).atomic.result.address, 0x1000U);
    EXPECT_EQ(entry(0).sge_count, 1);
    wr.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry(1).opcode, VRDMA_WQE_ATOMIC_FETCH_AND_ADD);
    EXPECT_EQ(entry(1).atomic.swap, 0U);
}

TEST_F(PostSendTest, atomic_of_another_size_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_ATOMIC_FETCH_AND_ADD, &sges_[1], 1);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, atomic_without_its_sge_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_ATOMIC_FETCH_AND_ADD);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, atomic_inline_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_ATOMIC_FETCH_AND_ADD, sges_, 1, IBV_SEND_INLINE);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, zero_length_write_keeps_its_address_unchecked) {
    sges_[0].length = 0;
    ibv_send_wr wr = send_request(1, IBV_WR_RDMA_WRITE_WITH_IMM, sges_, 1);
    ASSERT_EQ(post(wr), 0);
    EXPECT_EQ(entry().sge_count, 0);
}

TEST_F(PostSendTest, too_many_sges_are_enomem) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, sges_, 100);
    refused(wr, ENOMEM);
}

TEST_F(PostSendTest, negative_sge_count_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, sges_, -1);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, unknown_flag_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, nullptr, 0, IBV_SEND_IP_CSUM);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, unknown_opcode_is_einval) {
    for (const int opcode : {int{IBV_WR_TSO}, int{IBV_WR_DRIVER1}, 40, -1}) {
        ibv_send_wr wr = send_request(1, static_cast<ibv_wr_opcode>(opcode));
        refused(wr, EINVAL);
    }
}

TEST_F(PostSendTest, read_on_uc_is_einval) {
    use({.type = IBV_QPT_UC});
    ibv_send_wr wr = send_request(1, IBV_WR_RDMA_READ, sges_, 1);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, write_on_ud_is_einval) {
    use({.type = IBV_QPT_UD});
    ibv_send_wr wr = send_request(1, IBV_WR_RDMA_WRITE, sges_, 1);
    refused(wr, EINVAL);
}

TEST_F(PostSendTest, states_before_rts_are_einval) {
    for (const ibv_qp_state state : {IBV_QPS_RESET, IBV_QPS_INIT, IBV_QPS_RTR}) {
        use({}, state);
        ibv_send_wr wr = send_request(1, IBV_WR_SEND);
        refused(wr, EINVAL);
    }
}

TEST_F(PostSendTest, sqd_and_error_accept_requests) {
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_SQD;
    ASSERT_EQ(ibv_modify_qp(qp_, &attr, IBV_QP_STATE), 0);
    ibv_send_wr wr = send_request(1, IBV_WR_SEND);
    EXPECT_EQ(post(wr), 0);
    ASSERT_EQ(move_to(qp_, IBV_QPS_ERR), 0);
    EXPECT_EQ(post(wr), 0);
    EXPECT_EQ(producer(), 2U);
}

TEST_F(PostSendTest, list_is_posted_with_one_publication) {
    ibv_send_wr third = send_request(3, IBV_WR_SEND);
    ibv_send_wr second = send_request(2, IBV_WR_SEND);
    ibv_send_wr first = send_request(1, IBV_WR_SEND);
    first.next = &second;
    second.next = &third;
    device_.doorbell().need_kick = 1;
    ASSERT_EQ(post(first), 0);
    EXPECT_EQ(producer(), 3U);
    EXPECT_EQ(entry(2).wr_id, 3U);
    std::uint64_t kicks = 0;
    ASSERT_EQ(::read(device_.kick_fd(), &kicks, sizeof kicks), static_cast<ssize_t>(sizeof kicks));
    EXPECT_EQ(kicks, 1U);
}

TEST_F(PostSendTest, list_with_a_mistake_is_posted_up_to_it) {
    ibv_send_wr second = send_request(2, IBV_WR_SEND, sges_, 100);
    ibv_send_wr first = send_request(1, IBV_WR_SEND);
    first.next = &second;
    EXPECT_EQ(post(first), ENOMEM);
    EXPECT_EQ(bad_, &second);
    EXPECT_EQ(producer(), 1U);
    EXPECT_NE(device_.doorbell().leaf[0], 0U);
}

TEST_F(PostSendTest, nothing_in_a_state_before_rts_is_einval) {
    use({}, IBV_QPS_INIT);
    ibv_send_wr* bad = nullptr;
    EXPECT_EQ(ibv_post_send(qp_, nullptr, &bad), EINVAL);
}

TEST_F(PostSendTest, full_queue_is_enomem) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND);
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(post(wr), 0);
    }
    EXPECT_EQ(post(wr), ENOMEM);
    EXPECT_EQ(bad_, &wr);
}

TEST_F(PostSendTest, queue_pair_without_a_send_queue_is_enomem) {
    use({.send_wr = 0});
    ibv_send_wr wr = send_request(1, IBV_WR_SEND);
    refused(wr, ENOMEM);
}

class PostUdTest : public PostSendTest {
  protected:
    void SetUp() override {
        ProviderTest::SetUp();
        use({.type = IBV_QPT_UD, .inline_bytes = 64});
        ibv_ah_attr attr{};
        attr.is_global = 1;
        attr.port_num = 1;
        attr.grh.sgid_index = 3;
        attr.grh.hop_limit = 64;
        attr.grh.dgid.raw[15] = 2;
        ah_ = ibv_create_ah(pd_, &attr);
        ASSERT_NE(ah_, nullptr);
    }
    void TearDown() override {
        EXPECT_EQ(ibv_destroy_ah(ah_), 0);
        PostSendTest::TearDown();
    }
    ibv_ah* ah_ = nullptr;
};

TEST_F(PostUdTest, datagram_carries_its_address) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND_WITH_IMM, sges_, 1);
    wr.wr.ud = {.ah = ah_, .remote_qpn = 0x123456, .remote_qkey = 0x11111111};
    wr.imm_data = 4;
    ASSERT_EQ(post(wr), 0);
    const vrdma_send_wqe& wqe = entry();
    EXPECT_EQ(wqe.opcode, VRDMA_WQE_SEND_WITH_IMM);
    EXPECT_EQ(wqe.ud.remote_qpn, 0x123456U);
    EXPECT_EQ(wqe.ud.remote_qkey, 0x11111111U);
    EXPECT_EQ(wqe.rkey, 0U);
    EXPECT_EQ(wqe.ud_address.remote_gid[15], 2);
    EXPECT_EQ(wqe.ud_address.sgid_index, 3);
    EXPECT_EQ(wqe.ud_address.hop_limit, 64);
    EXPECT_EQ(wqe.ud_address.reserved, 0U);
    const auto* sge = reinterpret_cast<const vrdma_sge*>(reinterpret_cast<const std::byte*>(&wqe) +
                                                         VRDMA_WQE_DATA_OFFSET_UD);
    EXPECT_EQ(sge->address, 0x1000U);
}

TEST_F(PostUdTest, inline_datagram_stands_behind_the_address) {
    char data[] = "payload";
    ibv_sge sge{.addr = reinterpret_cast<std::uintptr_t>(data), .length = sizeof data, .lkey = 0};
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, &sge, 1, IBV_SEND_INLINE);
    wr.wr.ud = {.ah = ah_, .remote_qpn = 1, .remote_qkey = 1};
    ASSERT_EQ(post(wr), 0);
    EXPECT_STREQ(reinterpret_cast<const char*>(&entry()) + VRDMA_WQE_DATA_OFFSET_UD, "payload");
}

TEST_F(PostUdTest, datagram_without_an_address_is_einval) {
    ibv_send_wr wr = send_request(1, IBV_WR_SEND, sges_, 1);
    wr.wr.ud.ah = nullptr;
    refused(wr, EINVAL);
}

}  // namespace
}  // namespace vrdma::verbs
