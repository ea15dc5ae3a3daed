// What a vNIC says of the MTU of its network's port, and what follows from it.
#include <cstring>

#include "dataplane/wire/build.h"
#include "wire_host.h"

namespace vrdma::test {
namespace {

constexpr uint32_t kDown = 1;
constexpr uint32_t kActive = 4;

class PortMtu : public testing::Test {
  protected:
    // The longest IP packet of the port.
    void set(uint32_t bytes) {
        host.port.longest = static_cast<uint32_t>(wire::kEthernetBytes) + bytes;
        host.world.shard(0).port_changed(kNetwork);
    }
    static vrdma_rsp_query_port query(Tenant& tenant) {
        Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_QUERY_PORT));
        return tenant.response<vrdma_rsp_query_port>();
    }
    uint32_t active_mtu() { return query(*host.tenant).mtu; }

    // To RTR, toward somebody behind the port.
    CommandOutcome connect(uint8_t type, const vrdma_gid_entry& peer, uint32_t path_mtu) {
        const QueuePair qp = host.tenant->create_qp({.type = type});
        to_init(*host.tenant, qp);
        vrdma_qp_attributes attributes{};
        attributes.state = VRDMA_QPS_RTR;
        attributes.path_mtu = static_cast<uint8_t>(path_mtu);
        attributes.dest_qpn = 5;
        attributes.address.sgid_index = peer.gid[0] == 0xfe ? 1 : 3;
        std::memcpy(attributes.address.gid, peer.gid, sizeof peer.gid);
        const CommandOutcome outcome = host.tenant->modify(
            qp,
            VRDMA_QP_STATE | VRDMA_QP_AV | VRDMA_QP_PATH_MTU | VRDMA_QP_DEST_QPN | VRDMA_QP_RQ_PSN,
            attributes);
        Tenant::EXPECT_DONE(host.tenant->destroy(VRDMA_CMD_DESTROY_QP, qp.handle));
        return outcome;
    }

    Host host{kAddressA, 1, transport::PeerPolicy::Standard};
};

TEST_F(PortMtu, largest_whose_packets_fit_the_port_is_active) {
    struct Case {
        uint32_t port;
        uint32_t active;
    };
    for (const Case& one : {Case{68, 1}, Case{344, 1}, Case{599, 1}, Case{600, 2}, Case{1111, 2},
                            Case{1112, 3}, Case{1500, 3}, Case{2135, 3}, Case{2136, 4},
                            Case{4183, 4}, Case{4184, 5}, Case{9000, 5}}) {
        set(one.port);
        EXPECT_EQ(active_mtu(), one.active) << one.port;
    }
}

// IBA 11.2.5.2: the path MTU is one of those up to the port's; the active one is never refused.
TEST_F(PortMtu, active_one_is_accepted_of_every_queue_pair_and_peer) {
    const vrdma_gid_entry v4 = World::ipv4_gid(0x0a000063);
    const vrdma_gid_entry v6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};
    for (const uint32_t port : {344U, 599U, 600U, 1112U, 1500U, 2136U, 4183U, 4184U}) {
        set(port);
        for (const uint8_t type : {VRDMA_QPT_RC, VRDMA_QPT_UC, VRDMA_QPT_XRC_SEND}) {
            for (const vrdma_gid_entry& peer : {v4, v6}) {
                EXPECT_EQ(connect(type, peer, active_mtu()).kind, CommandOutcome::Kind::Done)
                    << port;
            }
        }
        if (active_mtu() < 5) {
            const CommandOutcome refused = connect(VRDMA_QPT_XRC_SEND, v6, active_mtu() + 1);
            EXPECT_EQ(refused.kind, CommandOutcome::Kind::Refused) << port;
        }
    }
}

TEST_F(PortMtu, vnic_of_a_network_without_a_port_has_the_largest) {
    set(1500);
    Tenant other(host.world, host.world.add_vnic(kNetwork + 1, kAddressA));
    EXPECT_EQ(query(other).mtu, 5U);
}

TEST_F(PortMtu, port_whose_device_was_never_there_says_nothing_yet) {
    set(0);
    EXPECT_EQ(active_mtu(), 5U);
}

TEST_F(PortMtu, vnic_that_is_added_or_set_has_that_of_the_port) {
    set(1500);
    Tenant late(host.world, host.world.add_vnic(kNetwork, kAddressB));
    EXPECT_EQ(query(late).mtu, 3U);
    host.world.set_up(late.vnic, false);
    EXPECT_EQ(query(late).state, kDown);
    EXPECT_EQ(query(late).mtu, 3U);
    host.world.set_up(late.vnic, true);
    EXPECT_EQ(query(late).state, kActive);
    EXPECT_EQ(query(late).mtu, 3U);
}

// IBA 11.6.3.3: of the unaffiliated events, the one after which programs ask for the port anew.
TEST_F(PortMtu, change_is_told_once_to_vnics_of_the_network_that_are_up) {
    Tenant other(host.world, host.world.add_vnic(kNetwork + 1, kAddressA));
    Tenant down(host.world, host.world.add_vnic(kNetwork, kAddressB));
    host.world.set_up(down.vnic, false);
    set(1500);
    EXPECT_EQ(host.tenant->take_events(), std::vector<uint32_t>{VRDMA_EVENT_PORT_ACTIVE});
    set(1499);  // the same path MTUs fit
    EXPECT_TRUE(host.tenant->take_events().empty());
    set(4200);
    EXPECT_EQ(host.tenant->take_events(), std::vector<uint32_t>{VRDMA_EVENT_PORT_ACTIVE});
    EXPECT_TRUE(other.take_events().empty());
    EXPECT_TRUE(down.take_events().empty());
    EXPECT_EQ(query(down).mtu, 5U);
}

// IBA 9.8.3: a datagram is one packet. To whom it goes makes no difference.
TEST_F(PortMtu, datagrams_have_at_most_the_active_one) {
    set(1500);
    const vrdma_gid_entry near = World::ipv4_gid(kAddressA);
    const vrdma_gid_entry far = World::ipv4_gid(0x0a000063);
    const vrdma_gid_entry group = World::ipv4_gid(0xe0010203);
    for (const vrdma_gid_entry& to : {near, far, group}) {
        QueuePair qp = host.tenant->create_qp({.type = VRDMA_QPT_UD});
        test::connect(*host.tenant, qp, {}, 0);
        const Buffer from = host.tenant->buffer(1025);
        const auto send = [&](uint64_t wr_id, uint32_t bytes) {
            host.tenant->post(qp, {.wr_id = wr_id,
                                   .sges = {from.sge(0, bytes)},
                                   .qpn = VRDMA_MCAST_QPN,
                                   .qkey = kQkey,
                                   .gid = to});
            for (int i = 0; i < 4; ++i) {
                host.turn();
            }
        };
        send(1, 1024);
        expect_success(next(host.tenant->cq), 1, VRDMA_WC_SEND);
        send(2, 1025);
        expect_failure(next(host.tenant->cq), 2, VRDMA_WC_LOC_LEN_ERR, VRDMA_REASON_WQE_LENGTH);
    }
    size_t longest = 0;
    for (const MemoryPort::Frame& frame : host.port.take_sent()) {
        longest = std::max(longest, frame.size());
    }
    EXPECT_EQ(longest, wire::frame_bytes(wire::Opcode::UdSendOnly, false, 1024)) << "to the group";
}

}  // namespace
}  // namespace vrdma::test
