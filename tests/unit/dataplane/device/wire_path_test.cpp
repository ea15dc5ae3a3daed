// Two hosts joined by a wire in memory: the queue pairs of one talk to those of the other. What the
// protocol does under loss is tests/sim's business; here it is where protocol, memory, queues and
// completions meet.
#include <algorithm>
#include <cstring>
#include <functional>
#include <set>

#include "dataplane/wire/build.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/network.h"
#include "dataplane/wire/parse.h"
#include "wire_hosts.h"

namespace vrdma::test {
namespace {

TEST_P(Wire, send_of_several_packets_fills_the_receive_and_completes_both_sides) {
    connect_pair();
    const Buffer from = near.tenant->buffer(20000);
    const Buffer to = far.tenant->buffer(20000);
    from.fill(3);
    far.tenant->post_receive(right, 7, {to.sge()});
    near.tenant->post(left, {.opcode = VRDMA_WQE_SEND_WITH_IMM,
                             .wr_id = 5,
                             .sges = {from.sge(0, 7001), from.sge(7001, 12999)},
                             .imm = 0x01020304});
    settle();
    expect_success(next(near.tenant->cq), 5, VRDMA_WC_SEND);
    const vrdma_cqe received = next(far.tenant->cq);
    expect_success(received, 7, VRDMA_WC_RECV);
    EXPECT_EQ(received.byte_len, 20000U);
    EXPECT_EQ(received.imm_data, 0x01020304U);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Wire, write_and_read_move_the_bytes_and_leave_receives_alone) {
    connect_pair();
    const Buffer here = near.tenant->buffer(50000);
    const Buffer there = far.tenant->buffer(50000);
    const Buffer back = near.tenant->buffer(50000);
    here.fill(9);
    far.tenant->post_receive(right, 1, {});
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 1,
                             .sges = {here.sge()},
                             .remote_address = there.address(),
                             .rkey = there.key});
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                             .wr_id = 2,
                             .sges = {back.sge(0, 11), back.sge(11, 49989)},
                             .remote_address = there.address(),
                             .rkey = there.key});
    settle();
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_RDMA_WRITE);
    expect_success(next(near.tenant->cq), 2, VRDMA_WC_RDMA_READ);
    EXPECT_EQ(back.text(), here.text());
    EXPECT_FALSE(far.tenant->cq.poll().has_value());
}

// A window of one host, used by the other: bound between two WRITEs, ended by a SEND.
TEST_P(Wire, window_is_bound_used_and_invalidated_by_the_peer) {
    connect_pair();
    const Tenant::Mr bindable{.access = VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_MW_BIND};
    const Buffer memory = far.tenant->buffer(20000, bindable);
    const Tenant::Window window = far.tenant->create_mw(VRDMA_MW_TYPE_2);
    const Buffer here = near.tenant->buffer(20000);
    const Buffer back = near.tenant->buffer(20000);
    here.fill(6);
    far.tenant->post(right, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 1,
                             .sges = {memory.sge(0, 5000)},
                             .remote_address = back.address(),
                             .rkey = back.key});
    far.tenant->post(right, {.opcode = VRDMA_WQE_BIND_MW,
                             .wr_id = 2,
                             .remote_address = memory.address(),
                             .rkey = window.rkey,
                             .window_length = 20000,
                             .window_lkey = memory.key,
                             .window_rkey = window.rkey + 1,
                             .window_access = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_READ |
                                              VRDMA_ACCESS_ZERO_BASED});
    far.tenant->post(right, {.wr_id = 3});
    near.tenant->post_receive(left, 9, {});
    settle();
    expect_success(next(far.tenant->cq), 1, VRDMA_WC_RDMA_WRITE);
    expect_success(next(far.tenant->cq), 2, VRDMA_WC_BIND_MW);
    expect_success(next(far.tenant->cq), 3, VRDMA_WC_SEND);
    expect_success(next(near.tenant->cq), 9, VRDMA_WC_RECV);
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 4,
                             .sges = {here.sge()},
                             .remote_address = 0,
                             .rkey = window.rkey + 1});
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                             .wr_id = 5,
                             .sges = {back.sge(0, 19000)},
                             .remote_address = 1000,
                             .rkey = window.rkey + 1});
    const Buffer to = far.tenant->buffer(9000);
    far.tenant->post_receive(right, 8, {to.sge()});
    near.tenant->post(left, {.opcode = VRDMA_WQE_SEND_WITH_INV,
                             .wr_id = 6,
                             .flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_FENCE,
                             .sges = {here.sge(0, 9000)},
                             .rkey = window.rkey + 1});
    settle();
    expect_success(next(near.tenant->cq), 4, VRDMA_WC_RDMA_WRITE);
    expect_success(next(near.tenant->cq), 5, VRDMA_WC_RDMA_READ);
    expect_success(next(near.tenant->cq), 6, VRDMA_WC_SEND);
    EXPECT_EQ(memory.text(), here.text());
    EXPECT_EQ(back.text(0, 19000), here.text(1000, 19000));
    const vrdma_cqe received = next(far.tenant->cq);
    expect_success(received, 8, VRDMA_WC_RECV);
    EXPECT_EQ(received.flags, VRDMA_CQE_WITH_INV);
    EXPECT_EQ(received.imm_data, window.rkey + 1);
    EXPECT_EQ(to.text(), here.text(0, 9000));
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 7,
                             .sges = {here.sge(0, 8)},
                             .remote_address = 0,
                             .rkey = window.rkey + 1});
    settle();
    EXPECT_EQ(next(near.tenant->cq).status, VRDMA_WC_REM_ACCESS_ERR);
}

TEST_P(Wire, window_bound_without_right_fails_the_entry_and_flushes_the_rest) {
    connect_pair();
    const Buffer memory = far.tenant->buffer(100);
    const Tenant::Window window = far.tenant->create_mw(VRDMA_MW_TYPE_1);
    far.tenant->post_quietly(right, {.opcode = VRDMA_WQE_BIND_MW,
                                     .wr_id = 1,
                                     .remote_address = memory.address(),
                                     .rkey = window.rkey,
                                     .window_length = 100,
                                     .window_lkey = memory.key,
                                     .window_rkey = window.rkey});
    far.tenant->post(right, {.wr_id = 2});
    settle();
    expect_failure(next(far.tenant->cq), 1, VRDMA_WC_MW_BIND_ERR, VRDMA_REASON_LKEY_ACCESS);
    expect_flushed(next(far.tenant->cq), 2);
    EXPECT_EQ(far.tenant->state_of(right), VRDMA_QPS_ERR);
}

TEST_P(Wire, send_with_invalidate_of_no_window_is_an_access_error) {
    connect_pair();
    far.tenant->post_receive(right, 8, {});
    near.tenant->post(left, {.opcode = VRDMA_WQE_SEND_WITH_INV, .wr_id = 6, .rkey = 0x80000000});
    settle();
    EXPECT_EQ(next(near.tenant->cq).status, VRDMA_WC_REM_ACCESS_ERR);
    expect_flushed(next(far.tenant->cq), 8);
    EXPECT_EQ(far.tenant->take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_ACCESS_ERR});
}

// More entries than the transport takes at once, all answered by one acknowledgement.
TEST_P(Wire, full_send_queue_goes_on_when_its_first_entries_complete) {
    connect_pair({.sq_entries = 256, .rq_entries = 256});
    for (uint64_t i = 0; i < 200; ++i) {
        far.tenant->post_receive(right, i, {});
        near.tenant->post_quietly(left, {.wr_id = i});
    }
    near.tenant->ring(left);
    for (int i = 0; i < 20; ++i) {  // as much as goes out without an answer
        near.turn();
        carry(near, far);
        far.turn();
    }
    settle();
    advance(Duration::milliseconds(20));
    EXPECT_EQ(near.tenant->cq.poll_all().size(), 200U);
    EXPECT_EQ(far.tenant->cq.poll_all().size(), 200U);
}

TEST_P(Wire, atomics_execute_once_and_return_the_original_value) {
    connect_pair();
    const Buffer result = near.tenant->buffer(16);
    const Buffer word = far.tenant->buffer(8);
    uint64_t value = 40;
    std::memcpy(word.data, &value, 8);
    near.tenant->post(left, {.opcode = VRDMA_WQE_ATOMIC_FETCH_AND_ADD,
                             .sges = {result.sge(0, 8)},
                             .remote_address = word.address(),
                             .rkey = word.key,
                             .compare_add = 2});
    near.tenant->post(left, {.opcode = VRDMA_WQE_ATOMIC_CMP_AND_SWP,
                             .sges = {result.sge(8, 8)},
                             .remote_address = word.address(),
                             .rkey = word.key,
                             .compare_add = 42,
                             .swap = 1000});
    settle();
    EXPECT_EQ(near.tenant->cq.poll_all().size(), 2U);
    uint64_t seen[2];
    std::memcpy(seen, result.data, 16);
    std::memcpy(&value, word.data, 8);
    EXPECT_EQ(seen[0], 40U);
    EXPECT_EQ(seen[1], 42U);
    EXPECT_EQ(value, 1000U);
}

TEST_P(Wire, wrong_rkey_fails_both_sides) {
    connect_pair();
    const Buffer from = near.tenant->buffer(64);
    const Buffer to = far.tenant->buffer(64);
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 3,
                             .sges = {from.sge()},
                             .remote_address = to.address(),
                             .rkey = to.key ^ 0x5a5a});
    near.tenant->post(left, {.wr_id = 4});
    settle();
    const vrdma_cqe failed = next(near.tenant->cq);
    EXPECT_EQ(failed.wr_id, 3U);
    EXPECT_EQ(failed.status, VRDMA_WC_REM_ACCESS_ERR);
    EXPECT_EQ(next(near.tenant->cq).status, VRDMA_WC_WR_FLUSH_ERR);
    EXPECT_EQ(near.tenant->state_of(left), VRDMA_QPS_ERR);
    EXPECT_EQ(far.tenant->state_of(right), VRDMA_QPS_ERR);
    EXPECT_EQ(far.world.failures(far.vnic, VRDMA_REASON_RKEY_UNKNOWN), 0U)
        << "failures are the requester's";
}

TEST_P(Wire, lost_nak_is_sent_again) {
    connect_pair();
    const Buffer from = near.tenant->buffer(64);
    int lost = 0;
    filter = [&lost](const MemoryPort::Frame& frame) {
        const auto packet = wire::parse(frame);
        const bool nak =
            packet && packet->info().has(wire::extension::kAeth) && packet->aeth.syndrome >= 0x60;
        return !(nak && ++lost == 1);
    };
    near.tenant->post(
        left,
        {.opcode = VRDMA_WQE_RDMA_WRITE, .sges = {from.sge()}, .remote_address = 4096, .rkey = 77});
    settle();
    advance(Duration::milliseconds(400));
    EXPECT_GE(lost, 2);
    EXPECT_EQ(next(near.tenant->cq).status, VRDMA_WC_REM_ACCESS_ERR);
}

TEST_P(Wire, wrong_lkey_fails_the_sender_only_after_what_was_before) {
    connect_pair();
    const Buffer from = near.tenant->buffer(64);
    const Buffer to = far.tenant->buffer(64);
    near.tenant->post_quietly(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                                     .wr_id = 1,
                                     .sges = {from.sge()},
                                     .remote_address = to.address(),
                                     .rkey = to.key});
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 2,
                             .sges = {{from.address(), 64, from.key ^ 1}},
                             .remote_address = to.address(),
                             .rkey = to.key});
    settle();
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_RDMA_WRITE);
    const vrdma_cqe failed = next(near.tenant->cq);
    EXPECT_EQ(failed.wr_id, 2U);
    EXPECT_EQ(failed.status, VRDMA_WC_LOC_PROT_ERR);
    EXPECT_EQ(near.tenant->state_of(left), VRDMA_QPS_ERR);
    EXPECT_EQ(far.tenant->state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Wire, entry_that_is_refused_fails_in_its_turn) {
    connect_pair();
    near.tenant->post(left, {.opcode = 200, .wr_id = 8});
    settle();
    const vrdma_cqe failed = next(near.tenant->cq);
    EXPECT_EQ(failed.wr_id, 8U);
    EXPECT_EQ(failed.status, VRDMA_WC_LOC_QP_OP_ERR);
    EXPECT_EQ(failed.vendor_err, VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Wire, receiver_that_is_never_ready_ends_the_retries) {
    connect_pair({}, {.rnr_retry = 2});
    near.tenant->post(left, {.wr_id = 1});
    settle();
    EXPECT_FALSE(near.tenant->cq.poll().has_value());
    advance(Duration::milliseconds(20));
    EXPECT_EQ(next(near.tenant->cq).status, VRDMA_WC_RNR_RETRY_EXC_ERR);
    EXPECT_GE(far.count(Counter::RnrSent), 3U);
}

TEST_P(Wire, peer_that_is_silent_ends_the_retries) {
    connect_pair({}, {.timeout = 10, .retry_count = 2});  // 4 ms
    filter = [](const MemoryPort::Frame&) { return false; };
    near.tenant->post(left, {.wr_id = 1});
    settle();
    advance(Duration::milliseconds(100));
    const vrdma_cqe failed = next(near.tenant->cq);
    EXPECT_EQ(failed.status, VRDMA_WC_RETRY_EXC_ERR);
    EXPECT_EQ(failed.vendor_err, VRDMA_REASON_PEER_SILENT);
}

TEST_P(Wire, unreliable_write_and_send_arrive) {
    connect_pair({.type = VRDMA_QPT_UC});
    const Buffer from = near.tenant->buffer(9000);
    const Buffer to = far.tenant->buffer(9000);
    from.fill(1);
    far.tenant->post_receive(right, 2, {to.sge()});
    for (uint64_t i = 0; i < 3; ++i) {
        near.tenant->post_quietly(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                                         .wr_id = i,
                                         .sges = {from.sge()},
                                         .remote_address = to.address(),
                                         .rkey = to.key});
    }
    near.tenant->post(left, {.wr_id = 3, .sges = {from.sge()}});
    settle();
    EXPECT_EQ(near.tenant->cq.poll_all().size(), 4U);
    expect_success(next(far.tenant->cq), 2, VRDMA_WC_RECV);
    EXPECT_EQ(to.text(), from.text());
}

bool is_arp(const MemoryPort::Frame& frame) {
    return wire::load16(frame.data() + wire::kEthernetBytes - 2) == wire::kEtherTypeArp;
}

// RFC 826 lets whoever asks throw the packet away; a message of hundreds would lose most of them.
TEST_P(Wire, unreliable_message_waits_whole_for_a_neighbour_that_answers_late) {
    filter = [](const MemoryPort::Frame& frame) { return !is_arp(frame); };
    connect_pair({.type = VRDMA_QPT_UC});
    const Buffer from = near.tenant->buffer(200000);
    const Buffer to = far.tenant->buffer(200000);
    from.fill(1);
    far.tenant->post_receive(right, 2, {to.sge()});
    near.tenant->post(left, {.wr_id = 3, .sges = {from.sge()}});
    advance(Duration::milliseconds(10));
    EXPECT_FALSE(far.tenant->cq.poll().has_value());
    filter = {};
    advance(Duration::milliseconds(1200));
    expect_success(next(near.tenant->cq), 3, VRDMA_WC_SEND);
    expect_success(next(far.tenant->cq), 2, VRDMA_WC_RECV);
    EXPECT_EQ(to.text(), from.text());
    EXPECT_EQ(near.link.neighbours().counters().dropped_waiting, 0U);
}

TEST_P(Wire, reliable_message_sends_one_packet_to_a_neighbour_that_answers_late) {
    filter = [](const MemoryPort::Frame& frame) { return !is_arp(frame); };
    connect_pair({}, {.timeout = 18});
    const Buffer from = near.tenant->buffer(200000);
    const Buffer to = far.tenant->buffer(200000);
    from.fill(1);
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 3,
                             .sges = {from.sge()},
                             .remote_address = to.address(),
                             .rkey = to.key});
    advance(Duration::milliseconds(1));
    filter = {};
    advance(Duration::milliseconds(1200));
    expect_success(next(near.tenant->cq), 3, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(to.text(), from.text());
    EXPECT_EQ(near.link.neighbours().counters().dropped_waiting, 0U);
}

TEST_P(Wire, neighbour_is_asked_for_when_the_queue_pair_reaches_rtr) {
    left = near.tenant->create_qp({});
    right = far.tenant->create_qp({});
    int questions = 0;
    filter = [&](const MemoryPort::Frame& frame) { return !is_arp(frame) || ++questions > 0; };
    connect(*near.tenant, left, gid_of(*far.tenant), right.qpn, Link{});
    settle();
    EXPECT_EQ(questions, 2) << "a question and its answer";
}

TEST_P(Wire, datagram_to_a_group_reaches_members_here_and_there_with_the_header_of_the_wire) {
    const vrdma_gid_entry group = World::ipv4_gid(0xef010203);  // 239.1.2.3
    const QpOptions ud{.type = VRDMA_QPT_UD};
    left = near.tenant->create_qp(ud);
    connect(*near.tenant, left, {}, 0);
    const auto member = [&](Host& host, const Buffer& room, uint64_t wr_id) {
        QueuePair qp = host.tenant->create_qp(ud);
        connect(*host.tenant, qp, {}, 0);
        Tenant::EXPECT_DONE(host.tenant->attach(qp, group));
        host.tenant->post_receive(qp, wr_id, {room.sge()});
        return qp;
    };
    const Buffer from = near.tenant->buffer(1000);
    from.fill(8);
    const Buffer here = near.tenant->buffer(1040);
    const Buffer there = far.tenant->buffer(1040);
    const Buffer there_too = far.tenant->buffer(1040);
    member(near, here, 1);
    const QueuePair two = member(far, there, 2);
    const QueuePair three = member(far, there_too, 3);
    std::vector<MemoryPort::Frame> datagrams;
    filter = [&](const MemoryPort::Frame& frame) {
        if (wire::classify(frame) == wire::FrameKind::Roce) {
            datagrams.push_back(frame);
        }
        return true;
    };
    Send send{.wr_id = 9,
              .sges = {from.sge()},
              .imm = 3,
              .qpn = VRDMA_MCAST_QPN,
              .qkey = kQkey,
              .gid = group,
              .hop_limit = 5};
    send.opcode = VRDMA_WQE_SEND_WITH_IMM;
    near.tenant->post(left, send);
    settle();
    std::vector<uint64_t> done;
    for (const vrdma_cqe& entry : near.tenant->cq.poll_all()) {
        EXPECT_EQ(entry.status, VRDMA_WC_SUCCESS);
        done.push_back(entry.wr_id);
    }
    std::sort(done.begin(), done.end());
    EXPECT_EQ(done, (std::vector<uint64_t>{1, 9}));
    for (const uint64_t wr_id : {2U, 3U}) {
        const vrdma_cqe received = next(far.tenant->cq);
        expect_success(received, wr_id, VRDMA_WC_RECV);
        EXPECT_EQ(received.byte_len, 1040U);
        EXPECT_EQ(received.src_qpn_or_index, left.qpn);
        EXPECT_EQ(received.imm_data, 3U);
        EXPECT_EQ(received.flags, VRDMA_CQE_GRH | VRDMA_CQE_IPV4 | VRDMA_CQE_WITH_IMM);
    }
    for (const Buffer& buffer : {here, there, there_too}) {
        EXPECT_EQ(buffer.text(kGrhBytes, 1000), from.text());
        EXPECT_EQ(buffer.text(32, 8), std::string("\x0a\0\0\1\xef\1\2\3", 8));
        EXPECT_EQ(buffer.data[28], std::byte{5}) << "hop limit";
    }
    ASSERT_EQ(datagrams.size(), 1U) << "one packet, whoever listens; and nobody was asked for";
    const auto packet = wire::parse(datagrams[0]);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->bth.dqpn, VRDMA_MCAST_QPN);
    EXPECT_EQ(packet->network.destination_mac, (wire::Mac{{0x01, 0, 0x5e, 1, 2, 3}}));
    EXPECT_EQ(packet->deth.qkey, kQkey);

    // Nobody over there belongs to it any more.
    Tenant::EXPECT_DONE(far.tenant->detach(two, group));
    Tenant::EXPECT_DONE(far.tenant->detach(three, group));
    near.tenant->post(left, send);
    settle();
    EXPECT_EQ(far.link.counters()[net::LinkCounter::ForeignGroup], 1U);
    EXPECT_FALSE(far.tenant->cq.poll().has_value());
}

TEST_P(Wire, group_with_another_queue_pair_number_and_broadcast_are_not_sent) {
    left = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    connect(*near.tenant, left, {}, 0);
    int sent = 0;
    filter = [&](const MemoryPort::Frame&) {
        ++sent;
        return true;
    };
    const vrdma_gid_entry group = World::ipv4_gid(0xef010203);
    near.tenant->post(left, {.wr_id = 1, .qpn = 17, .qkey = kQkey, .gid = group});
    near.tenant->post(
        left,
        {.wr_id = 2, .qpn = VRDMA_MCAST_QPN, .qkey = kQkey, .gid = World::ipv4_gid(0xffffffff)});
    settle();
    EXPECT_EQ(sent, 0);
    EXPECT_EQ(near.tenant->cq.poll_all().size(), 2U);
    EXPECT_EQ(near.count(Counter::UdDroppedNoQp), 2U);
}

TEST_P(Wire, vnic_joins_a_group_with_its_first_queue_pair_and_leaves_with_its_last) {
    const vrdma_gid_entry group = World::ipv4_gid(0xef010203);
    const QueuePair one = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    const QueuePair two = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    const auto reports = [&] { return near.link.counters()[net::LinkCounter::ReportsSent]; };
    Tenant::EXPECT_DONE(near.tenant->attach(one, group));
    settle();
    EXPECT_EQ(reports(), 1U);
    Tenant::EXPECT_DONE(near.tenant->attach(two, group));
    Tenant::EXPECT_DONE(near.tenant->detach(one, group));
    settle();
    EXPECT_EQ(reports(), 1U);
    near.tenant->tear_down();
    settle();
    EXPECT_EQ(reports(), 2U) << "it left";
}

TEST_P(Wire, queue_pair_belongs_to_a_group_while_it_is_attached) {
    const vrdma_gid_entry group = World::ipv4_gid(0xef010203);
    const wire::Address address = wire::Address::from_gid(group.gid);
    const Multicast& groups = near.world.shard(0).multicast();
    const QueuePair one = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    const QueuePair two = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    const auto membership = [&] {
        return near.world.shard(0).wire().membership(*near.world.shard(0).state().find_qp(one.qpn),
                                                     group);
    };
    EXPECT_FALSE(groups.belongs(one.qpn, address));
    EXPECT_EQ(membership(), net::MembershipState::None);
    Tenant::EXPECT_DONE(near.tenant->attach(one, group));
    EXPECT_TRUE(groups.belongs(one.qpn, address));
    EXPECT_FALSE(groups.belongs(two.qpn, address));
    EXPECT_FALSE(groups.belongs(one.qpn, wire::Address::v4(239, 1, 2, 4)));
    EXPECT_FALSE(groups.belongs(0, address)) << "nobody's number";
    EXPECT_EQ(membership(), net::MembershipState::Joining);
    Tenant::EXPECT_DONE(near.tenant->detach(one, group));
    EXPECT_FALSE(groups.belongs(one.qpn, address));
    EXPECT_EQ(membership(), net::MembershipState::None);
}

TEST_P(Wire, port_without_room_for_groups_refuses_and_nothing_has_changed) {
    for (uint32_t i = 0; i < net::kMaxMemberships; ++i) {
        ASSERT_TRUE(near.link.join(
            wire::Address::v4(239, 9, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)),
            wire::Address::v4(10, 0, 0, 9), near.world.now()));
    }
    const vrdma_gid_entry group = World::ipv4_gid(0xef010203);
    const QueuePair qp = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    const CommandOutcome refused = near.tenant->attach(qp, group);
    EXPECT_EQ(refused.refusal.status, VRDMA_STATUS_NO_RESOURCE);
    EXPECT_NE(std::string_view(refused.refusal.text).find("the port"), std::string_view::npos);
    EXPECT_EQ(near.tenant->detach(qp, group).refusal.status, VRDMA_STATUS_INVALID);
}

// What `from` would send to `to`, without a payload.
MemoryPort::Frame frame_between(Host& from, Host& to, const wire::HeaderFields& fields) {
    const auto address = [](Host& host) {
        return wire::Address::from_gid(gid_of(*host.tenant).gid);
    };
    const wire::FlowTemplate flow(wire::Flow{.source_mac = {from.port.address},
                                             .destination_mac = {to.port.address},
                                             .source = address(from),
                                             .destination = address(to)});
    MemoryPort::Frame frame(200);
    frame.resize(wire::build_frame(frame, flow, fields, {}));
    return frame;
}

// Toward standard peers, and of a queue pair that never reaches RTS.
TEST_P(Wire, b4_cnp_slows_the_responses_of_a_queue_pair_that_only_answers) {
    left = near.tenant->create_qp({});
    right = far.tenant->create_qp({});
    connect(*near.tenant, left, gid_of(*far.tenant), right.qpn, Link{});
    to_init(*far.tenant, right);
    to_rtr(*far.tenant, right, gid_of(*near.tenant), left.qpn);
    settle();
    advance(Duration::milliseconds(60));
    constexpr uint32_t kBytes = 60 * 4096;
    const Buffer there = far.tenant->buffer(kBytes);
    const Buffer here = near.tenant->buffer(kBytes);
    there.fill(5);
    far.port.arrive(
        frame_between(near, far, {.opcode = wire::Opcode::Cnp, .becn = true, .dqpn = right.qpn}));
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                             .wr_id = 3,
                             .sges = {here.sge()},
                             .remote_address = there.address(),
                             .rkey = there.key});
    settle();  // takes no time
    const bool paced = GetParam() == transport::PeerPolicy::Standard;
    EXPECT_EQ(near.tenant->cq.poll().has_value(), !paced);
    advance(Duration::milliseconds(1));
    if (paced) {
        expect_success(next(near.tenant->cq), 3, VRDMA_WC_RDMA_READ);
    }
    EXPECT_EQ(here.text(), there.text());
    EXPECT_EQ(far.dropped(transport::DropReason::NotForResponder), 0U);
}

class SprayedWire : public Wire {
  protected:
    SprayedWire() : Wire(true) {}
    // The UDP source ports of what `count` WRITEs of one packet send, `pause` apart.
    std::set<uint16_t> ports_of(int count, Duration pause, uint8_t type = VRDMA_QPT_RC) {
        std::set<uint16_t> ports;
        connect_pair({.type = type});
        const Buffer from = near.tenant->buffer(64);
        const Buffer to = far.tenant->buffer(64);
        filter = [&](const MemoryPort::Frame& frame) {
            const auto packet = wire::parse(frame);
            if (packet && packet->info().payload) {
                ports.insert(wire::load16(frame.data() + wire::kEthernetBytes + wire::kIpv4Bytes));
            }
            return true;
        };
        for (int i = 0; i < count; ++i) {
            near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                                     .sges = {from.sge()},
                                     .remote_address = to.address(),
                                     .rkey = to.key});
            settle();
            near.world.advance(pause);
            far.world.advance(pause);
        }
        return ports;
    }
};

TEST_P(SprayedWire, flowlets_take_several_paths_to_a_vrdma_host_and_one_to_others) {
    const size_t found = ports_of(20, transport::kFlowletGap * 2).size();
    EXPECT_EQ(found, GetParam() == transport::PeerPolicy::Standard ? 1U : 20U);
    EXPECT_EQ(near.tenant->cq.poll_all().size(), 20U);
}

TEST_P(SprayedWire, packets_without_a_pause_take_one_path) {
    EXPECT_EQ(ports_of(20, Duration::microseconds(1)).size(), 1U);
}

TEST_P(SprayedWire, unreliable_packets_take_one_path) {
    EXPECT_EQ(ports_of(20, transport::kFlowletGap * 2, VRDMA_QPT_UC).size(), 1U);
}

TEST_P(Wire, b4_data_is_ecn_capable_and_a_marked_request_gets_a_cnp_of_a_standard_peer) {
    connect_pair();
    const Buffer from = near.tenant->buffer(9000);
    const Buffer to = far.tenant->buffer(9000);
    int cnps = 0;
    filter = [&](const MemoryPort::Frame& frame) {
        if (const auto packet = wire::parse(frame)) {
            const bool cnp = packet->bth.opcode == wire::Opcode::Cnp;
            cnps += cnp ? 1 : 0;
            EXPECT_EQ(packet->network.dscp, cnp ? 48 : 0);
            if (packet->info().payload) {
                EXPECT_EQ(packet->network.ecn, wire::Ecn::Capable0);
            }
            if (packet->bth.opcode == wire::Opcode::RcWriteMiddle) {
                wire::HeaderFields fields;
                fields.opcode = packet->bth.opcode;
                fields.dqpn = packet->bth.dqpn;
                fields.psn = packet->bth.psn;
                const wire::FlowTemplate marked(
                    wire::Flow{.source_mac = packet->network.source_mac,
                               .destination_mac = packet->network.destination_mac,
                               .source = packet->network.source,
                               .destination = packet->network.destination,
                               .ecn = wire::Ecn::Experienced});
                MemoryPort::Frame same(frame.size());
                same.resize(wire::build_frame(same, marked, fields, packet->payload));
                far.port.arrive(std::move(same));
                return false;
            }
        }
        return true;
    };
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 1,
                             .sges = {from.sge()},
                             .remote_address = to.address(),
                             .rkey = to.key});
    settle();
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(cnps, GetParam() == transport::PeerPolicy::Standard ? 1 : 0);
}

TEST_P(Wire, datagram_arrives_behind_the_header_it_had_on_the_wire) {
    left = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    right = far.tenant->create_qp({.type = VRDMA_QPT_UD});
    connect(*near.tenant, left, {}, 0);
    connect(*far.tenant, right, {}, 0);
    const Buffer to = far.tenant->buffer(100);
    far.tenant->post_receive(right, 4, {to.sge()});
    near.tenant->post(left, {.wr_id = 6,
                             .flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE,
                             .inline_data = "over the hills",
                             .qpn = right.qpn,
                             .qkey = kQkey,
                             .gid = gid_of(*far.tenant)});
    settle();
    expect_success(next(near.tenant->cq), 6, VRDMA_WC_SEND);
    const vrdma_cqe received = next(far.tenant->cq);
    expect_success(received, 4, VRDMA_WC_RECV);
    EXPECT_EQ(received.byte_len, 54U);
    EXPECT_EQ(received.src_qpn_or_index, left.qpn);
    EXPECT_EQ(to.text(40, 14), "over the hills");
    EXPECT_EQ(to.data[20], std::byte{0x45});
    EXPECT_EQ(to.text(32, 8), std::string("\x0a\0\0\x01\x0a\0\0\x02", 8));
}

TEST_P(Wire, packet_of_another_host_changes_only_a_counter) {
    connect_pair();
    const Buffer from = near.tenant->buffer(64);
    const Buffer to = far.tenant->buffer(64);
    // The same frame, as if somebody else had sent it.
    MemoryPort::Frame forged;
    filter = [&](const MemoryPort::Frame& frame) {
        const auto packet = wire::parse(frame);
        if (forged.empty() && packet && packet->bth.opcode == wire::Opcode::RcWriteOnly) {
            wire::HeaderFields fields;
            fields.opcode = packet->bth.opcode;
            fields.dqpn = packet->bth.dqpn;
            fields.psn = packet->bth.psn;
            fields.reth = packet->reth;
            const wire::FlowTemplate flow(
                wire::Flow{.source_mac = packet->network.source_mac,
                           .destination_mac = packet->network.destination_mac,
                           .source = wire::Address::v4(10, 0, 0, 99),
                           .destination = packet->network.destination});
            forged.resize(2000);
            forged.resize(wire::build_frame(forged, flow, fields, packet->payload));
            return false;
        }
        return true;
    };
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .sges = {from.sge()},
                             .remote_address = to.address(),
                             .rkey = to.key});
    for (int i = 0; i < 10 && forged.empty(); ++i) {
        near.turn();
        carry(near, far);
        far.turn();
        carry(far, near);
    }
    ASSERT_FALSE(forged.empty());
    to.fill(200);
    const std::string before = to.text();
    far.port.arrive(forged);
    far.turn();
    EXPECT_EQ(far.count(Counter::WireDroppedNotPeer), 1U);
    EXPECT_EQ(to.text(), before);
    EXPECT_EQ(far.port.take_sent().size(), 0U);
}

TEST_P(Wire, packet_for_a_queue_pair_that_is_gone_is_counted) {
    connect_pair();
    Tenant::EXPECT_DONE(far.tenant->to_state(right, VRDMA_QPS_RESET));
    near.tenant->post(left, {.wr_id = 1});
    settle();
    EXPECT_GE(far.count(Counter::WireDroppedNoQp), 1U);
}

TEST_P(Wire, path_mtu_that_does_not_fit_the_port_is_refused_at_rtr) {
    near.port.longest = 1514;
    left = near.tenant->create_qp({});
    to_init(*near.tenant, left);
    vrdma_qp_attributes attributes{};
    attributes.state = VRDMA_QPS_RTR;
    attributes.path_mtu = 5;
    attributes.dest_qpn = 5;
    attributes.address.sgid_index = 3;
    const vrdma_gid_entry gid = gid_of(*far.tenant);
    std::copy(std::begin(gid.gid), std::end(gid.gid), attributes.address.gid);
    const uint32_t mask = VRDMA_QP_STATE | VRDMA_QP_AV | VRDMA_QP_PATH_MTU | VRDMA_QP_DEST_QPN;
    const CommandOutcome refused = near.tenant->modify(left, mask, attributes);
    ASSERT_EQ(refused.kind, CommandOutcome::Kind::Refused);
    EXPECT_EQ(refused.refusal.status, VRDMA_STATUS_INVALID);
    EXPECT_NE(std::string(refused.refusal.text).find("path MTU"), std::string::npos);
    EXPECT_EQ(near.tenant->state_of(left), VRDMA_QPS_INIT);
    attributes.path_mtu = 3;
    Tenant::EXPECT_DONE(near.tenant->modify(left, mask, attributes));
}

TEST_P(Wire, full_port_delays_and_loses_nothing) {
    connect_pair();
    const Buffer from = near.tenant->buffer(65536);
    const Buffer to = far.tenant->buffer(65536);
    from.fill(4);
    near.port.send_room = 3;
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 1,
                             .sges = {from.sge()},
                             .remote_address = to.address(),
                             .rkey = to.key});
    for (int i = 0; i < 200; ++i) {
        near.turn();
        carry(near, far);
        far.turn();
        near.port.send_room = 2;
    }
    near.port.send_room = 1'000'000;
    far.port.send_room = 1'000'000;
    settle();
    advance(Duration::milliseconds(100));
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Wire, hosts_find_out_what_they_speak) {
    connect_pair();
    const auto kind = [](Host& host) {
        return host.world.shard(0).wire().peer_kind(host.world.shard(0).state().remotes[0]);
    };
    const transport::PeerKind expected = GetParam() == transport::PeerPolicy::Standard
                                             ? transport::PeerKind::Standard
                                             : transport::PeerKind::Vrdma;
    EXPECT_EQ(kind(near), expected);
    EXPECT_EQ(kind(far), expected);
}

TEST_P(Wire, send_queue_drains_what_is_on_its_way) {
    connect_pair();
    const Buffer from = near.tenant->buffer(50000);
    const Buffer to = far.tenant->buffer(50000);
    near.tenant->post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                             .wr_id = 1,
                             .sges = {from.sge()},
                             .remote_address = to.address(),
                             .rkey = to.key});
    near.turn();
    Tenant::EXPECT_DONE(near.tenant->to_state(left, VRDMA_QPS_SQD));
    near.tenant->post(left, {.wr_id = 2});
    settle();
    expect_success(next(near.tenant->cq), 1, VRDMA_WC_RDMA_WRITE);
    EXPECT_FALSE(near.tenant->cq.poll().has_value()) << "posted in SQD: it waits";
}

INSTANTIATE_TEST_SUITE_P(Peers, Wire,
                         testing::Values(transport::PeerPolicy::Standard,
                                         transport::PeerPolicy::Vrdma, transport::PeerPolicy::Auto),
                         policy_name);
INSTANTIATE_TEST_SUITE_P(Peers, SprayedWire,
                         testing::Values(transport::PeerPolicy::Standard,
                                         transport::PeerPolicy::Vrdma, transport::PeerPolicy::Auto),
                         policy_name);

}  // namespace
}  // namespace vrdma::test
