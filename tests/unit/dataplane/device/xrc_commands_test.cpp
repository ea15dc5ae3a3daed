// XRC domains, SRQs and targets as objects: who may make, share and end them.
#include <gtest/gtest.h>

#include <set>

#include "command_test_base.h"
#include "xrc_tenant.h"

namespace vrdma::test {
namespace {

constexpr uint64_t kInode = 4711;
constexpr uint32_t kCreate = VRDMA_XRCD_CREATE;
constexpr uint32_t kExclusive = VRDMA_XRCD_EXCLUSIVE;

class XrcCommands : public CommandTest {
  protected:
    void expect_open_refused(const vrdma_cmd_open_xrcd& request, vrdma_status status,
                             std::string_view text, std::optional<uint64_t> inode = {}) {
        Attachment file;
        file.has_inode = inode.has_value();
        file.device = 1;
        file.inode = inode.value_or(0);
        expect_refused(VRDMA_CMD_OPEN_XRCD, request, status, text, file);
    }
    [[nodiscard]] uint32_t domains() { return world.shard(0).state().xrcds.used(); }

    Tenant second{world, tenant.vnic};  // another process of the same vNIC
};

TEST_F(XrcCommands, body_of_wrong_length_is_refused) {
    for (const uint16_t opcode :
         {VRDMA_CMD_OPEN_XRCD, VRDMA_CMD_CLOSE_XRCD, VRDMA_CMD_CREATE_XRC_SRQ,
          VRDMA_CMD_CREATE_XRC_TARGET, VRDMA_CMD_OPEN_XRC_TARGET}) {
        expect_bad_length(opcode);
    }
}

TEST_F(XrcCommands, what_was_not_negotiated_is_unsupported) {
    Tenant old(world, tenant.vnic, 0, Tenant::kAllFeatures & ~VRDMA_FEATURE_XRC);
    const auto expect_unsupported = [&](const CommandOutcome& outcome) {
        EXPECT_EQ(outcome.kind, CommandOutcome::Kind::Refused);
        EXPECT_EQ(outcome.refusal.status, VRDMA_STATUS_UNSUPPORTED);
    };
    expect_unsupported(try_open_xrcd(old, kCreate));
    expect_unsupported(old.command(VRDMA_CMD_CREATE_XRC_SRQ, xrc_srq_request(old, 0)));
    expect_unsupported(try_target(old, VRDMA_CMD_CREATE_XRC_TARGET, {0, 0, 0}));
    expect_unsupported(try_target(old, VRDMA_CMD_OPEN_XRC_TARGET, {0, 1, 0}));
    vrdma_cmd_create_qp qp{};
    qp.type = VRDMA_QPT_XRC_SEND;
    expect_unsupported(old.command(VRDMA_CMD_CREATE_QP, qp));
}

TEST_F(XrcCommands, target_is_not_made_by_create_qp) {
    vrdma_cmd_create_qp qp{};
    qp.type = VRDMA_QPT_XRC_RECV;
    expect_refused(VRDMA_CMD_CREATE_QP, qp, VRDMA_STATUS_UNSUPPORTED, "type must be");
}

TEST_F(XrcCommands, initiator_has_no_receive_side) {
    vrdma_cmd_create_qp qp{};
    qp.type = VRDMA_QPT_XRC_SEND;
    qp.pd = tenant.pd;
    qp.send_cq = tenant.cq.handle;
    qp.recv_cq = VRDMA_NO_HANDLE;
    qp.srq = VRDMA_NO_HANDLE;
    vrdma_cmd_create_qp with_cq = qp;
    with_cq.recv_cq = tenant.cq.handle;
    expect_refused(VRDMA_CMD_CREATE_QP, with_cq, VRDMA_STATUS_INVALID, "receives nothing");
    vrdma_cmd_create_qp with_srq = qp;
    with_srq.srq = tenant.create_srq().handle;
    expect_refused(VRDMA_CMD_CREATE_QP, with_srq, VRDMA_STATUS_INVALID, "receives nothing");
    vrdma_cmd_create_qp with_ring = qp;
    with_ring.rq_entries = 4;
    expect_refused(VRDMA_CMD_CREATE_QP, with_ring, VRDMA_STATUS_INVALID, "receives nothing");
}

TEST_F(XrcCommands, unknown_flag_or_reserved_field_is_refused) {
    expect_open_refused({1U << 2, 0}, VRDMA_STATUS_INVALID, "unknown flag", kInode);
    expect_open_refused({kCreate, 1}, VRDMA_STATUS_INVALID, "reserved", kInode);
}

TEST_F(XrcCommands, domain_without_file_is_new_each_time_and_must_be_made) {
    expect_open_refused({0, 0}, VRDMA_STATUS_INVALID, "can only be made");
    EXPECT_NE(open_xrcd(tenant), open_xrcd(tenant));
    EXPECT_EQ(domains(), 2U);
    Tenant::EXPECT_DONE(try_open_xrcd(tenant, kCreate | kExclusive));
    EXPECT_EQ(domains(), 3U);
}

TEST_F(XrcCommands, file_without_domain_needs_create) {
    expect_open_refused({0, 0}, VRDMA_STATUS_TRY_AGAIN, "no XRC domain yet", kInode);
    Tenant::EXPECT_DONE(try_open_xrcd(tenant, kCreate | kExclusive, kInode));
    Tenant::EXPECT_DONE(try_open_xrcd(second, 0, kInode));
    EXPECT_EQ(domains(), 1U);
}

TEST_F(XrcCommands, file_with_domain_refuses_exclusive) {
    Tenant::EXPECT_DONE(try_open_xrcd(second, kCreate, kInode));
    expect_open_refused({kCreate | kExclusive, 0}, VRDMA_STATUS_INVALID, "O_EXCL", kInode);
}

TEST_F(XrcCommands, same_inode_of_another_vnic_is_another_domain) {
    Tenant::EXPECT_DONE(try_open_xrcd(other, kCreate, kInode));
    expect_open_refused({0, 0}, VRDMA_STATUS_TRY_AGAIN, "no XRC domain yet", kInode);
    Tenant::EXPECT_DONE(try_open_xrcd(tenant, kCreate, kInode));
    EXPECT_EQ(domains(), 2U);
}

TEST_F(XrcCommands, domain_lives_until_its_last_opener_is_gone) {
    const uint32_t first = open_xrcd(tenant, kInode);
    const uint32_t again = open_xrcd(tenant, kInode);
    [[maybe_unused]] const uint32_t shared = open_xrcd(second, kInode);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_CLOSE_XRCD, first));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_CLOSE_XRCD, again));
    EXPECT_EQ(domains(), 1U);
    second.tear_down();
    EXPECT_EQ(domains(), 0U);
    expect_open_refused({0, 0}, VRDMA_STATUS_TRY_AGAIN, "no XRC domain yet", kInode);
}

TEST_F(XrcCommands, domain_is_busy_while_its_opener_has_srqs_or_targets) {
    const uint32_t xrcd = open_xrcd(tenant, kInode);
    const XrcRing srq = create_xrc_srq(tenant, xrcd);
    expect_busy(VRDMA_CMD_CLOSE_XRCD, xrcd);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_SRQ, srq.ring.handle));
    const QueuePair target = create_target(tenant, xrcd);
    expect_busy(VRDMA_CMD_CLOSE_XRCD, xrcd);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, target.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_CLOSE_XRCD, xrcd));
}

TEST_F(XrcCommands, handle_of_a_domain_is_its_contexts_own) {
    const uint32_t foreign = open_xrcd(second, kInode);
    expect_refused(VRDMA_CMD_CLOSE_XRCD, vrdma_handle{foreign, 0}, VRDMA_STATUS_NOT_FOUND,
                   "no such XRC domain");
    expect_unknown_handle(VRDMA_CMD_CLOSE_XRCD, "no such XRC domain");
    expect_refused(VRDMA_CMD_CREATE_XRC_SRQ, xrc_srq_request(tenant, foreign),
                   VRDMA_STATUS_NOT_FOUND, "no such XRC domain");
    expect_refused(VRDMA_CMD_CREATE_XRC_TARGET, vrdma_cmd_xrc_target{foreign, 0, 0},
                   VRDMA_STATUS_NOT_FOUND, "no such XRC domain");
    expect_refused(VRDMA_CMD_OPEN_XRC_TARGET, vrdma_cmd_xrc_target{foreign, 1, 0},
                   VRDMA_STATUS_NOT_FOUND, "no such XRC domain");
}

TEST_F(XrcCommands, srq_needs_a_completion_queue_and_what_every_srq_needs) {
    const uint32_t xrcd = open_xrcd(tenant);
    vrdma_cmd_create_xrc_srq request = xrc_srq_request(tenant, xrcd);
    request.cq = 200;
    expect_refused(VRDMA_CMD_CREATE_XRC_SRQ, request, VRDMA_STATUS_NOT_FOUND,
                   "no such completion queue");
    request = xrc_srq_request(tenant, xrcd);
    request.srq.entries = 3;
    expect_refused(VRDMA_CMD_CREATE_XRC_SRQ, request, VRDMA_STATUS_INVALID, "power of two");
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_CLOSE_XRCD, xrcd));
}

TEST_F(XrcCommands, completion_queue_of_an_srq_is_busy) {
    const CompletionRing cq = tenant.create_cq();
    const XrcRing srq = create_xrc_srq(tenant, open_xrcd(tenant), {.cq = cq.handle});
    expect_busy(VRDMA_CMD_DESTROY_CQ, cq.handle);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_SRQ, srq.ring.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_CQ, cq.handle));
}

TEST_F(XrcCommands, number_of_an_srq_is_another_in_its_next_life) {
    const uint32_t xrcd = open_xrcd(tenant);
    std::set<uint32_t> seen;
    for (int i = 0; i < 200; ++i) {
        const XrcRing srq = create_xrc_srq(tenant, xrcd, {.entries = 1});
        EXPECT_NE(srq.srqn, 0U);
        EXPECT_EQ(srq.srqn >> 24, 0U);
        EXPECT_TRUE(seen.insert(srq.srqn).second);
        Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_SRQ, srq.ring.handle));
    }
}

TEST_F(XrcCommands, target_is_opened_by_number_in_its_domain_only) {
    const QueuePair target = create_target(tenant, open_xrcd(tenant, kInode));
    const uint32_t elsewhere = open_xrcd(tenant, kInode + 1);
    const uint32_t here = open_xrcd(second, kInode);
    expect_refused(VRDMA_CMD_OPEN_XRC_TARGET, vrdma_cmd_xrc_target{elsewhere, target.qpn, 0},
                   VRDMA_STATUS_NOT_FOUND, "no target with this number");
    const QueuePair ordinary = tenant.create_qp();
    expect_refused(VRDMA_CMD_OPEN_XRC_TARGET, vrdma_cmd_xrc_target{elsewhere, ordinary.qpn, 0},
                   VRDMA_STATUS_NOT_FOUND, "no target with this number");
    expect_refused(VRDMA_CMD_CREATE_XRC_TARGET, vrdma_cmd_xrc_target{elsewhere, 5, 0},
                   VRDMA_STATUS_INVALID, "reserved");
    const QueuePair same = open_target(second, here, target.qpn);
    EXPECT_EQ(same.qpn, target.qpn);
}

TEST_F(XrcCommands, every_opener_changes_and_asks_the_same_target) {
    const QueuePair target = create_target(tenant, open_xrcd(tenant, kInode));
    const QueuePair same = open_target(second, open_xrcd(second, kInode), target.qpn);
    to_init(second, same);
    EXPECT_EQ(tenant.state_of(target), VRDMA_QPS_INIT);
    EXPECT_EQ(tenant.query(target).access, Link{}.access);
    Tenant::EXPECT_DONE(tenant.to_state(target, VRDMA_QPS_ERR));
    EXPECT_EQ(second.state_of(same), VRDMA_QPS_ERR);
    Tenant::EXPECT_DONE(second.to_state(same, VRDMA_QPS_RESET));
    EXPECT_EQ(tenant.state_of(target), VRDMA_QPS_RESET);
}

TEST_F(XrcCommands, target_is_named_by_its_handle_and_not_by_its_place) {
    const QueuePair target = create_target(tenant, open_xrcd(tenant));
    const DeviceState::Home home = world.shard(0).state().home_of(target.qpn);
    for (const uint16_t opcode : {VRDMA_CMD_QUERY_QP, VRDMA_CMD_DESTROY_QP}) {
        expect_refused(opcode, vrdma_handle{home.slot, 0}, VRDMA_STATUS_NOT_FOUND,
                       "no such queue pair");
    }
    const CommandOutcome foreign =
        second.command(VRDMA_CMD_QUERY_QP, vrdma_handle{target.handle, 0});
    EXPECT_EQ(foreign.refusal.status, VRDMA_STATUS_NOT_FOUND);
}

TEST_F(XrcCommands, target_lives_until_its_last_handle) {
    const QueuePair target = create_target(tenant, open_xrcd(tenant, kInode));
    const uint32_t xrcd = open_xrcd(second, kInode);
    const QueuePair same = open_target(second, xrcd, target.qpn);
    tenant.tear_down();
    EXPECT_EQ(second.state_of(same), VRDMA_QPS_RESET);
    Tenant::EXPECT_DONE(second.destroy(VRDMA_CMD_DESTROY_QP, same.handle));
    EXPECT_EQ(world.shard(0).state().qps.used(), 0U);
    EXPECT_EQ(try_target(second, VRDMA_CMD_OPEN_XRC_TARGET, {xrcd, target.qpn, 0}).refusal.status,
              VRDMA_STATUS_NOT_FOUND);
}

TEST_F(XrcCommands, handles_of_a_target_are_bounded) {
    const uint32_t xrcd = open_xrcd(tenant);
    const QueuePair target = create_target(tenant, xrcd);
    for (uint32_t i = 1; i < kMaxTargetOpenings; ++i) {
        [[maybe_unused]] const QueuePair same = open_target(tenant, xrcd, target.qpn);
    }
    expect_refused(VRDMA_CMD_OPEN_XRC_TARGET, vrdma_cmd_xrc_target{xrcd, target.qpn, 0},
                   VRDMA_STATUS_NO_RESOURCE, "as many handles");
}

TEST_F(XrcCommands, pools_have_an_end_and_are_whole_afterwards) {
    const uint32_t before = world.objects();
    exhaust([&] { return try_open_xrcd(second, kCreate); });
    second.tear_down();
    const uint32_t xrcd = open_xrcd(tenant);
    exhaust([&] { return try_target(tenant, VRDMA_CMD_CREATE_XRC_TARGET, {xrcd, 0, 0}); });
    tenant.tear_down();
    EXPECT_LT(world.objects(), before);
    EXPECT_EQ(world.shard(0).state().xrcd_openings.used(), 0U);
    EXPECT_EQ(world.shard(0).state().target_openings.used(), 0U);
    EXPECT_EQ(world.shard(0).state().qps.used(), 0U);
}

TEST_F(XrcCommands, end_of_a_context_frees_all_it_had) {
    const uint32_t before = world.objects();
    {
        Tenant mortal(world, tenant.vnic);
        const uint32_t xrcd = open_xrcd(mortal, kInode);
        [[maybe_unused]] const XrcRing srq = create_xrc_srq(mortal, xrcd);
        [[maybe_unused]] const QueuePair target = create_target(mortal, xrcd);
        [[maybe_unused]] const QueuePair initiator = mortal.create_qp({.type = VRDMA_QPT_XRC_SEND});
        mortal.tear_down();
    }
    EXPECT_EQ(world.objects(), before);
}

}  // namespace
}  // namespace vrdma::test
