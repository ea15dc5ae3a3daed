// Asynchronous events and completion events: when, how many, and what happens when nobody reads.
#include "pair.h"

namespace vrdma::test {
namespace {

using Asynchronous = Pair;

// IBA 11.6.3.1: the first message on a queue pair in RTR.
TEST_P(Asynchronous, communication_established_is_told_once) {
    left = a.create_qp();
    right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    to_init(b, right);
    to_rtr(b, right, gid_of(a), left.qpn);
    for (uint64_t i = 0; i < 3; ++i) {
        b.post_receive(right, i, {});
        a.post(left, {});
    }
    world.settle();
    ASSERT_EQ(b.events().size(), 1U);
    EXPECT_EQ(b.events()[0].cookie, right.cookie);
    EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_COMM_EST});
    EXPECT_TRUE(a.take_events().empty());
}

TEST_P(Asynchronous, communication_in_rts_is_no_news) {
    connect_pair();
    b.post_receive(right, 1, {});
    a.post(left, {});
    world.settle();
    EXPECT_TRUE(b.take_events().empty());
}

// IBA 11.6.3.1: the SRQ has fewer entries than its limit; armed once.
TEST_P(Asynchronous, srq_limit_is_told_once_for_each_arming) {
    SharedRing srq = b.create_srq(16);
    connect_pair({}, {.srq = srq.handle}, {}, {});
    Tenant::EXPECT_DONE(b.command(VRDMA_CMD_MODIFY_SRQ, vrdma_cmd_modify_srq{srq.handle, 3}));
    for (uint64_t i = 0; i < 6; ++i) {
        b.post_receive(srq, i, {});
    }
    const auto take = [&](int count) {
        for (int i = 0; i < count; ++i) {
            a.post(left, {});
        }
        world.settle();
        return b.take_events();
    };
    EXPECT_TRUE(take(3).empty());  // three are left: not fewer than three
    EXPECT_EQ(take(1), std::vector<uint32_t>{VRDMA_EVENT_SRQ_LIMIT_REACHED});
    EXPECT_TRUE(take(1).empty());
    Tenant::EXPECT_DONE(b.command(VRDMA_CMD_QUERY_SRQ, vrdma_handle{srq.handle, 0}));
    EXPECT_EQ(b.response<vrdma_rsp_query_srq>().limit, 0U);
    Tenant::EXPECT_DONE(b.command(VRDMA_CMD_MODIFY_SRQ, vrdma_cmd_modify_srq{srq.handle, 1}));
    EXPECT_EQ(take(1), std::vector<uint32_t>{VRDMA_EVENT_SRQ_LIMIT_REACHED});
}

TEST_P(Asynchronous, srq_limit_event_carries_the_srqs_cookie) {
    SharedRing srq = b.create_srq(16, 1);
    connect_pair({}, {.srq = srq.handle}, {}, {});
    b.post_receive(srq, 1, {});
    a.post(left, {});
    world.settle();
    ASSERT_EQ(b.events().size(), 1U);
    EXPECT_EQ(b.events()[0].cookie, srq.cookie);
}

// IBA 11.6.3.1: a queue pair on an SRQ says when it takes no more entries.
TEST_P(Asynchronous, last_wqe_reached_is_told_when_a_queue_pair_on_an_srq_fails) {
    SharedRing srq = b.create_srq();
    connect_pair({}, {.srq = srq.handle}, {}, {});
    b.post_receive(srq, 1, {});
    Tenant::EXPECT_DONE(b.to_state(right, VRDMA_QPS_ERR));
    ASSERT_EQ(b.events().size(), 1U);
    EXPECT_EQ(b.events()[0].cookie, right.cookie);
    EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_LAST_WQE_REACHED});
    EXPECT_NO_COMPLETION(b.cq);  // the SRQ's entries are for others
}

TEST_P(Asynchronous, srq_index_beyond_the_ring_breaks_the_srq_and_its_queue_pairs) {
    SharedRing srq = b.create_srq(16);
    connect_pair({}, {.srq = srq.handle}, {}, {});
    QueuePair right2 = b.create_qp({.srq = srq.handle});
    QueuePair left2 = a.create_qp();
    connect(a, left2, gid_of(b), right2.qpn);
    connect(b, right2, gid_of(a), left2.qpn);
    srq.header->producer = 17;
    a.post(left, {.wr_id = 1});
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
    EXPECT_EQ(b.take_events(), (std::vector<uint32_t>{VRDMA_EVENT_SRQ_ERR, VRDMA_EVENT_QP_FATAL,
                                                      VRDMA_EVENT_QP_LAST_WQE_REACHED}));
    a.post(left2, {.wr_id = 2});
    world.settle();
    expect_failure(next(a.cq), 2, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
    EXPECT_EQ(b.take_events(),
              (std::vector<uint32_t>{VRDMA_EVENT_QP_FATAL, VRDMA_EVENT_QP_LAST_WQE_REACHED}));
}

TEST_P(Asynchronous, receive_on_an_srq_with_too_many_entries_fails_its_taker) {
    SharedRing srq = b.create_srq();
    connect_pair({}, {.srq = srq.handle}, {}, {});
    b.post_receive(srq, 1, std::vector<vrdma_sge>(5, vrdma_sge{}));
    a.post(left, {.wr_id = 2});
    world.settle();
    expect_failure(next(a.cq), 2, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
    expect_failure(next(b.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_RECV_SGE_COUNT);
}

TEST_P(Asynchronous, full_event_socket_loses_events_and_delays_nobody) {
    connect_pair();
    world.fill(a.event_file);
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_SQD;
    attributes.sq_drained_notify = 1;
    Tenant::EXPECT_DONE(a.modify(left, VRDMA_QP_STATE | VRDMA_QP_EN_SQD_ASYNC_NOTIFY, attributes));
    world.settle();
    EXPECT_TRUE(a.take_events().empty());
    EXPECT_EQ(world.total(a.vnic, Counter::AsyncEventsLost), 1U);
}

TEST_P(Asynchronous, port_events_reach_every_context_of_the_vnic_and_no_other) {
    Tenant second(world, a.vnic, 0);
    world.shard(0).announce(a.vnic, VRDMA_EVENT_PORT_ERR);
    EXPECT_EQ(a.take_events(), std::vector<uint32_t>{VRDMA_EVENT_PORT_ERR});
    EXPECT_EQ(second.take_events(), std::vector<uint32_t>{VRDMA_EVENT_PORT_ERR});
    EXPECT_TRUE(b.take_events().empty());
}

// ---- completion events (IBA 11.4.2.2)

class CompletionEvents : public Pair {
  protected:
    CompletionEvents() {
        channel = b.create_channel();
        armed = b.create_cq({.channel = channel});
        left = a.create_qp();
        right = b.create_qp({}, armed, armed);
        connect(a, left, gid_of(b), right.qpn);
        connect(b, right, gid_of(a), left.qpn);
        file = world.shard(b.shard_index).state().channel_runtime[channel].file;
    }
    void send(uint8_t flags = VRDMA_WQE_SIGNALED) {
        b.post_receive(right, 1, {});
        a.post(left, {.flags = flags});
        world.settle();
    }
    [[nodiscard]] size_t events() { return world.completion_events(file).size(); }

    uint32_t channel = 0;
    CompletionRing armed;
    int file = -1;
};

TEST_P(CompletionEvents, queue_that_is_not_armed_sends_none) {
    send();
    EXPECT_EQ(events(), 0U);
}

TEST_P(CompletionEvents, armed_queue_sends_one_event_with_its_cookie) {
    armed.arm(VRDMA_ARM_NEXT);
    send();
    send();
    ASSERT_EQ(events(), 1U);
    EXPECT_EQ(world.completion_events(file)[0], armed.cookie);
    EXPECT_EQ(armed.header->events, 1U);
}

TEST_P(CompletionEvents, arming_again_sends_another) {
    for (uint32_t i = 1; i <= 3; ++i) {
        armed.arm(VRDMA_ARM_NEXT);
        send();
        EXPECT_EQ(events(), i);
    }
}

TEST_P(CompletionEvents, completion_before_arming_is_no_event) {
    send();
    armed.arm(VRDMA_ARM_NEXT);
    world.settle();
    EXPECT_EQ(events(), 0U);
    send();
    EXPECT_EQ(events(), 1U);
}

TEST_P(CompletionEvents, solicited_only_waits_for_a_solicited_completion) {
    armed.arm(VRDMA_ARM_SOLICITED);
    send();
    EXPECT_EQ(events(), 0U);
    send(VRDMA_WQE_SIGNALED | VRDMA_WQE_SOLICITED);
    EXPECT_EQ(events(), 1U);
}

TEST_P(CompletionEvents, solicited_write_with_immediate_counts) {
    const Buffer from = a.buffer(8);
    const Buffer to = b.buffer(8);
    armed.arm(VRDMA_ARM_SOLICITED);
    b.post_receive(right, 1, {});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM,
                  .flags = VRDMA_WQE_SOLICITED,
                  .sges = {from.sge()},
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.settle();
    EXPECT_EQ(events(), 1U);
}

TEST_P(CompletionEvents, failed_completion_counts_as_solicited) {
    armed.arm(VRDMA_ARM_SOLICITED);
    b.post_receive(right, 1, {});
    Tenant::EXPECT_DONE(b.to_state(right, VRDMA_QPS_ERR));
    world.settle();
    EXPECT_EQ(events(), 1U);
}

TEST_P(CompletionEvents, solicited_completion_before_arming_is_forgotten) {
    send(VRDMA_WQE_SIGNALED | VRDMA_WQE_SOLICITED);
    armed.arm(VRDMA_ARM_SOLICITED);
    send();
    EXPECT_EQ(events(), 0U);
}

TEST_P(CompletionEvents, full_channel_delays_the_event_until_there_is_room) {
    world.fill(file);
    armed.arm(VRDMA_ARM_NEXT);
    send();
    EXPECT_EQ(events(), 0U);
    EXPECT_EQ(armed.header->events, 0U);
    EXPECT_GE(world.total(b.vnic, Counter::CompletionEventsDelayed), 1U);
    world.drain(file);
    EXPECT_LT(world.next_deadline(), Instant::never());
    world.advance(Duration::milliseconds(1));
    EXPECT_EQ(events(), 1U);
    EXPECT_EQ(armed.header->events, 1U);
    world.advance(Duration::milliseconds(10));
    EXPECT_EQ(events(), 1U);
}

TEST_P(CompletionEvents, delayed_solicited_event_is_not_forgotten) {
    world.fill(file);
    armed.arm(VRDMA_ARM_SOLICITED);
    send(VRDMA_WQE_SIGNALED | VRDMA_WQE_SOLICITED);
    send();
    world.drain(file);
    world.advance(Duration::milliseconds(1));
    EXPECT_EQ(events(), 1U);
}

TEST_P(CompletionEvents, queue_destroyed_with_a_delayed_event_sends_none) {
    world.fill(file);
    armed.arm(VRDMA_ARM_NEXT);
    send();
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, right.handle));
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_CQ, armed.handle));
    world.drain(file);
    world.advance(Duration::milliseconds(5));
    EXPECT_EQ(events(), 0U);
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_CHANNEL, channel));
}

// ---- overflow (IBA 11.6.3.1, CQ error)

class Overflow : public Pair {};

TEST_P(Overflow, full_queue_dies_and_takes_its_queue_pairs_along) {
    CompletionRing small = a.create_cq({.entries = 4});
    left = a.create_qp({}, small, a.cq);
    right = b.create_qp();
    QueuePair bystander = a.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(a, bystander, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    a.post_receive(left, 100, {});
    for (uint64_t i = 0; i < 5; ++i) {
        b.post_receive(right, i, {});
        a.post_quietly(left, {.wr_id = i});
    }
    a.ring(left);
    world.settle();
    EXPECT_EQ(small.header->in_error, 1U);
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
    EXPECT_EQ(a.state_of(bystander), VRDMA_QPS_RTS);
    EXPECT_EQ(a.events()[0].cookie, small.cookie);
    EXPECT_EQ(a.take_events(), (std::vector<uint32_t>{VRDMA_EVENT_CQ_ERR, VRDMA_EVENT_QP_FATAL}));
    expect_flushed(next(a.cq), 100);
    EXPECT_EQ(small.poll_all().size(), 4U);  // what was there stays
    EXPECT_EQ(world.total(a.vnic, Counter::CqOverflows), 1U);
}

TEST_P(Overflow, queue_that_is_polled_does_not_overflow) {
    CompletionRing small = a.create_cq({.entries = 4});
    left = a.create_qp({}, small, a.cq);
    right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    for (uint64_t i = 0; i < 100; ++i) {
        for (uint64_t n = 0; n < 4; ++n) {
            b.post_receive(right, i, {});
            a.post(left, {.wr_id = i});
        }
        world.settle();
        EXPECT_EQ(small.poll_all().size(), 4U);
        b.cq.poll_all();
    }
    EXPECT_EQ(small.header->in_error, 0U);
}

TEST_P(Overflow, dead_queue_stays_dead_when_it_is_resized) {
    CompletionRing small = a.create_cq({.entries = 1});
    left = a.create_qp({}, small, a.cq);
    right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    for (uint64_t i = 0; i < 2; ++i) {
        b.post_receive(right, i, {});
        a.post(left, {});
    }
    world.settle();
    ASSERT_EQ(small.header->in_error, 1U);
    std::byte* at = nullptr;
    const vrdma_queue_memory memory = a.place(sizeof(vrdma_cq_header) + 8 * sizeof(vrdma_cqe), at);
    Tenant::EXPECT_DONE(
        a.command(VRDMA_CMD_RESIZE_CQ, vrdma_cmd_resize_cq{small.handle, 8, memory}));
    EXPECT_EQ(reinterpret_cast<vrdma_cq_header*>(at)->in_error, 1U);
}

// ---- resizing

class Resize : public Pair {
  protected:
    void move(CompletionRing& ring, uint32_t entries) {
        std::byte* at = nullptr;
        const vrdma_queue_memory memory =
            a.place(sizeof(vrdma_cq_header) + entries * sizeof(vrdma_cqe), at);
        const CommandOutcome outcome =
            a.command(VRDMA_CMD_RESIZE_CQ, vrdma_cmd_resize_cq{ring.handle, entries, memory});
        ASSERT_EQ(outcome.kind, CommandOutcome::Kind::Done) << outcome.refusal.text;
        ring.memory = memory;
        ring.entries = entries;
        ring.header = reinterpret_cast<vrdma_cq_header*>(at);
        ring.ring = reinterpret_cast<vrdma_cqe*>(at + sizeof(vrdma_cq_header));
    }
    void complete(uint64_t first, uint64_t count) {
        for (uint64_t i = first; i < first + count; ++i) {
            b.post_receive(right, i, {});
            a.post(left, {.wr_id = i});
            world.settle();
        }
        b.cq.poll_all();
    }
};

TEST_P(Resize, unread_entries_move_and_indices_go_on) {
    CompletionRing ring = a.create_cq({.entries = 8});
    left = a.create_qp({}, ring, ring);
    right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    complete(0, 7);
    for (uint64_t i = 0; i < 4; ++i) {
        EXPECT_EQ(next(ring).wr_id, i);
    }
    complete(7, 4);
    move(ring, 32);
    complete(11, 3);
    move(ring, 16);
    complete(14, 2);
    for (uint64_t i = 4; i < 16; ++i) {
        EXPECT_EQ(next(ring).wr_id, i);
    }
    EXPECT_NO_COMPLETION(ring);
}

TEST_P(Resize, size_below_the_unread_entries_is_refused_and_changes_nothing) {
    CompletionRing ring = a.create_cq({.entries = 8});
    left = a.create_qp({}, ring, ring);
    right = b.create_qp();
    connect(a, left, gid_of(b), right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    complete(0, 5);
    std::byte* at = nullptr;
    const vrdma_queue_memory memory = a.place(sizeof(vrdma_cq_header) + 4 * sizeof(vrdma_cqe), at);
    const CommandOutcome outcome =
        a.command(VRDMA_CMD_RESIZE_CQ, vrdma_cmd_resize_cq{ring.handle, 4, memory});
    EXPECT_EQ(outcome.refusal.status, VRDMA_STATUS_INVALID);
    EXPECT_STREQ(outcome.refusal.text, "the unread completions do not fit the new size");
    EXPECT_EQ(ring.poll_all().size(), 5U);
}

ON_ONE_AND_TWO_SHARDS(Asynchronous);
ON_ONE_AND_TWO_SHARDS(CompletionEvents);
ON_ONE_AND_TWO_SHARDS(Overflow);
ON_ONE_AND_TWO_SHARDS(Resize);

}  // namespace
}  // namespace vrdma::test
