// Work that a tenant can make large is done in pieces: all of it, in order, and others have their
// turns in between.
#include "pair.h"

namespace vrdma::test {
namespace {

class Pieces : public Pair {
  protected:
    static constexpr uint32_t kMany = 4096;
};

TEST_P(Pieces, long_flush_leaves_others_their_turns_and_loses_nothing) {
    CompletionRing large = a.create_cq({.entries = 4 * kMany});
    left = a.create_qp({.sq_entries = kMany, .rq_entries = kMany}, large, large);
    connect(a, left, gid_of(b), 5, {.timeout = 0});
    for (uint64_t i = 0; i < kMany; ++i) {
        a.post_quietly(left, {.wr_id = i, .flags = 0});
        a.post_receive(left, kMany + i, {});
    }
    a.ring(left);
    world.settle();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_ERR));
    EXPECT_LT(large.poll_all().size(), kMany) << "it was to be cut into pieces";
    Tenant c(world, world.add_vnic(kNetwork, 0x0a000003), 0);
    QueuePair self = c.create_qp();
    connect(c, self, gid_of(c), self.qpn);
    c.post_receive(self, 1, {});
    c.post(self, {.wr_id = 2});
    world.turn();
    EXPECT_EQ(c.cq.poll_all().size(), 2U);
    world.settle();
    const uint32_t seen_before = large.consumer;
    EXPECT_EQ(seen_before + large.poll_all().size(), 2 * kMany);
    std::vector<uint64_t> sends;
    std::vector<uint64_t> receives;
    for (uint32_t i = 0; i < 2 * kMany; ++i) {
        const vrdma_cqe& entry = large.ring[i];
        ASSERT_EQ(entry.status, VRDMA_WC_WR_FLUSH_ERR);
        (entry.opcode == VRDMA_WC_RECV ? receives : sends).push_back(entry.wr_id);
    }
    ASSERT_EQ(sends.size(), kMany);
    for (uint64_t i = 0; i < kMany; ++i) {
        ASSERT_EQ(sends[i], i);
        ASSERT_EQ(receives[i], kMany + i);
    }
}

// What was posted before the failure is flushed, however soon the program goes on.
TEST_P(Pieces, send_queue_that_goes_on_at_once_has_flushed_everything_before) {
    CompletionRing large = a.create_cq({.entries = 4 * kMany});
    left = a.create_qp({.type = VRDMA_QPT_UD, .sq_entries = kMany}, large, large);
    connect(a, left, {}, 0);
    a.post_quietly(left, {.opcode = 200});
    for (uint64_t i = 1; i < 1000; ++i) {
        a.post_quietly(left, {.wr_id = i, .flags = 0});
    }
    a.ring(left);
    world.turn();
    ASSERT_EQ(a.state_of(left), VRDMA_QPS_SQE);
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RTS));
    a.post(left, {.wr_id = 1000});
    world.settle();
    const std::vector<vrdma_cqe> all = large.poll_all();
    ASSERT_EQ(all.size(), 1001U);
    for (uint64_t i = 1; i < 1000; ++i) {
        ASSERT_EQ(all[i].status, VRDMA_WC_WR_FLUSH_ERR);
        ASSERT_EQ(all[i].wr_id, i);
    }
    EXPECT_EQ(all[1000].status, VRDMA_WC_SUCCESS);
}

TEST_P(Pieces, every_queue_pair_of_a_dead_completion_queue_fails) {
    CompletionRing small = a.create_cq({.entries = 1});
    std::vector<QueuePair> many;
    for (int i = 0; i < 150; ++i) {
        many.push_back(a.create_qp({.sq_entries = 4, .rq_entries = 0}, small, a.cq));
        connect(a, many.back(), gid_of(a), many.back().qpn);
    }
    Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DESTROY_QP, many[10].handle));
    for (int i = 0; i < 2; ++i) {
        a.post(many[77], {.opcode = VRDMA_WQE_RDMA_WRITE});
    }
    world.settle();
    EXPECT_EQ(small.header->in_error, 1U);
    for (size_t i = 0; i < many.size(); ++i) {
        if (i != 10) {
            EXPECT_EQ(a.state_of(many[i]), VRDMA_QPS_ERR) << i;
        }
    }
    EXPECT_EQ(a.take_events().size(), 1U + 149);
}

TEST_P(Pieces, large_completion_queue_moves_while_completions_arrive) {
    constexpr uint32_t kUnread = 10'000;
    CompletionRing large = a.create_cq({.entries = 16'384});
    QueuePair self = a.create_qp({.sq_entries = 16'384, .signal_all = true}, large, large);
    connect(a, self, gid_of(a), self.qpn);
    for (uint64_t i = 0; i < kUnread; ++i) {
        a.post_quietly(self, {.opcode = VRDMA_WQE_RDMA_WRITE, .wr_id = i});
    }
    a.ring(self);
    world.settle();
    std::byte* at = nullptr;
    const vrdma_queue_memory memory =
        a.place(sizeof(vrdma_cq_header) + 32'768 * sizeof(vrdma_cqe), at);
    const vrdma_cmd_resize_cq resize{large.handle, 32'768, memory};
    int deferrals = 0;
    uint64_t posted = kUnread;
    for (;; ++deferrals) {
        const CommandOutcome outcome = a.command(VRDMA_CMD_RESIZE_CQ, resize);
        if (outcome.kind != CommandOutcome::Kind::Deferred) {
            Tenant::EXPECT_DONE(outcome);
            break;
        }
        a.post(self, {.opcode = VRDMA_WQE_RDMA_WRITE, .wr_id = posted++});
        world.turn();
        ASSERT_LT(deferrals, 100);
    }
    EXPECT_GE(deferrals, 1);
    large.entries = 32'768;
    large.header = reinterpret_cast<vrdma_cq_header*>(at);
    large.ring = reinterpret_cast<vrdma_cqe*>(at + sizeof(vrdma_cq_header));
    world.settle();
    for (uint64_t i = 0; i < posted; ++i) {
        const std::optional<vrdma_cqe> entry = large.poll();
        ASSERT_TRUE(entry.has_value()) << i;
        ASSERT_EQ(entry->wr_id, i);
    }
    EXPECT_NO_COMPLETION(large);
}

TEST_P(Pieces, many_timers_at_one_instant_all_fire) {
    std::vector<QueuePair> many;
    constexpr uint32_t kWaiting = 200;
    for (uint32_t i = 0; i < kWaiting; ++i) {
        many.push_back(a.create_qp({.sq_entries = 1, .rq_entries = 0}));
        connect(a, many.back(), World::ipv4_gid(0x0a0000ff), 9, {.timeout = 5, .retry_count = 0});
        a.post_quietly(many.back(), {.wr_id = i});
        a.ring(many.back());
    }
    world.settle();
    world.advance(Duration::milliseconds(1));
    EXPECT_EQ(a.cq.poll_all().size(), kWaiting);
}

TEST_P(Pieces, many_delayed_events_are_all_sent_when_there_is_room) {
    const uint32_t channel = a.create_channel();
    const int file = world.shard(0).state().channel_runtime[channel].file;
    world.fill(file);
    std::vector<CompletionRing> rings;
    constexpr size_t kRings = 100;
    for (size_t i = 0; i < kRings; ++i) {
        rings.push_back(a.create_cq({.entries = 4, .channel = channel}));
        QueuePair self = a.create_qp({.sq_entries = 1, .rq_entries = 0}, rings[i], rings[i]);
        connect(a, self, gid_of(a), self.qpn);
        rings[i].arm(VRDMA_ARM_NEXT);
        a.post(self, {.opcode = VRDMA_WQE_RDMA_WRITE});
    }
    world.advance(Duration::milliseconds(10));
    EXPECT_TRUE(world.completion_events(file).empty());
    world.drain(file);
    world.advance(Duration::milliseconds(10));
    const std::vector<uint64_t>& sent = world.completion_events(file);
    EXPECT_EQ(std::set<uint64_t>(sent.begin(), sent.end()).size(), kRings);
    EXPECT_EQ(sent.size(), kRings);
}

ON_ONE_AND_TWO_SHARDS(Pieces);

}  // namespace
}  // namespace vrdma::test
