// What is sent to a group: who gets a copy, what each copy looks like, what a message to many
// costs.
#include "pair.h"

namespace vrdma::test {
namespace {

const vrdma_gid_entry kGroup = World::ipv4_gid(0xe0010203);  // 224.1.2.3
const vrdma_gid_entry kGroup6{{0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}};
constexpr QpOptions kUd{.type = VRDMA_QPT_UD};

class Multicasts : public Pair {
  protected:
    Multicasts() {
        make_datagram_pair();
        from = a.buffer(kPortMtu);
        from.fill(5);
        to = b.buffer(kPortMtu + kGrhBytes);
    }
    // A datagram of `bytes` from left to a group.
    Send to_group(uint64_t wr_id, uint32_t bytes, const vrdma_gid_entry& group = kGroup) const {
        Send send{.wr_id = wr_id, .qpn = VRDMA_MCAST_QPN, .qkey = kQkey, .gid = group};
        send.sges = {from.sge(0, bytes)};
        return send;
    }
    // A member: attached, in RTS, with one receive.
    QueuePair member(Tenant& tenant, uint64_t wr_id, const Buffer& room, CompletionRing& cq,
                     const QpOptions& options = kUd, const vrdma_gid_entry& group = kGroup) {
        QueuePair qp = tenant.create_qp(options, cq, cq);
        connect(tenant, qp, {}, 0);
        Tenant::EXPECT_DONE(tenant.attach(qp, group));
        tenant.post_receive(qp, wr_id, {room.sge()});
        return qp;
    }

    Buffer from;
    Buffer to;
};

TEST_P(Multicasts, every_attached_queue_pair_gets_a_copy) {
    const Buffer second = b.buffer(kPortMtu + kGrhBytes);
    const Buffer near = a.buffer(kPortMtu + kGrhBytes);
    member(b, 1, to, b.cq);
    member(b, 2, second, b.cq);
    CompletionRing near_cq = a.create_cq();
    member(a, 3, near, near_cq);
    a.post(left, to_group(9, 1000));
    world.settle();
    expect_success(next(a.cq), 9, VRDMA_WC_SEND);
    for (const uint64_t wr_id : {1U, 2U}) {
        const vrdma_cqe received = next(b.cq);
        expect_success(received, wr_id, VRDMA_WC_RECV);
        EXPECT_EQ(received.byte_len, 1040U);
        EXPECT_EQ(received.flags, VRDMA_CQE_GRH | VRDMA_CQE_IPV4);
        EXPECT_EQ(received.src_qpn_or_index, left.qpn);
    }
    expect_success(next(near_cq), 3, VRDMA_WC_RECV);
    for (const Buffer& buffer : {to, second, near}) {
        EXPECT_EQ(buffer.text(kGrhBytes, 1000), from.text(0, 1000));
    }
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(a.vnic, Counter::SendOperations), 1U);
    EXPECT_EQ(world.total(b.vnic, Counter::ReceiveOperations), 2U);
}

TEST_P(Multicasts, header_names_the_sender_and_the_group) {
    member(b, 1, to, b.cq);
    a.post(left, to_group(9, 8));
    world.settle();
    expect_success(next(b.cq), 1, VRDMA_WC_RECV);
    EXPECT_EQ(to.text(32, 8), std::string("\x0a\0\0\1\xe0\1\2\3", 8)) << "10.0.0.1, 224.1.2.3";

    const Buffer six = b.buffer(100);
    member(b, 2, six, b.cq, kUd, kGroup6);
    a.post(left, to_group(10, 8, kGroup6));
    world.settle();
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 2, VRDMA_WC_RECV);
    EXPECT_EQ(received.flags, VRDMA_CQE_GRH);
    const vrdma_gid_entry source = gid_of(a, 0);
    EXPECT_EQ(std::memcmp(six.data + 8, source.gid, 16), 0);
    EXPECT_EQ(std::memcmp(six.data + 24, kGroup6.gid, 16), 0);
}

TEST_P(Multicasts, immediate_and_inline_data_reach_all) {
    const Buffer second = b.buffer(100);
    member(b, 1, to, b.cq);
    member(b, 2, second, b.cq);
    Send send = to_group(9, 0);
    send.sges.clear();
    send.opcode = VRDMA_WQE_SEND_WITH_IMM;
    send.imm = 77;
    send.flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE;
    send.inline_data = "to everybody";
    a.post(left, send);
    world.settle();
    EXPECT_EQ(next(b.cq).imm_data, 77U);
    EXPECT_EQ(next(b.cq).imm_data, 77U);
    EXPECT_EQ(to.text(kGrhBytes, 12), "to everybody");
    EXPECT_EQ(second.text(kGrhBytes, 12), "to everybody");
}

TEST_P(Multicasts, sender_in_the_group_gets_its_own_copy) {
    const Buffer room = a.buffer(100);
    Tenant::EXPECT_DONE(a.attach(left, kGroup));
    a.post_receive(left, 4, {room.sge()});
    a.post(left, to_group(9, 8));
    world.settle();
    const vrdma_cqe first = next(a.cq);
    const vrdma_cqe second = next(a.cq);
    EXPECT_EQ(first.wr_id + second.wr_id, 13U);
    EXPECT_EQ(room.text(kGrhBytes, 8), from.text(0, 8));
}

TEST_P(Multicasts, sender_that_blocks_its_loopback_is_left_out_and_nobody_else) {
    QpOptions blocking = kUd;
    blocking.block_loopback = true;
    CompletionRing own = a.create_cq();
    const Buffer room = a.buffer(100);
    QueuePair sender = member(a, 4, room, own, blocking);
    const Buffer other_room = a.buffer(100);
    CompletionRing other_cq = a.create_cq();
    member(a, 5, other_room, other_cq, blocking);
    member(b, 1, to, b.cq);
    a.post(sender, to_group(9, 8));
    world.settle();
    expect_success(next(own), 9, VRDMA_WC_SEND);
    EXPECT_NO_COMPLETION(own);
    expect_success(next(other_cq), 5, VRDMA_WC_RECV);
    expect_success(next(b.cq), 1, VRDMA_WC_RECV);
}

TEST_P(Multicasts, other_networks_hear_nothing) {
    Tenant c(world, world.add_vnic(kNetwork + 1, 0x0a000009), 0);
    const Buffer room = c.buffer(100);
    QueuePair foreign = member(c, 1, room, c.cq);
    a.post(left, to_group(9, 8));
    world.settle();
    expect_success(next(a.cq), 9, VRDMA_WC_SEND);
    EXPECT_NO_COMPLETION(c.cq);
    c.post(foreign, {.wr_id = 3, .qpn = VRDMA_MCAST_QPN, .qkey = kQkey, .gid = kGroup});
    member(b, 1, to, b.cq);
    world.settle();
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Multicasts, other_groups_and_detached_queue_pairs_hear_nothing) {
    member(b, 1, to, b.cq, kUd, World::ipv4_gid(0xe0010204));
    QueuePair two = member(b, 2, to, b.cq);
    Tenant::EXPECT_DONE(b.detach(two, kGroup));
    a.post(left, to_group(9, 8));
    world.settle();
    expect_success(next(a.cq), 9, VRDMA_WC_SEND);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(a.vnic, Counter::UdDroppedNoQp), 0U) << "a group may be empty";
}

TEST_P(Multicasts, wrong_qkey_costs_only_the_member_that_has_another_one) {
    const Buffer second = b.buffer(100);
    QueuePair one = b.create_qp(kUd);
    connect(b, one, {}, 0, Link{.qkey = kQkey + 1});
    Tenant::EXPECT_DONE(b.attach(one, kGroup));
    b.post_receive(one, 1, {to.sge()});
    member(b, 2, second, b.cq);
    a.post(left, to_group(9, 8));
    world.settle();
    expect_success(next(b.cq), 2, VRDMA_WC_RECV);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedQkey), 1U);
}

TEST_P(Multicasts, member_that_cannot_receive_costs_nobody_else_a_copy) {
    const Buffer second = b.buffer(100);
    QueuePair early = b.create_qp(kUd);
    to_init(b, early);
    Tenant::EXPECT_DONE(b.attach(early, kGroup));
    QueuePair empty = b.create_qp(kUd);
    connect(b, empty, {}, 0);
    Tenant::EXPECT_DONE(b.attach(empty, kGroup));
    QueuePair small = b.create_qp(kUd);
    connect(b, small, {}, 0);
    Tenant::EXPECT_DONE(b.attach(small, kGroup));
    b.post_receive(small, 3, {to.sge(0, 47)});
    member(b, 4, second, b.cq);
    a.post(left, to_group(9, 8));
    world.settle();
    expect_success(next(b.cq), 4, VRDMA_WC_RECV);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedNoQp), 1U);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedNoReceive), 1U);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedLength), 1U);
}

TEST_P(Multicasts, down_vnic_neither_sends_nor_receives) {
    member(b, 1, to, b.cq);
    world.set_up(b.vnic, false);
    a.post(left, to_group(9, 8));
    world.settle();
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedNoQp), 1U);
    world.set_up(b.vnic, true);
    world.set_up(a.vnic, false);
    a.post(left, to_group(10, 8));
    world.settle();
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(a.vnic, Counter::UdDroppedNoQp), 1U);
    EXPECT_EQ(a.cq.poll_all().size(), 2U) << "a datagram is sent when it has left";
}

TEST_P(Multicasts, group_with_another_queue_pair_number_reaches_nobody) {
    QueuePair one = member(b, 1, to, b.cq);
    Send send = to_group(9, 8);
    send.qpn = one.qpn;
    a.post(left, send);
    world.settle();
    expect_success(next(a.cq), 9, VRDMA_WC_SEND);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(a.vnic, Counter::UdDroppedNoQp), 1U);
}

TEST_P(Multicasts, number_of_groups_at_an_address_of_a_vnic_reaches_nobody) {
    QueuePair one = member(b, 1, to, b.cq);
    for (const vrdma_gid_entry& gid : {gid_of(a), gid_of(b)}) {
        Send send = to_group(9, 8);
        send.gid = gid;
        a.post(left, send);
        world.settle();
        expect_success(next(a.cq), 9, VRDMA_WC_SEND);
    }
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(world.total(a.vnic, Counter::UdDroppedNoQp), 1U);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedNoQp), 1U);
    EXPECT_EQ(b.state_of(one), VRDMA_QPS_RTS);
}

// More members than are served at once, on the sender's shard and on the other.
TEST_P(Multicasts, large_group_is_served_in_pieces_and_each_member_once) {
    constexpr uint32_t kMembers = 2 * kCopiesAtOnce + 5;
    CompletionRing near_cq = a.create_cq();
    std::vector<QueuePair> qps;
    std::vector<Buffer> rooms;
    for (uint32_t i = 0; i < kMembers; ++i) {
        rooms.push_back(b.buffer(kGrhBytes + 8));
        qps.push_back(member(b, i, rooms.back(), b.cq));
        rooms.push_back(a.buffer(kGrhBytes + 8));
        qps.push_back(member(a, i, rooms.back(), near_cq));
    }
    for (uint64_t i = 0; i < 3; ++i) {
        a.post_quietly(left, to_group(i, 8));
    }
    a.ring(left);
    world.settle();
    EXPECT_EQ(a.cq.poll_all().size(), 3U);
    EXPECT_EQ(b.cq.poll_all().size(), kMembers);
    EXPECT_EQ(near_cq.poll_all().size(), kMembers);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedNoReceive), 2U * kMembers);
    for (const Buffer& room : rooms) {
        EXPECT_EQ(room.text(kGrhBytes, 8), from.text(0, 8));
    }
}

// Each copy counts as an entry: while one tenant sends to many, its neighbour has every second
// turn.
TEST_P(Multicasts, copies_count_in_the_senders_turn) {
    std::vector<QueuePair> qps;
    CompletionRing near_cq = a.create_cq({.entries = 4096});
    for (uint32_t i = 0; i < VRDMA_MAX_MCAST_QPS; ++i) {
        const Buffer room = a.buffer(kGrhBytes + 8);
        qps.push_back(a.create_qp(kUd, near_cq, near_cq));
        connect(a, qps.back(), {}, 0);
        Tenant::EXPECT_DONE(a.attach(qps.back(), kGroup));
        a.post_receive(qps.back(), i, {room.sge()});
    }
    Tenant c(world, world.add_vnic(kNetwork, 0x0a000007), 0);
    QueuePair plain = c.create_qp(kUd);
    connect(c, plain, {}, 0);
    a.post(left, to_group(1, 8));
    for (uint64_t i = 0; i < 32; ++i) {
        c.post_quietly(plain, {.wr_id = i, .qpn = right.qpn, .qkey = kQkey, .gid = gid_of(b)});
    }
    c.ring(plain);
    world.shard(0).turn(world.now());
    EXPECT_LE(near_cq.poll_all().size(), 2 * kCopiesAtOnce) << "one visit in this turn, or two";
    world.settle();
    EXPECT_EQ(c.cq.poll_all().size(), 32U);
}

TEST_P(Multicasts, memory_that_is_refused_fails_the_sender_alone) {
    QueuePair one = member(b, 1, to, b.cq);
    Send send = to_group(9, 8);
    send.sges[0].lkey ^= 0x1000;
    a.post(left, send);
    world.settle();
    expect_failure(next(a.cq), 9, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_UNKNOWN);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(b.state_of(one), VRDMA_QPS_RTS);
}

// The sender's process is gone behind its memory: that is no fault of who was to receive.
TEST_P(Multicasts, memory_that_vanishes_fails_the_sender_and_keeps_the_receive) {
    const int process = world.new_file();
    std::byte* page = a.allocate(VRDMA_PAGE_BYTES);
    const uint32_t region = a.add_process_region(page, VRDMA_PAGE_BYTES, process);
    const Buffer gone = a.register_ranges({{region, 0, 0, 64}}, 0x5000, {});
    QueuePair one = member(b, 1, to, b.cq);
    world.kill_process(process);
    Send send = to_group(9, 8);
    send.sges = {vrdma_sge{0x5000, 8, gone.key}};
    a.post(left, send);
    world.settle();
    expect_failure(next(a.cq), 9, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY);
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_EQ(b.state_of(one), VRDMA_QPS_RTS);
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RTS));
    a.post(left, to_group(10, 8));
    world.settle();
    expect_success(next(b.cq), 1, VRDMA_WC_RECV);
}

TEST_P(Multicasts, member_may_vanish_and_the_sender_be_reset_while_copies_are_made) {
    std::vector<QueuePair> qps;
    std::vector<Buffer> rooms;
    for (uint32_t i = 0; i < 3 * kCopiesAtOnce; ++i) {
        rooms.push_back(b.buffer(100));
        qps.push_back(member(b, i, rooms.back(), b.cq));
    }
    a.post(left, to_group(9, 8));
    world.turn();
    Tenant::EXPECT_DONE(b.detach(qps.front(), kGroup));
    Tenant::EXPECT_DONE(b.detach(qps.back(), kGroup));
    world.settle();
    const size_t received = b.cq.poll_all().size();
    EXPECT_GE(received, 3 * kCopiesAtOnce - 3U);
    EXPECT_LE(received, 3 * kCopiesAtOnce);
    a.post(left, to_group(10, 8));
    vrdma_qp_attributes reset{};
    reset.state = VRDMA_QPS_RESET;
    for (int i = 0; i < 1000; ++i) {
        world.turn();
        if (a.modify(left, VRDMA_QP_STATE, reset).kind == CommandOutcome::Kind::Done) {
            break;
        }
    }
    world.settle();
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_RESET);
}

TEST_P(Multicasts, queue_pair_is_busy_while_attached_and_the_end_of_its_context_detaches) {
    member(b, 1, to, b.cq);
    QueuePair two = b.create_qp(kUd);
    Tenant::EXPECT_DONE(b.attach(two, kGroup));
    const CommandOutcome busy = b.destroy(VRDMA_CMD_DESTROY_QP, two.handle);
    EXPECT_EQ(busy.refusal.status, VRDMA_STATUS_BUSY);
    Tenant::EXPECT_DONE(b.detach(two, kGroup));
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, two.handle));
    const uint32_t shard = b.shard_index;
    EXPECT_EQ(world.shard(shard).state().groups.attachments(), 1U);
    b.tear_down();
    EXPECT_EQ(world.shard(shard).state().groups.attachments(), 0U);
    a.post(left, to_group(9, 8));
    world.settle();
    expect_success(next(a.cq), 9, VRDMA_WC_SEND);
}

// Many memberships end a few in each turn: the neighbours have theirs in between.
TEST_P(Multicasts, end_of_a_context_with_many_groups_takes_several_turns) {
    QueuePair one = b.create_qp(kUd);
    for (uint32_t i = 0; i < 3 * kGroupsLeftPerTurn; ++i) {
        Tenant::EXPECT_DONE(b.attach(one, World::ipv4_gid(0xe1000000 + i)));
    }
    const MulticastGroups& groups = world.shard(b.shard_index).state().groups;
    Commands::Teardown teardown{.context = b.context};
    EXPECT_FALSE(world.shard(b.shard_index).tear_down(teardown));
    EXPECT_EQ(groups.attachments(), 2 * kGroupsLeftPerTurn);
    b.tear_down();
    EXPECT_EQ(groups.attachments(), 0U);
}

ON_ONE_AND_TWO_SHARDS(Multicasts);

}  // namespace
}  // namespace vrdma::test
