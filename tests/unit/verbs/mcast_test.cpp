// Multicast groups: what the device is asked for, and what its answers are to a program.
#include "verbs/mcast.h"

#include <cerrno>
#include <cstring>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

constexpr ibv_gid kGroup{.raw = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 239, 1, 2, 3}};

class McastTest : public ProviderTest {
  protected:
    // A UD queue pair with create_flags; nullptr and errno.
    ibv_qp* make_ud(std::uint32_t create_flags, ibv_qp_type type = IBV_QPT_UD) {
        ibv_qp_init_attr_ex attr{};
        attr.send_cq = attr.recv_cq = cq_;
        attr.cap = {.max_send_wr = 4,
                    .max_recv_wr = 4,
                    .max_send_sge = 1,
                    .max_recv_sge = 1,
                    .max_inline_data = 0};
        attr.qp_type = type;
        attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_CREATE_FLAGS;
        attr.pd = pd_;
        attr.create_flags = create_flags;
        errno = 0;
        return ibv_create_qp_ex(context_, &attr);
    }
    void expect_asked(vrdma_command_opcode opcode, const ibv_qp* qp) {
        const auto request = device_.last(opcode).as<vrdma_cmd_mcast>();
        EXPECT_EQ(request.qp, qp->handle);
        EXPECT_EQ(request.reserved, 0U);
        EXPECT_EQ(std::memcmp(request.gid, kGroup.raw, sizeof request.gid), 0);
    }
};

TEST_F(McastTest, membership_is_asked_of_the_device) {
    ibv_qp* qp = make_ud(0);
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(ibv_attach_mcast(qp, &kGroup, 0xc000), 0);
    expect_asked(VRDMA_CMD_ATTACH_MCAST, qp);
    EXPECT_EQ(ibv_detach_mcast(qp, &kGroup, 0), 0);
    expect_asked(VRDMA_CMD_DETACH_MCAST, qp);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

TEST_F(McastTest, refusal_of_the_device_is_the_programs_errno) {
    ibv_qp* qp = make_ud(0);
    ASSERT_NE(qp, nullptr);
    device_.refuse_next(VRDMA_CMD_ATTACH_MCAST, VRDMA_STATUS_NO_RESOURCE, "full");
    EXPECT_EQ(ibv_attach_mcast(qp, &kGroup, 0), ENOMEM);
    device_.refuse_next(VRDMA_CMD_DETACH_MCAST, VRDMA_STATUS_INVALID, "no member");
    EXPECT_EQ(ibv_detach_mcast(qp, &kGroup, 0), EINVAL);
    device_.refuse_next(VRDMA_CMD_DESTROY_QP, VRDMA_STATUS_BUSY, "attached");
    EXPECT_EQ(ibv_destroy_qp(qp), EBUSY);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

TEST_F(McastTest, limits_are_those_of_the_contract) {
    ibv_device_attr attr{};
    ASSERT_EQ(ibv_query_device(context_, &attr), 0);
    EXPECT_EQ(attr.max_mcast_grp, VRDMA_MAX_MCAST_GROUPS);
    EXPECT_EQ(attr.max_mcast_qp_attach, VRDMA_MAX_MCAST_QPS);
    EXPECT_EQ(attr.max_total_mcast_qp_attach, VRDMA_MAX_MCAST_ATTACHMENTS);
}

TEST_F(McastTest, loopback_is_blocked_where_the_program_says_so) {
    ibv_qp* blocking = make_ud(IBV_QP_CREATE_BLOCK_SELF_MCAST_LB);
    ASSERT_NE(blocking, nullptr);
    EXPECT_EQ(device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>().flags,
              std::uint32_t{VRDMA_QP_BLOCK_MCAST_LOOPBACK});
    ibv_qp* plain = make_ud(0);
    ASSERT_NE(plain, nullptr);
    EXPECT_EQ(device_.last(VRDMA_CMD_CREATE_QP).as<vrdma_cmd_create_qp>().flags, 0U);
    EXPECT_EQ(ibv_destroy_qp(blocking), 0);
    EXPECT_EQ(ibv_destroy_qp(plain), 0);
}

TEST_F(McastTest, other_create_flags_and_types_are_eopnotsupp) {
    EXPECT_EQ(make_ud(IBV_QP_CREATE_BLOCK_SELF_MCAST_LB, IBV_QPT_RC), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(make_ud(IBV_QP_CREATE_BLOCK_SELF_MCAST_LB | IBV_QP_CREATE_SCATTER_FCS), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
}

class OldServiceMcastTest : public McastTest {
  protected:
    OldServiceMcastTest() { device_.features = VRDMA_FEATURE_PEER_DEATH; }
};

TEST_F(OldServiceMcastTest, service_without_multicast_is_eopnotsupp) {
    ibv_qp* qp = make_ud(0);
    ASSERT_NE(qp, nullptr);
    EXPECT_EQ(ibv_attach_mcast(qp, &kGroup, 0), EOPNOTSUPP);
    EXPECT_EQ(ibv_detach_mcast(qp, &kGroup, 0), EOPNOTSUPP);
    EXPECT_EQ(make_ud(IBV_QP_CREATE_BLOCK_SELF_MCAST_LB), nullptr);
    EXPECT_EQ(errno, EOPNOTSUPP);
    ibv_device_attr attr{};
    ASSERT_EQ(ibv_query_device(context_, &attr), 0);
    EXPECT_EQ(attr.max_mcast_grp, 0);
    EXPECT_EQ(ibv_destroy_qp(qp), 0);
}

}  // namespace
}  // namespace vrdma::verbs
