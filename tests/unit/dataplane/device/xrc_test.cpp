// Requests of XRC initiators: which SRQ, completion queue and protection domain count, what is
// refused, and who learns of it. One process sends; two processes of another vNIC share a domain.
#include <gtest/gtest.h>

#include "pair.h"
#include "xrc_tenant.h"

namespace vrdma::test {
namespace {

constexpr uint64_t kInode = 99;
constexpr uint32_t kSlices = 4;

class Xrc : public testing::TestWithParam<uint32_t> {
  protected:
    Xrc() {
        srq_b = create_xrc_srq(b, open_xrcd(b, kInode));
        const uint32_t xrcd = open_xrcd(c, kInode);
        srq_c = create_xrc_srq(c, xrcd);
        initiator = a.create_qp({.type = VRDMA_QPT_XRC_SEND});
        target = create_target(b, open_xrcd(b, kInode));
        same_target = open_target(c, xrcd, target.qpn);
        connect(a, initiator, gid_of(b), target.qpn);
        connect(b, target, gid_of(a), initiator.qpn);
        source.fill(3);
    }
    void send(uint32_t srqn, uint64_t wr_id, std::vector<vrdma_sge> sges) {
        a.post(initiator, {.wr_id = wr_id, .sges = std::move(sges), .srqn = srqn});
        world.settle();
    }
    // The request is refused as one that names no SRQ of the domain, and the target fails.
    void expect_srq_refused() {
        expect_failure(next(a.cq), 1, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_XRC_SRQ);
        EXPECT_EQ(a.state_of(initiator), VRDMA_QPS_ERR);
        EXPECT_EQ(b.state_of(target), VRDMA_QPS_ERR);
        EXPECT_EQ(b.take_events().back(), uint32_t{VRDMA_EVENT_QP_REQ_ERR});
        EXPECT_EQ(c.take_events().back(), uint32_t{VRDMA_EVENT_QP_REQ_ERR});
        EXPECT_EQ(world.total(b.vnic, Counter::XrcSrqRefused), 1U);
        EXPECT_EQ(world.failures(a.vnic, VRDMA_REASON_XRC_SRQ), 1U);
        EXPECT_NO_COMPLETION(b.cq);
        EXPECT_NO_COMPLETION(c.cq);
    }
    // Of 8 bytes, at the beginning of `to`.
    [[nodiscard]] Send request(uint8_t opcode, const Buffer& to, uint32_t srqn) const {
        return {.opcode = opcode,
                .wr_id = 1,
                .sges = {source.sge(0, 8)},
                .remote_address = to.address(),
                .rkey = to.key,
                .compare_add = 5,
                .srqn = srqn};
    }
    // A message to b's SRQ whose beginning has arrived in the receive 10, and more is to come.
    struct LongMessage {
        Buffer from;
        Buffer to;
    };
    LongMessage begin_long_message() {
        constexpr uint32_t kBytes = kSlices * kSliceBytes;
        LongMessage message{a.buffer(kBytes), b.buffer(kBytes)};
        message.from.fill(1);
        b.post_receive(srq_b.ring, 10, {message.to.sge()});
        a.post(initiator, {.wr_id = 1, .sges = {message.from.sge()}, .srqn = srq_b.srqn});
        while (message.to.text(0, 64) != message.from.text(0, 64)) {
            world.turn();
        }
        return message;
    }
    void expect_remote_failure(const Send& request, vrdma_wc_status status, vrdma_reason reason) {
        a.post(initiator, request);
        world.settle();
        expect_failure(next(a.cq), request.wr_id, status, reason);
        EXPECT_EQ(b.state_of(target), VRDMA_QPS_ERR);
    }

    World world{WorldOptions{.shards = GetParam()}};
    Tenant a{world, world.add_vnic(kNetwork, kAddressA), 0};
    Tenant b{world, world.add_vnic(kNetwork, kAddressB), GetParam() - 1};
    Tenant c{world, b.vnic, GetParam() - 1};
    XrcRing srq_b;
    XrcRing srq_c;
    QueuePair initiator;
    QueuePair target;       // b's handle
    QueuePair same_target;  // c's
    Buffer source = a.buffer(4096);
};
ON_ONE_AND_TWO_SHARDS(Xrc);

TEST_P(Xrc, send_is_received_in_the_srq_that_it_names) {
    const Buffer to_b = b.buffer(4096);
    const Buffer to_c = c.buffer(4096);
    b.post_receive(srq_b.ring, 10, {to_b.sge()});
    c.post_receive(srq_c.ring, 20, {to_c.sge()});
    send(srq_c.srqn, 1, {source.sge(0, 100)});
    send(srq_b.srqn, 2, {source.sge(100, 200)});
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    const vrdma_cqe at_c = next(c.cq);
    expect_success(at_c, 20, VRDMA_WC_RECV);
    EXPECT_EQ(at_c.qpn, target.qpn);
    EXPECT_EQ(at_c.src_qpn_or_index, initiator.qpn);
    EXPECT_EQ(at_c.byte_len, 100U);
    EXPECT_EQ(at_c.flags, VRDMA_CQE_SRQ);
    EXPECT_EQ(to_c.text(0, 100), source.text(0, 100));
    const vrdma_cqe at_b = next(b.cq);
    expect_success(at_b, 10, VRDMA_WC_RECV);
    EXPECT_EQ(at_b.byte_len, 200U);
    EXPECT_EQ(to_b.text(0, 200), source.text(100, 200));
    EXPECT_NO_COMPLETION(b.cq);
    EXPECT_NO_COMPLETION(c.cq);
}

TEST_P(Xrc, completions_go_to_the_completion_queue_of_the_srq) {
    CompletionRing own = b.create_cq();
    XrcRing srq = create_xrc_srq(b, open_xrcd(b, kInode), {.cq = own.handle});
    const Buffer to = b.buffer(64);
    b.post_receive(srq.ring, 7, {to.sge()});
    send(srq.srqn, 1, {source.sge(0, 64)});
    expect_success(next(own), 7, VRDMA_WC_RECV);
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Xrc, long_message_with_immediate_arrives_whole) {
    const uint32_t bytes = kSlices * kSliceBytes + 5;
    const Buffer from = a.buffer(bytes);
    const Buffer to = c.buffer(bytes);
    from.fill(9);
    c.post_receive(srq_c.ring, 20, {to.sge()});
    a.post(initiator, {.opcode = VRDMA_WQE_SEND_WITH_IMM,
                       .wr_id = 1,
                       .sges = {from.sge()},
                       .imm = 0x01020304,
                       .srqn = srq_c.srqn});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    const vrdma_cqe received = next(c.cq);
    expect_success(received, 20, VRDMA_WC_RECV);
    EXPECT_EQ(received.imm_data, 0x01020304U);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Xrc, inline_data_stands_behind_the_long_entry) {
    const Buffer to = b.buffer(256);
    b.post_receive(srq_b.ring, 10, {to.sge()});
    a.post(initiator, {.wr_id = 1,
                       .flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE,
                       .inline_data = std::string(200, 'x'),
                       .srqn = srq_b.srqn});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(to.text(0, 200), std::string(200, 'x'));
}

TEST_P(Xrc, rdma_and_atomics_use_the_domain_of_the_srq_that_they_name) {
    const Buffer of_b = b.buffer(4096);
    const Buffer of_c = c.buffer(4096);
    for (const uint8_t opcode : {VRDMA_WQE_RDMA_WRITE, VRDMA_WQE_ATOMIC_FETCH_AND_ADD,
                                 VRDMA_WQE_ATOMIC_CMP_AND_SWP, VRDMA_WQE_RDMA_READ}) {
        a.post(initiator, request(opcode, of_b, srq_b.srqn));
        a.post(initiator, request(opcode, of_c, srq_c.srqn));
        world.settle();
        EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
        EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
    }
    EXPECT_EQ(of_b.text(0, 8), of_c.text(0, 8));
}

TEST_P(Xrc, write_with_the_key_of_another_srqs_domain_is_refused) {
    const Buffer of_c = c.buffer(64);
    expect_remote_failure(request(VRDMA_WQE_RDMA_WRITE, of_c, srq_b.srqn), VRDMA_WC_REM_ACCESS_ERR,
                          VRDMA_REASON_RKEY_PD);
}

TEST_P(Xrc, read_with_the_key_of_another_srqs_domain_is_refused) {
    const Buffer of_c = c.buffer(64);
    expect_remote_failure(request(VRDMA_WQE_RDMA_READ, of_c, srq_b.srqn), VRDMA_WC_REM_ACCESS_ERR,
                          VRDMA_REASON_RKEY_PD);
}

TEST_P(Xrc, atomic_with_the_key_of_another_srqs_domain_is_refused) {
    const Buffer of_c = c.buffer(64);
    expect_remote_failure(request(VRDMA_WQE_ATOMIC_FETCH_AND_ADD, of_c, srq_b.srqn),
                          VRDMA_WC_REM_ACCESS_ERR, VRDMA_REASON_RKEY_PD);
}

TEST_P(Xrc, write_with_immediate_takes_a_receive_of_the_srq) {
    const Buffer to = c.buffer(64);
    c.post_receive(srq_c.ring, 20, {});
    a.post(initiator, {.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM,
                       .wr_id = 1,
                       .sges = {source.sge(0, 64)},
                       .imm = 77,
                       .remote_address = to.address(),
                       .rkey = to.key,
                       .srqn = srq_c.srqn});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
    const vrdma_cqe received = next(c.cq);
    expect_success(received, 20, VRDMA_WC_RECV_RDMA_WITH_IMM);
    EXPECT_EQ(received.imm_data, 77U);
    EXPECT_EQ(to.text(), source.text(0, 64));
}

TEST_P(Xrc, number_of_nothing_is_refused) {
    for (uint32_t guess = 1; guess < 4; ++guess) {
        if (guess != srq_b.srqn && guess != srq_c.srqn) {
            send(guess, 1, {source.sge(0, 8)});
            break;
        }
    }
    expect_srq_refused();
}

TEST_P(Xrc, number_of_an_srq_of_another_domain_is_refused) {
    const XrcRing elsewhere = create_xrc_srq(b, open_xrcd(b));
    send(elsewhere.srqn, 1, {source.sge(0, 8)});
    expect_srq_refused();
}

TEST_P(Xrc, read_that_names_an_srq_of_another_domain_is_refused) {
    const XrcRing elsewhere = create_xrc_srq(b, open_xrcd(b));
    const Buffer of_b = b.buffer(64);
    a.post(initiator, request(VRDMA_WQE_RDMA_READ, of_b, elsewhere.srqn));
    world.settle();
    expect_srq_refused();
}

TEST_P(Xrc, ordinary_srq_has_no_number) {
    [[maybe_unused]] const SharedRing ordinary = b.create_srq();
    send(0, 1, {source.sge(0, 8)});
    expect_srq_refused();
}

TEST_P(Xrc, number_of_a_destroyed_srq_is_refused) {
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_SRQ, srq_b.ring.handle));
    send(srq_b.srqn, 1, {source.sge(0, 8)});
    expect_srq_refused();
}

TEST_P(Xrc, srq_destroyed_in_the_middle_of_a_message_ends_it_and_gets_nothing_more) {
    const LongMessage message = begin_long_message();
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_SRQ, srq_b.ring.handle));
    // Whoever has its place now is not what the message is for.
    const XrcRing successor = create_xrc_srq(b, open_xrcd(b));
    world.settle();
    expect_srq_refused();
    const size_t end = kSlices * kSliceBytes - 64;
    EXPECT_NE(message.to.text(end, 64), message.from.text(end, 64));
    EXPECT_NE(successor.srqn, srq_b.srqn);
}

TEST_P(Xrc, failure_in_the_middle_of_a_message_flushes_its_receive_to_its_srq) {
    begin_long_message();
    Tenant::EXPECT_DONE(c.to_state(same_target, VRDMA_QPS_ERR));
    expect_flushed(next(b.cq), 10);
    EXPECT_NO_COMPLETION(c.cq);
}

TEST_P(Xrc, message_of_another_srq_does_not_use_a_receive_that_is_taken) {
    begin_long_message();
    // The sender gives its message up and comes again under the same number.
    Tenant::EXPECT_DONE(a.command_until_done(
        VRDMA_CMD_MODIFY_QP, vrdma_cmd_modify_qp{initiator.handle, VRDMA_QP_STATE, {}}));
    initiator.sq_producer = 0;
    std::atomic_ref(initiator.header->sq_producer).store(0);
    connect(a, initiator, gid_of(b), target.qpn);
    send(srq_c.srqn, 1, {source.sge(0, 8)});
    expect_failure(next(a.cq), 1, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_XRC_SRQ);
    expect_flushed(next(b.cq), 10);
    EXPECT_NO_COMPLETION(c.cq);
}

TEST_P(Xrc, empty_srq_is_not_ready) {
    send(srq_b.srqn, 1, {source.sge(0, 8)});
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_EQ(world.total(b.vnic, Counter::RnrSent), 1U);
    const Buffer to = b.buffer(64);
    b.post_receive(srq_b.ring, 10, {to.sge()});
    world.advance(Duration::milliseconds(1));
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(b.cq), 10, VRDMA_WC_RECV);
}

TEST_P(Xrc, srq_whose_completion_queue_overflowed_receives_nothing) {
    CompletionRing small = b.create_cq({.entries = 1});
    XrcRing srq = create_xrc_srq(b, open_xrcd(b, kInode), {.cq = small.handle});
    for (uint64_t i = 0; i < 3; ++i) {
        b.post_receive(srq.ring, i, {});
    }
    send(srq.srqn, 1, {});
    send(srq.srqn, 2, {});
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    send(srq.srqn, 3, {});
    expect_failure(next(a.cq), 3, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
    EXPECT_EQ(b.state_of(target), VRDMA_QPS_ERR);
}

TEST_P(Xrc, entry_with_a_number_beyond_24_bits_is_refused) {
    send(1U << 24, 1, {source.sge(0, 8)});
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_FLAGS);
    EXPECT_EQ(b.state_of(target), VRDMA_QPS_RTS);
}

TEST_P(Xrc, entry_with_a_reserved_field_is_refused) {
    a.post_quietly(initiator, {.wr_id = 1, .sges = {source.sge(0, 8)}, .srqn = srq_b.srqn});
    reinterpret_cast<vrdma_send_wqe*>(initiator.send_ring)->xrc.reserved[2] = 1;
    a.ring(initiator);
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_FLAGS);
}

TEST_P(Xrc, windows_are_not_bound_or_invalidated_through_an_initiator) {
    for (const uint8_t opcode : {VRDMA_WQE_BIND_MW, VRDMA_WQE_LOCAL_INV, VRDMA_WQE_SEND_WITH_INV}) {
        QueuePair qp = a.create_qp({.type = VRDMA_QPT_XRC_SEND});
        connect(a, qp, gid_of(b), target.qpn);
        a.post(qp, {.opcode = opcode, .wr_id = 1, .srqn = srq_b.srqn});
        world.settle();
        expect_failure(next(a.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
    }
}

TEST_P(Xrc, window_of_type_1_in_the_srqs_domain_gives_access) {
    QueuePair binder = b.create_qp();
    connect(b, binder, gid_of(a), initiator.qpn);
    const Buffer of_b = b.buffer(4096, {.access = Tenant::kAllAccess | VRDMA_ACCESS_MW_BIND});
    const Tenant::Window window = b.create_mw(VRDMA_MW_TYPE_1);
    const uint32_t key = window.rkey + 1;
    b.post(binder, {.opcode = VRDMA_WQE_BIND_MW,
                    .wr_id = 1,
                    .remote_address = of_b.address(),
                    .rkey = window.rkey,
                    .window_length = 64,
                    .window_lkey = of_b.key,
                    .window_rkey = key,
                    .window_access = VRDMA_ACCESS_REMOTE_WRITE});
    world.settle();
    expect_success(next(b.cq), 1, VRDMA_WC_BIND_MW);
    a.post(initiator, {.opcode = VRDMA_WQE_RDMA_WRITE,
                       .wr_id = 2,
                       .sges = {source.sge(0, 64)},
                       .remote_address = of_b.address(),
                       .rkey = key,
                       .srqn = srq_b.srqn});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(of_b.text(0, 64), source.text(0, 64));
}

TEST_P(Xrc, ordinary_queue_pair_cannot_use_a_target) {
    QueuePair rc = a.create_qp();
    QueuePair other = create_target(b, open_xrcd(b, kInode));
    connect(a, rc, gid_of(b), other.qpn);
    connect(b, other, gid_of(a), rc.qpn);
    a.post(rc, {.wr_id = 1, .sges = {source.sge(0, 8)}});
    world.settle();
    EXPECT_EQ(world.total(b.vnic, Counter::RcDroppedNotConnected), 1U);
    EXPECT_NO_COMPLETION(a.cq);
}

TEST_P(Xrc, target_goes_on_when_its_maker_dies) {
    b.tear_down();
    world.settle();
    const Buffer to = c.buffer(64);
    c.post_receive(srq_c.ring, 20, {to.sge()});
    send(srq_c.srqn, 1, {source.sge(0, 64)});
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(c.cq), 20, VRDMA_WC_RECV);
    EXPECT_EQ(to.text(), source.text(0, 64));
}

TEST_P(Xrc, initiator_learns_when_the_last_opener_dies) {
    b.tear_down();
    world.settle();
    EXPECT_TRUE(a.take_events().empty());
    c.tear_down();
    world.settle();
    EXPECT_EQ(a.state_of(initiator), VRDMA_QPS_ERR);
    EXPECT_EQ(a.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_FATAL});
}

TEST_P(Xrc, orderly_end_of_the_last_opener_is_silence) {
    b.close();
    b.tear_down();
    Tenant::EXPECT_DONE(c.destroy(VRDMA_CMD_DESTROY_QP, same_target.handle));
    world.settle();
    EXPECT_EQ(a.state_of(initiator), VRDMA_QPS_RTS);
    send(srq_c.srqn, 1, {source.sge(0, 8)});
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_EQ(world.total(b.vnic, Counter::RcDroppedNotConnected), 1U);
}

TEST_P(Xrc, every_opener_learns_when_the_initiator_dies) {
    a.tear_down();
    world.settle();
    EXPECT_EQ(b.state_of(target), VRDMA_QPS_ERR);
    ASSERT_EQ(b.events().size(), 1U);
    ASSERT_EQ(c.events().size(), 1U);
    EXPECT_EQ(b.events()[0].type, uint32_t{VRDMA_EVENT_QP_FATAL});
    EXPECT_EQ(b.events()[0].cookie, target.cookie);
    EXPECT_EQ(c.events()[0].cookie, same_target.cookie);
}

TEST_P(Xrc, first_message_in_rtr_is_told_to_every_opener) {
    const QueuePair early = create_target(b, open_xrcd(b, kInode));
    QueuePair sender = a.create_qp({.type = VRDMA_QPT_XRC_SEND});
    to_init(b, early);
    to_rtr(b, early, gid_of(a), sender.qpn);
    connect(a, sender, gid_of(b), early.qpn);
    b.post_receive(srq_b.ring, 10, {});
    a.post(sender, {.wr_id = 1, .srqn = srq_b.srqn});
    world.settle();
    EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_COMM_EST});
    expect_success(next(b.cq), 10, VRDMA_WC_RECV);
}

}  // namespace
}  // namespace vrdma::test
