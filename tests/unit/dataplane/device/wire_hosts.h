// Two hosts joined by a wire in memory: the queue pairs of one talk to those of the other.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pair.h"
#include "tests/unit/dataplane/net/memory_port.h"

namespace vrdma::test {

inline constexpr uint32_t kPortMtu4200 = 4214;  // with the Ethernet header

inline net::LinkOptions link_options() {
    net::LinkOptions result;
    result.network = kNetwork;
    return result;
}

struct Host {
    Host(uint32_t address, uint8_t mac, transport::PeerPolicy policy, bool spray)
        : owner(std::make_unique<net::Link>(port, link_options())), link(*owner) {
        port.longest = kPortMtu4200;
        port.address = {2, 0, 0, 0, 0, mac};
        vnic = world.add_vnic(kNetwork, address);
        std::vector<net::LocalAddress> own;
        for (const uint32_t index : {0U, 3U}) {
            net::LocalAddress entry{{}, vnic};
            const vrdma_gid_entry gid = world.vnic(vnic).gids[index];
            std::copy(std::begin(gid.gid), std::end(gid.gid), entry.address.bytes.begin());
            own.push_back(entry);
        }
        link.set_local_addresses(own);
        world.shard(0).wire().add_link(link, policy, spray);
        tenant = std::make_unique<Tenant>(world, vnic);
    }
    ~Host() {
        tenant.reset();
        world.shard(0).wire().close();
        owner.reset();
        EXPECT_EQ(port.buffers_out(), 0U) << "a buffer of the port was not given back";
    }

    bool turn() {
        const bool received = link.turn(world.now(), world.shard(0).wire());
        return world.turn() || received;
    }
    [[nodiscard]] uint64_t count(Counter counter) const { return world.total(vnic, counter); }
    [[nodiscard]] uint64_t dropped(transport::DropReason reason) {
        return world.shard(0).state().counters[vnic].wire_drops[static_cast<size_t>(reason)];
    }

    MemoryPort port;
    World world;
    std::unique_ptr<net::Link> owner;
    net::Link& link;
    uint32_t vnic = 0;
    std::unique_ptr<Tenant> tenant;
};

class Wire : public testing::TestWithParam<transport::PeerPolicy> {
  protected:
    explicit Wire(bool spray = false)
        : near(kAddressA, 1, GetParam(), spray), far(kAddressB, 2, GetParam(), spray) {}

    // Until nothing moves. `filter` sees every frame that leaves a host; false: it is lost.
    void settle() {
        for (int quiet = 0, i = 0; quiet < 4 && i < 100000; ++i) {
            bool moved = near.turn();
            moved |= far.turn();
            moved |= carry(near, far);
            moved |= carry(far, near);
            quiet = moved ? 0 : quiet + 1;
        }
    }
    bool carry(Host& from, Host& to) {
        bool moved = false;
        for (MemoryPort::Frame& frame : from.port.take_sent()) {
            moved = true;
            if (!filter || filter(frame)) {
                to.port.arrive(std::move(frame));
            }
        }
        return moved;
    }
    void advance(Duration duration) {
        constexpr Duration kStep = Duration::microseconds(500);
        for (int64_t passed = 0; passed < duration.ns; passed += kStep.ns) {
            near.world.advance(kStep);
            far.world.advance(kStep);
            settle();
        }
    }

    void connect_pair(const QpOptions& options = {}, const Link& left_link = {}) {
        left = near.tenant->create_qp(options);
        right = far.tenant->create_qp(options);
        connect(*near.tenant, left, gid_of(*far.tenant), right.qpn, left_link);
        connect(*far.tenant, right, gid_of(*near.tenant), left.qpn, Link{});
        settle();
        advance(Duration::milliseconds(60));  // they have asked each other what they speak
    }

    std::function<bool(const MemoryPort::Frame&)> filter;
    Host near;
    Host far;
    QueuePair left;
    QueuePair right;
};

inline std::string policy_name(const testing::TestParamInfo<transport::PeerPolicy>& policy) {
    switch (policy.param) {
        case transport::PeerPolicy::Auto:
            return "auto";
        case transport::PeerPolicy::Vrdma:
            return "vrdma";
        case transport::PeerPolicy::Standard:
            return "standard";
    }
    return "";
}

}  // namespace vrdma::test
