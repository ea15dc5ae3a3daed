// Finding peers by address and number: what is remembered must never be what was true once.
#include <random>

#include "pair.h"

namespace vrdma::test {
namespace {

TEST(QueuePairNumbers, are_never_special_and_lead_back_to_their_entry) {
    for (const uint32_t shards : {1U, 2U}) {
        World world(WorldOptions{.shards = shards});
        for (uint32_t shard = 0; shard < shards; ++shard) {
            DeviceState& state = world.shard(shard).state();
            for (uint32_t slot = 0; slot < 256; ++slot) {
                uint32_t generation = 0;
                for (int i = 0; i < 256; ++i) {
                    const uint32_t qpn = state.make_qpn(slot, generation);
                    ASSERT_GT(qpn, 1U);
                    ASSERT_LT(qpn, 0xffffffU);
                    const DeviceState::Home home = state.home_of(qpn);
                    ASSERT_EQ(home.shard, shard);
                    ASSERT_EQ(home.slot, slot);
                }
            }
        }
    }
}

TEST(QueuePairNumbers, number_of_a_destroyed_queue_pair_finds_nothing) {
    World world;
    Tenant tenant(world, world.add_vnic(kNetwork, kAddressA));
    const QueuePair qp = tenant.create_qp();
    DeviceState& state = world.shard(0).state();
    EXPECT_EQ(state.find_qp(qp.qpn), qp.handle);
    EXPECT_FALSE(state.find_qp(qp.qpn | 1U << 24).has_value());
    EXPECT_FALSE(state.find_qp(0).has_value());
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, qp.handle));
    EXPECT_FALSE(state.find_qp(qp.qpn).has_value());
}

// Against a search of the whole table, while vNICs come, go, and go down.
TEST(Addresses, what_is_found_is_always_what_the_table_says) {
    World world;
    std::mt19937 engine(7);
    const auto random = [&engine] { return static_cast<uint32_t>(engine()); };
    DeviceState& state = world.shard(0).state();
    constexpr uint32_t kNetworks = 3;
    constexpr uint32_t kHosts = 40;
    for (uint32_t i = 0; i < 100; ++i) {
        world.add_vnic(random() % kNetworks, 0x0a000000 + random() % kHosts * 8 * 256);
    }
    const auto search = [&](uint32_t network, const vrdma_gid_entry& gid) {
        for (uint32_t i = 0; i < 100; ++i) {
            const Vnic& vnic = state.vnics[i];
            for (const vrdma_gid_entry& entry : vnic.gids) {
                if (vnic.present && vnic.network == network &&
                    std::memcmp(&entry, &gid, sizeof gid) == 0) {
                    return i;
                }
            }
        }
        return kNone;
    };
    for (int i = 0; i < 20'000; ++i) {
        const uint32_t network = random() % kNetworks;
        const vrdma_gid_entry gid = random() % 2 == 0
                                        ? World::ipv4_gid(0x0a000000 + random() % kHosts * 8 * 256)
                                        : world.vnic(random() % 100).gids[random() % 2 * 3];
        ASSERT_EQ(state.find_vnic(network, gid), search(network, gid)) << i;
        if (i % 50 == 0) {
            const uint32_t index = random() % 100;
            Vnic changed = state.vnics[index];
            changed.present = random() % 4 != 0;
            changed.up = random() % 2 == 0;
            changed.network = random() % kNetworks;
            world.shard(0).set_vnic(index, changed);
        }
    }
    EXPECT_EQ(state.find_vnic(0, vrdma_gid_entry{}), kNone);
}

using FreshConnections = Pair;

// Thousands of short connections, as a benchmark started over and over: none may find its peer
// unreachable.
TEST_P(FreshConnections, first_read_of_every_fresh_connection_succeeds) {
    std::mt19937 engine(11);
    const auto random = [&engine] { return static_cast<uint32_t>(engine()); };
    const Buffer to = a.buffer(64);
    const Buffer from = b.buffer(64);
    const uint32_t other = world.add_vnic(kNetwork, 0x0a000077);
    const uint32_t twin = world.add_vnic(kNetwork + 1, kAddressB);  // the same address elsewhere
    Tenant c(world, twin, 0);
    QueuePair stranger = c.create_qp({.type = VRDMA_QPT_UD});
    connect(c, stranger, {}, 0);
    for (int i = 0; i < 3000; ++i) {
        left = a.create_qp({.sq_entries = 4, .rq_entries = 0});
        right = b.create_qp({.sq_entries = 0, .rq_entries = 0});
        const uint32_t index = random() % 2 * 3;
        if (random() % 2 == 0) {
            connect(a, left, gid_of(b, index), right.qpn, {.timeout = 1, .retry_count = 0});
            connect(b, right, gid_of(a, index), left.qpn);
        } else {
            connect(b, right, gid_of(a, index), left.qpn);
            connect(a, left, gid_of(b, index), right.qpn, {.timeout = 1, .retry_count = 0});
        }
        if (random() % 3 == 0) {
            world.set_up(other, random() % 2 == 0);
        }
        if (random() % 3 == 0) {  // fills the memory of addresses with what does not exist
            c.post(stranger,
                   {.gid = World::ipv4_gid(kAddressB + (random() % 4 << 16)), .sgid_index = 3});
        }
        a.post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                      .wr_id = static_cast<uint64_t>(i),
                      .sges = {to.sge()},
                      .remote_address = from.address(),
                      .rkey = from.key});
        world.settle();
        const vrdma_cqe done = next(a.cq);
        ASSERT_EQ(done.status, VRDMA_WC_SUCCESS) << i << " reason " << int{done.vendor_err};
        c.cq.poll_all();
        if (random() % 2 == 0) {
            Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, left.handle));
            Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, right.handle));
        } else {
            Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, right.handle));
            Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, left.handle));
        }
    }
}

ON_ONE_AND_TWO_SHARDS(FreshConnections);

}  // namespace
}  // namespace vrdma::test
