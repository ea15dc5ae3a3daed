// The end of things: destroying while work runs, the end of a context, and what its peers learn.
#include "pair.h"

namespace vrdma::test {
namespace {

class Lifetime : public Pair {
  protected:
    static constexpr uint32_t kLong = 32U << 20;

    // A long write from left to right, under way.
    void start_long_write() {
        source = a.buffer(kLong);
        sink = b.buffer(kLong);
        a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                      .wr_id = 1,
                      .sges = {source.sge()},
                      .remote_address = sink.address(),
                      .rkey = sink.key});
        for (int i = 0; i < 3; ++i) {
            world.turn();
        }
    }
    // Turns of the world until the command is not deferred any more.
    template <class Body>
    int turns_until_done(uint16_t opcode, const Body& body) {
        for (int turns = 0; turns < 1000; ++turns) {
            const CommandOutcome outcome = a.command(opcode, body);
            if (outcome.kind != CommandOutcome::Kind::Deferred) {
                Tenant::EXPECT_DONE(outcome);
                return turns;
            }
            world.turn();
        }
        ADD_FAILURE() << "deferred for ever";
        return -1;
    }
    Buffer source;
    Buffer sink;
};

// ---- commands while another shard has a slice

TEST_P(Lifetime, destroy_waits_for_one_slice_not_for_the_message) {
    connect_pair();
    start_long_write();
    EXPECT_LE(turns_until_done(VRDMA_CMD_DESTROY_QP, vrdma_handle{left.handle, 0}), 4);
    EXPECT_EQ(sink.data[kLong - 1], std::byte{0});
    world.settle();
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Lifetime, reset_waits_for_one_slice_not_for_the_message) {
    connect_pair();
    source = a.buffer(kLong);
    source.fill(1);
    start_long_write();
    const vrdma_cmd_modify_qp reset{left.handle, VRDMA_QP_STATE, {}};
    EXPECT_LE(turns_until_done(VRDMA_CMD_MODIFY_QP, reset), 4);
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_RESET);
    world.settle();
    EXPECT_NO_COMPLETION(a.cq);
}

TEST_P(Lifetime, queue_pair_works_again_after_a_reset_that_had_to_wait) {
    connect_pair();
    start_long_write();
    const vrdma_cmd_modify_qp reset{left.handle, VRDMA_QP_STATE, {}};
    turns_until_done(VRDMA_CMD_MODIFY_QP, reset);
    left.sq_producer = left.header->sq_producer = 0;
    connect(a, left, gid_of(b), right.qpn);
    b.post_receive(right, 4, {});
    a.post(left, {.wr_id = 3});
    world.settle();
    expect_success(next(a.cq), 3, VRDMA_WC_SEND);
}

// What begins after the request must not delay it: another queue pair never rests.
TEST_P(Lifetime, region_is_removed_while_other_queue_pairs_are_busy) {
    connect_pair();
    start_long_write();
    std::byte* memory = a.allocate(8192);
    const uint32_t region = a.add_region(memory, 8192);
    EXPECT_LE(turns_until_done(VRDMA_CMD_REMOVE_REGION, vrdma_handle{region, 0}), 4);
    EXPECT_EQ(world.unmapped(), std::vector<std::byte*>{memory});
    EXPECT_EQ(sink.data[kLong - 1], std::byte{0}) << "the write was to be still under way";
    // And once more: the second time is not confused by the first.
    const uint32_t again = a.add_region(memory, 8192);
    EXPECT_LE(turns_until_done(VRDMA_CMD_REMOVE_REGION, vrdma_handle{again, 0}), 4);
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
}

TEST_P(Lifetime, target_queue_pair_may_be_destroyed_under_a_message) {
    connect_pair({}, {.timeout = 10, .retry_count = 1});
    start_long_write();
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, right.handle));
    world.advance(Duration::milliseconds(20));
    expect_failure(next(a.cq), 1, VRDMA_WC_RETRY_EXC_ERR, VRDMA_REASON_PEER_SILENT);
}

TEST_P(Lifetime, destroyed_queue_pair_that_waits_leaves_no_timer) {
    connect_pair({}, {.rnr_retry = 7});
    a.post(left, {.wr_id = 1});
    world.settle();
    EXPECT_LT(world.next_deadline(), Instant::never());
    Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, left.handle));
    EXPECT_EQ(world.next_deadline(), Instant::never());
}

// A run queue entry of a destroyed queue pair must not act on the next one in its place.
TEST_P(Lifetime, slot_is_used_again_while_its_old_run_queue_entry_waits) {
    connect_pair();
    a.post(left, {.wr_id = 1});
    for (int i = 0; i < 1000; ++i) {
        QueuePair other = a.create_qp({.sq_entries = 1, .rq_entries = 0});
        a.ring(other);
        world.shard(0).state().run(other.handle);
        Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, other.handle));
        if (i % 300 == 0) {
            world.turn();
        }
    }
    world.settle();
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_RTS);
}

// ---- the end of a context

TEST_P(Lifetime, end_of_a_context_frees_all_it_had) {
    connect_pair();
    const uint32_t channel = a.create_channel();
    const CompletionRing with_channel = a.create_cq({.channel = channel});
    const SharedRing srq = a.create_srq();
    a.create_qp({.srq = srq.handle}, with_channel, a.cq);
    a.create_pd();
    const int file = world.new_file();
    std::byte* memory = a.allocate(3 * 4096);
    const uint32_t mapped = a.add_region(memory, 3 * 4096);
    const uint32_t process = a.add_process_region(memory, 3 * 4096, file);
    a.register_ranges({{mapped, 0, 0, 4096}, {process, 0, 4096, 4096}, {mapped, 0, 8192, 100}},
                      0x1000, {});
    const uint32_t objects_of_b = [&] {
        World fresh(WorldOptions{.shards = GetParam()});
        Tenant one(fresh, fresh.add_vnic(1, 1), GetParam() - 1);
        one.create_qp();
        return fresh.objects();
    }();
    a.tear_down();
    EXPECT_EQ(world.objects(), objects_of_b);
    EXPECT_EQ(world.closed_files().size(), 3U);  // channel, process memory, events
    EXPECT_EQ(world.unmapped().size(), 2U);
    b.tear_down();
    EXPECT_EQ(world.objects(), 0U);
}

TEST_P(Lifetime, contexts_end_while_traffic_runs_both_ways) {
    connect_pair();
    start_long_write();
    const Buffer from = b.buffer(kLong);
    const Buffer to = a.buffer(kLong);
    b.post(right, {.opcode = VRDMA_WQE_RDMA_READ,
                   .wr_id = 2,
                   .sges = {from.sge()},
                   .remote_address = to.address(),
                   .rkey = to.key});
    for (int i = 0; i < 3; ++i) {
        world.turn();
    }
    a.tear_down();
    world.settle();
    expect_failure(next(b.cq), 2, VRDMA_WC_RETRY_EXC_ERR, VRDMA_REASON_PEER_DEAD);
    b.tear_down();
    EXPECT_EQ(world.objects(), 0U);
    EXPECT_EQ(world.next_deadline(), Instant::never());
}

TEST_P(Lifetime, end_of_a_context_is_cut_into_bounded_pieces) {
    for (int i = 0; i < 100; ++i) {
        a.create_qp({.sq_entries = 1, .rq_entries = 1});
        a.buffer(8);
    }
    Commands::Teardown teardown{a.context};
    int pieces = 0;
    while (!world.shard(0).tear_down(teardown)) {
        ASSERT_LT(++pieces, 100);
    }
    EXPECT_GE(pieces, 5);
}

TEST_P(Lifetime, doorbell_of_an_ending_context_is_not_looked_at) {
    connect_pair();
    a.post_quietly(left, {.wr_id = 1});
    Commands::Teardown teardown{a.context};
    EXPECT_FALSE(world.shard(0).tear_down(teardown));
    a.ring_bit(0);
    world.settle();
    world.shard(0).kicked(a.context);
    world.settle();
    while (!world.shard(0).tear_down(teardown)) {
        world.turn();
    }
    world.shard(0).kicked(a.context);
    world.settle();
    EXPECT_NO_COMPLETION(b.cq);
}

// ---- what peers learn

class PeerDeath : public Lifetime {};

TEST_P(PeerDeath, idle_peer_of_a_crashed_tenant_fails_at_once) {
    connect_pair();
    b.post_receive(right, 5, {});
    a.tear_down();
    world.settle();
    EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_FATAL});
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_ERR);
    expect_flushed(next(b.cq), 5);
    EXPECT_EQ(world.total(b.vnic, Counter::PeersLost), 1U);
}

TEST_P(PeerDeath, waiting_send_to_a_crashed_tenant_fails_at_once) {
    connect_pair({}, {.rnr_retry = 7});
    b.post_quietly(right, {.wr_id = 1});
    b.post(right, {.wr_id = 2});
    world.settle();
    a.tear_down();
    world.settle();
    expect_failure(next(b.cq), 1, VRDMA_WC_RETRY_EXC_ERR, VRDMA_REASON_PEER_DEAD);
    expect_flushed(next(b.cq), 2);
}

// The news comes while a slice is on its way: it is not forgotten whatever the answer is.
TEST_P(PeerDeath, message_under_way_to_a_crashed_tenant_fails_at_once) {
    connect_pair({}, {.timeout = 0});
    start_long_write();
    b.tear_down();
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_RETRY_EXC_ERR, VRDMA_REASON_PEER_DEAD);
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
}

TEST_P(PeerDeath, tenant_that_closed_leaves_its_peers_alone) {
    connect_pair();
    a.close();
    a.tear_down();
    world.settle();
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
    EXPECT_TRUE(b.take_events().empty());
}

TEST_P(PeerDeath, queue_pair_destroyed_before_the_crash_tells_nobody) {
    connect_pair();
    Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, left.handle));
    a.tear_down();
    world.settle();
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

// Only a queue pair that is connected to the dead one learns of it.
TEST_P(PeerDeath, queue_pair_connected_elsewhere_is_not_told) {
    const uint32_t third = world.add_vnic(kNetwork, 0x0a000003);
    left = a.create_qp();
    right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, world.vnic(third).gids[3], left.qpn);  // the number, but not the address
    a.tear_down();
    world.settle();
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
    EXPECT_TRUE(b.take_events().empty());
}

TEST_P(PeerDeath, peer_of_another_network_is_not_told) {
    const uint32_t foreign = world.add_vnic(kNetwork + 1, kAddressA);
    Tenant c(world, foreign, a.shard_index);
    QueuePair crashing = c.create_qp();
    right = b.create_qp();
    connect(b, right, World::ipv4_gid(kAddressA), crashing.qpn);
    connect(c, crashing, World::ipv4_gid(kAddressB), right.qpn);
    c.tear_down();
    world.settle();
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(PeerDeath, unreliable_peers_are_not_told) {
    connect_pair({.type = VRDMA_QPT_UC});
    a.tear_down();
    world.settle();
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

// Inline data of a slice stands in the queue pair itself: its place must not be given to another
// tenant while a shard still reads it.
TEST(SlicesInFlight, queue_pair_outlives_the_slice_that_reads_its_inline_data) {
    World world(WorldOptions{.shards = 2});
    Tenant a(world, world.add_vnic(kNetwork, kAddressA), 0);
    Tenant b(world, world.add_vnic(kNetwork, kAddressB), 1);
    QueuePair left = a.create_qp();
    const QueuePair right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    const Buffer to = b.buffer(16);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .flags = VRDMA_WQE_INLINE,
                  .inline_data = "of the dead",
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.shard(0).turn(world.now());
    Commands::Teardown teardown{a.context};
    for (int i = 0; i < 20; ++i) {
        ASSERT_FALSE(world.shard(0).tear_down(teardown));
        world.shard(0).turn(world.now());
        ASSERT_EQ(world.shard(0).state().qps[left.handle].qpn, left.qpn);
    }
    world.shard(1).turn(world.now());
    EXPECT_EQ(to.text(0, 11), "of the dead");
    for (int i = 0; i < 20 && !world.shard(0).tear_down(teardown); ++i) {
        world.shard(0).turn(world.now());
    }
    EXPECT_EQ(world.shard(0).state().qps.used(), 0U);
}

// After the answer the device touches the memory no more: the program may unmap it at once and map
// something else there, which an access to process memory would hit.
TEST(SlicesInFlight, dereg_is_answered_after_the_slice_that_writes_the_memory) {
    World world(WorldOptions{.shards = 2});
    Tenant a(world, world.add_vnic(kNetwork, kAddressA), 0);
    Tenant b(world, world.add_vnic(kNetwork, kAddressB), 1);
    QueuePair left = a.create_qp();
    const QueuePair right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    const Buffer from = b.buffer(4096);
    from.fill(7);
    const Buffer to = a.buffer(4096);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                  .sges = {to.sge()},
                  .remote_address = from.address(),
                  .rkey = from.key});
    world.shard(0).turn(world.now());
    for (int i = 0; i < 20; ++i) {
        const CommandOutcome outcome = a.command(VRDMA_CMD_DEREG_MR, vrdma_handle{to.handle, 0});
        ASSERT_EQ(outcome.kind, CommandOutcome::Kind::Deferred);
        world.shard(0).turn(world.now());
    }
    world.shard(1).turn(world.now());
    world.shard(0).turn(world.now());
    Tenant::EXPECT_DONE(a.command(VRDMA_CMD_DEREG_MR, vrdma_handle{to.handle, 0}));
    EXPECT_EQ(to.text(), from.text());
}

ON_ONE_AND_TWO_SHARDS(Lifetime);
ON_ONE_AND_TWO_SHARDS(PeerDeath);

// ---- the pool of slices

TEST(Slices, more_queue_pairs_than_slices_all_get_through) {
    WorldOptions options{.shards = 2};
    options.limits.qps = 2048;
    World world(options);
    Tenant a(world, world.add_vnic(kNetwork, kAddressA), 0);
    Tenant b(world, world.add_vnic(kNetwork, kAddressB), 1);
    const CompletionRing large = a.create_cq({.entries = 2048});
    CompletionRing done = large;
    const Buffer from = a.buffer(200'000);
    const Buffer to = b.buffer(200'000);
    from.fill(1);
    std::vector<QueuePair> left;
    constexpr size_t kPairs = 1500;
    for (size_t i = 0; i < kPairs; ++i) {
        left.push_back(a.create_qp({.sq_entries = 1, .rq_entries = 0}, large, a.cq));
        const QueuePair right = b.create_qp({.sq_entries = 0, .rq_entries = 0});
        connect(a, left[i], gid_of(b), right.qpn);
        connect(b, right, gid_of(a), left[i].qpn);
    }
    for (size_t i = 0; i < kPairs; ++i) {
        a.post(left[i], {.opcode = VRDMA_WQE_RDMA_WRITE,
                         .wr_id = i,
                         .sges = {from.sge()},
                         .remote_address = to.address(),
                         .rkey = to.key});
    }
    for (int i = 0; i < 100; ++i) {  // the other shard does not answer yet
        world.shard(0).turn(world.now());
    }
    EXPECT_TRUE(world.shard(0).state().free_slices.empty());
    world.settle();
    EXPECT_EQ(done.poll_all().size(), kPairs);
    EXPECT_EQ(to.text(), from.text());
    a.tear_down();
    b.tear_down();
    EXPECT_EQ(world.objects(), 0U);
}

}  // namespace
}  // namespace vrdma::test
