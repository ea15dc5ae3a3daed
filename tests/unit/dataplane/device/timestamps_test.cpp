// Completion queues whose entries carry the time at which they were written.
#include "command_test_base.h"
#include "pair.h"

namespace vrdma::test {
namespace {

using ClockCommands = CommandTest;

TEST_F(ClockCommands, query_clock_tells_the_time_of_the_turns) {
    world.advance(Duration::milliseconds(3));
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_QUERY_CLOCK));
    EXPECT_EQ(tenant.response<vrdma_rsp_query_clock>().nanoseconds,
              static_cast<uint64_t>(world.now().ns));
}

TEST_F(ClockCommands, driver_that_did_not_ask_for_time_stamps_has_none) {
    Tenant old(world, tenant.vnic, 0, VRDMA_FEATURE_PEER_DEATH);
    const CommandOutcome clock = old.command(VRDMA_CMD_QUERY_CLOCK);
    EXPECT_EQ(clock.refusal.status, VRDMA_STATUS_UNSUPPORTED);
    std::byte* at = nullptr;
    vrdma_cmd_create_cq request{};
    request.memory = old.place(8192, at);
    request.entries = 16;
    request.channel = VRDMA_NO_HANDLE;
    request.flags = VRDMA_CQ_TIMESTAMPS;
    const CommandOutcome created = old.command(VRDMA_CMD_CREATE_CQ, request);
    EXPECT_EQ(created.kind, CommandOutcome::Kind::Refused);
    EXPECT_EQ(created.refusal.status, VRDMA_STATUS_INVALID);
    old.close();
    old.tear_down();
}

// The stamps need room too: exactly as much memory as a queue without them is too little.
TEST_F(ClockCommands, queue_without_room_for_its_time_stamps_is_refused) {
    std::byte* memory = tenant.allocate(4096);
    const uint32_t region = tenant.add_region(memory, 4096);
    vrdma_cmd_create_cq request{};
    request.memory = {region, 0, 4096 - sizeof(vrdma_cq_header) - 64 * sizeof(vrdma_cqe)};
    request.memory.offset = request.memory.offset / 64 * 64;
    request.entries = 64;
    request.channel = VRDMA_NO_HANDLE;
    request.flags = VRDMA_CQ_TIMESTAMPS;
    expect_refused(VRDMA_CMD_CREATE_CQ, request, VRDMA_STATUS_INVALID, "beyond its region");
    request.flags = 0;
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_CREATE_CQ, request));
}

class Stamped : public Pair {
  protected:
    void start(uint32_t entries) {
        ring = a.create_cq({.entries = entries, .flags = VRDMA_CQ_TIMESTAMPS});
        left = a.create_qp({}, ring, ring);
        right = b.create_qp();
        connect(a, left, gid_of(b), right.qpn);
        connect(b, right, gid_of(a), left.qpn);
        world.settle();
    }
    // Completes an empty WRITE a millisecond after the last one; when.
    uint64_t write() {
        world.advance(Duration::milliseconds(1));
        a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE, .wr_id = ++written});
        world.settle();
        return static_cast<uint64_t>(world.now().ns);
    }

    CompletionRing ring;
    uint64_t written = 0;
};

TEST_P(Stamped, entry_carries_when_it_was_written) {
    start(4);
    for (uint32_t i = 0; i < 6; ++i) {  // round the ring
        const uint64_t when = write();
        expect_success(next(ring), i + 1, VRDMA_WC_RDMA_WRITE);
        EXPECT_EQ(ring.timestamps[i % 4], when);
    }
}

TEST_P(Stamped, queue_without_the_flag_is_written_no_further_than_its_ring) {
    start(4);
    CompletionRing plain = a.create_cq({.entries = 4});
    auto* behind = reinterpret_cast<uint64_t*>(plain.ring + 4);
    left = a.create_qp({}, plain, plain);
    connect(a, left, gid_of(b), right.qpn);
    EXPECT_TRUE(a.to_state(left, VRDMA_QPS_ERR).kind == CommandOutcome::Kind::Done);
    a.post(left, {.wr_id = 1});
    world.settle();
    expect_flushed(next(plain), 1);
    EXPECT_EQ(*behind, 0U);
}

TEST_P(Stamped, resize_takes_the_time_stamps_along) {
    start(4);
    const uint64_t first = write();
    const uint64_t second = write();
    std::byte* at = nullptr;
    vrdma_cmd_resize_cq request{};
    request.handle = ring.handle;
    request.entries = 8;
    request.memory =
        a.place(sizeof(vrdma_cq_header) + 8 * (sizeof(vrdma_cqe) + sizeof(uint64_t)), at);
    Tenant::EXPECT_DONE(a.command_until_done(VRDMA_CMD_RESIZE_CQ, request));
    ring.entries = 8;
    ring.header = reinterpret_cast<vrdma_cq_header*>(at);
    ring.ring = reinterpret_cast<vrdma_cqe*>(at + sizeof(vrdma_cq_header));
    ring.timestamps = reinterpret_cast<uint64_t*>(ring.ring + 8);
    const uint64_t third = write();
    for (const uint64_t id : {1U, 2U, 3U}) {
        expect_success(next(ring), id, VRDMA_WC_RDMA_WRITE);
    }
    EXPECT_EQ(ring.timestamps[0], first);
    EXPECT_EQ(ring.timestamps[1], second);
    EXPECT_EQ(ring.timestamps[2], third);
}

ON_ONE_AND_TWO_SHARDS(Stamped);

}  // namespace
}  // namespace vrdma::test
