// ATTACH_MCAST and DETACH_MCAST: each refusal, and the limits.
#include "command_test_base.h"

namespace vrdma::test {
namespace {

const vrdma_gid_entry kGroup = World::ipv4_gid(0xe0010203);

class MulticastCommands : public CommandTest {
  protected:
    MulticastCommands() { qp = tenant.create_qp({.type = VRDMA_QPT_UD}); }

    [[nodiscard]] static vrdma_cmd_mcast request(uint32_t handle, const vrdma_gid_entry& group) {
        vrdma_cmd_mcast body{handle, 0, {}};
        std::memcpy(body.gid, group.gid, sizeof body.gid);
        return body;
    }
    template <class Use>
    void for_both(const Use& use) {
        use(uint16_t{VRDMA_CMD_ATTACH_MCAST});
        use(uint16_t{VRDMA_CMD_DETACH_MCAST});
    }

    QueuePair qp;
};

TEST_F(MulticastCommands, malformed_bodies_are_refused) {
    for_both([&](uint16_t opcode) {
        expect_bad_length(opcode);
        vrdma_cmd_mcast body = request(qp.handle, kGroup);
        body.reserved = 1;
        expect_refused(opcode, body, VRDMA_STATUS_INVALID, "reserved");
    });
}

TEST_F(MulticastCommands, handles_of_nobody_and_of_others_are_refused) {
    const QueuePair foreign = other.create_qp({.type = VRDMA_QPT_UD});
    for_both([&](uint16_t opcode) {
        for (const uint32_t handle : {foreign.handle, 200U, UINT32_MAX}) {
            expect_refused(opcode, request(handle, kGroup), VRDMA_STATUS_NOT_FOUND, "queue pair");
        }
    });
}

TEST_F(MulticastCommands, connected_queue_pairs_are_refused) {
    const QueuePair connected = tenant.create_qp();
    for_both([&](uint16_t opcode) {
        expect_refused(opcode, request(connected.handle, kGroup), VRDMA_STATUS_INVALID, "UD");
    });
}

TEST_F(MulticastCommands, addresses_that_are_no_groups_are_refused) {
    vrdma_gid_entry link_local{};
    link_local.gid[0] = 0xfe;
    link_local.gid[1] = 0x80;
    for_both([&](uint16_t opcode) {
        for (const vrdma_gid_entry& gid :
             {World::ipv4_gid(kAddressB), World::ipv4_gid(0xdfffffff), World::ipv4_gid(0xf0000000),
              World::ipv4_gid(0xffffffff), link_local, vrdma_gid_entry{}}) {
            expect_refused(opcode, request(qp.handle, gid), VRDMA_STATUS_INVALID, "multicast GID");
        }
    });
}

TEST_F(MulticastCommands, both_ends_of_the_ranges_of_groups_are_accepted) {
    vrdma_gid_entry six{};
    six.gid[0] = 0xff;
    for (const vrdma_gid_entry& gid :
         {World::ipv4_gid(0xe0000000), World::ipv4_gid(0xefffffff), six}) {
        Tenant::EXPECT_DONE(tenant.attach(qp, gid));
        Tenant::EXPECT_DONE(tenant.detach(qp, gid));
    }
}

TEST_F(MulticastCommands, attaching_twice_is_once) {
    Tenant::EXPECT_DONE(tenant.attach(qp, kGroup));
    Tenant::EXPECT_DONE(tenant.attach(qp, kGroup));
    Tenant::EXPECT_DONE(tenant.detach(qp, kGroup));
    expect_refused(VRDMA_CMD_DETACH_MCAST, request(qp.handle, kGroup), VRDMA_STATUS_INVALID,
                   "not attached");
}

TEST_F(MulticastCommands, detaching_what_is_not_attached_is_refused) {
    const QueuePair second = tenant.create_qp({.type = VRDMA_QPT_UD});
    Tenant::EXPECT_DONE(tenant.attach(second, kGroup));
    expect_refused(VRDMA_CMD_DETACH_MCAST, request(qp.handle, kGroup), VRDMA_STATUS_INVALID,
                   "not attached");
    Tenant::EXPECT_DONE(tenant.attach(qp, World::ipv4_gid(0xe0000005)));
    expect_refused(VRDMA_CMD_DETACH_MCAST, request(qp.handle, kGroup), VRDMA_STATUS_INVALID,
                   "not attached");
}

TEST_F(MulticastCommands, queue_pairs_of_one_vnic_in_a_group_are_limited) {
    for (uint32_t i = 0; i < VRDMA_MAX_MCAST_QPS; ++i) {
        Tenant::EXPECT_DONE(tenant.attach(tenant.create_qp({.type = VRDMA_QPT_UD}), kGroup));
    }
    expect_refused(VRDMA_CMD_ATTACH_MCAST, request(qp.handle, kGroup), VRDMA_STATUS_NO_RESOURCE,
                   "queue pairs of the vNIC");
    Tenant::EXPECT_DONE(other.attach(other.create_qp({.type = VRDMA_QPT_UD}), kGroup));
}

TEST_F(MulticastCommands, groups_of_one_vnic_are_limited) {
    for (uint32_t i = 0; i < VRDMA_MAX_MCAST_GROUPS; ++i) {
        Tenant::EXPECT_DONE(tenant.attach(qp, World::ipv4_gid(0xe1000000 + i)));
    }
    expect_refused(VRDMA_CMD_ATTACH_MCAST, request(qp.handle, kGroup), VRDMA_STATUS_NO_RESOURCE,
                   "as many groups");
    Tenant::EXPECT_DONE(tenant.detach(qp, World::ipv4_gid(0xe1000000)));
    Tenant::EXPECT_DONE(tenant.attach(qp, kGroup));
}

TEST_F(MulticastCommands, attachments_of_one_vnic_are_limited) {
    constexpr uint32_t kEach = VRDMA_MAX_MCAST_ATTACHMENTS / VRDMA_MAX_MCAST_GROUPS;
    for (uint32_t k = 0; k < kEach; ++k) {
        const QueuePair member = tenant.create_qp({.type = VRDMA_QPT_UD});
        for (uint32_t i = 0; i < VRDMA_MAX_MCAST_GROUPS; ++i) {
            Tenant::EXPECT_DONE(tenant.attach(member, World::ipv4_gid(0xe1000000 + i)));
        }
    }
    expect_refused(VRDMA_CMD_ATTACH_MCAST, request(qp.handle, World::ipv4_gid(0xe1000000)),
                   VRDMA_STATUS_NO_RESOURCE, "as many attachments");
}

TEST_F(MulticastCommands, driver_that_did_not_negotiate_them_is_refused_as_by_an_older_service) {
    Tenant old(world, tenant.vnic, 0, ~VRDMA_FEATURE_MULTICAST);
    const QueuePair own = old.create_qp({.type = VRDMA_QPT_UD});
    EXPECT_EQ(old.attach(own, kGroup).refusal.status, VRDMA_STATUS_UNSUPPORTED);
    EXPECT_EQ(old.detach(own, kGroup).refusal.status, VRDMA_STATUS_UNSUPPORTED);
    std::byte* at = nullptr;
    vrdma_cmd_create_qp create{};
    create.memory = old.place(4096, at);
    create.pd = old.pd;
    create.type = VRDMA_QPT_UD;
    create.send_cq = create.recv_cq = old.cq.handle;
    create.srq = VRDMA_NO_HANDLE;
    create.flags = VRDMA_QP_BLOCK_MCAST_LOOPBACK;
    EXPECT_EQ(old.command(VRDMA_CMD_CREATE_QP, create).refusal.status, VRDMA_STATUS_INVALID);
}

}  // namespace
}  // namespace vrdma::test
