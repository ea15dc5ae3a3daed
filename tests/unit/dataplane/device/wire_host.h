// A host with one vNIC and one tenant, whose port is in memory.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/net/link.h"
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
    Host(uint32_t address, uint8_t mac, transport::PeerPolicy policy, bool spray = false)
        : owner(std::make_unique<net::Link>(port, link_options())), link(*owner) {
        port.longest = kPortMtu4200;
        port.address = {2, 0, 0, 0, 0, mac};
        world.shard(0).wire().add_link(link, policy, spray);
        vnic = world.add_vnic(kNetwork, address);
        std::vector<net::LocalAddress> own;
        for (const uint32_t index : {0U, 3U}) {
            net::LocalAddress entry{{}, vnic};
            const vrdma_gid_entry gid = world.vnic(vnic).gids[index];
            std::copy(std::begin(gid.gid), std::end(gid.gid), entry.address.bytes.begin());
            own.push_back(entry);
        }
        link.set_local_addresses(own);
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

}  // namespace vrdma::test
