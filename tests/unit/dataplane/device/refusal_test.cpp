// Requests that the responder refuses: each check alone, with the status on both sides
// (IBA 9.7.4.1, 9.9.3). The requester's first failing entry carries it, what stands behind is
// flushed; the responder's queue pair fails with an event and its receives are flushed.
#include "pair.h"

namespace vrdma::test {
namespace {

class Refusals : public Pair {
  protected:
    void start(const Link& right_link = {}) {
        connect_pair({}, {}, {}, right_link);
        local = a.buffer(4096);
        local.fill(1);
        remote = b.buffer(4096);
        b.post_receive(right, 50, {});
    }
    [[nodiscard]] Send request(uint8_t opcode) const {
        const bool atomic =
            opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP || opcode == VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
        return {.opcode = opcode,
                .wr_id = 1,
                .sges = {local.sge(0, atomic ? 8 : 64)},
                .remote_address = remote.address(),
                .rkey = remote.key};
    }
    void expect_refused(const Send& bad, vrdma_wc_status status, vrdma_reason reason,
                        vrdma_event_type event) {
        a.post_quietly(left, bad);
        a.post(left, {.wr_id = 2, .flags = 0});
        world.settle();
        expect_failure(next(a.cq), 1, status, reason);
        expect_flushed(next(a.cq), 2);
        EXPECT_NO_COMPLETION(a.cq);
        EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_ERR);
        expect_flushed(next(b.cq), 50);
        EXPECT_NO_COMPLETION(b.cq);
        EXPECT_EQ(b.take_events(), std::vector<uint32_t>{static_cast<uint32_t>(event)});
        EXPECT_TRUE(a.take_events().empty());
        EXPECT_EQ(remote.text(), std::string(4096, '\0'));
        EXPECT_EQ(world.failures(a.vnic, reason), 1U);
    }
    void expect_access_error(const Send& bad, vrdma_reason reason) {
        expect_refused(bad, VRDMA_WC_REM_ACCESS_ERR, reason, VRDMA_EVENT_QP_ACCESS_ERR);
    }
    void expect_invalid_request(const Send& bad, vrdma_reason reason) {
        expect_refused(bad, VRDMA_WC_REM_INV_REQ_ERR, reason, VRDMA_EVENT_QP_REQ_ERR);
    }

    Buffer local;
    Buffer remote;
};

// ---- IBA 9.7.4.1.2: the queue pair does not enable the operation

TEST_P(Refusals, write_that_the_queue_pair_does_not_enable) {
    start({.access = VRDMA_ACCESS_REMOTE_READ | VRDMA_ACCESS_REMOTE_ATOMIC});
    expect_invalid_request(request(VRDMA_WQE_RDMA_WRITE), VRDMA_REASON_QP_ACCESS);
}

TEST_P(Refusals, empty_write_that_the_queue_pair_does_not_enable) {
    start({.access = 0});
    Send empty = request(VRDMA_WQE_RDMA_WRITE);
    empty.sges.clear();
    expect_invalid_request(empty, VRDMA_REASON_QP_ACCESS);
}

TEST_P(Refusals, read_that_the_queue_pair_does_not_enable) {
    start({.access = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_ATOMIC});
    expect_invalid_request(request(VRDMA_WQE_RDMA_READ), VRDMA_REASON_QP_ACCESS);
}

TEST_P(Refusals, atomic_that_the_queue_pair_does_not_enable) {
    start({.access = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_READ});
    expect_invalid_request(request(VRDMA_WQE_ATOMIC_FETCH_AND_ADD), VRDMA_REASON_QP_ACCESS);
}

// IBA 9.7.4.1.2: no responder resources for READs and atomics.
TEST_P(Refusals, read_without_responder_resources) {
    start({.max_dest_rd_atomic = 0});
    expect_invalid_request(request(VRDMA_WQE_RDMA_READ), VRDMA_REASON_QP_ACCESS);
}

TEST_P(Refusals, atomic_without_responder_resources) {
    start({.max_dest_rd_atomic = 0});
    expect_invalid_request(request(VRDMA_WQE_ATOMIC_CMP_AND_SWP), VRDMA_REASON_QP_ACCESS);
}

// IBA 9.4.5.1: the address of an atomic is a multiple of 8.
TEST_P(Refusals, atomic_at_an_odd_address) {
    start();
    Send odd = request(VRDMA_WQE_ATOMIC_FETCH_AND_ADD);
    odd.remote_address += 4;
    expect_invalid_request(odd, VRDMA_REASON_ATOMIC_ALIGNMENT);
}

// ---- IBA 9.7.4.1.5: R_Key, domain, range, rights

class RemoteKeys : public Refusals {
  protected:
    static constexpr uint8_t kOpcodes[] = {VRDMA_WQE_RDMA_WRITE, VRDMA_WQE_RDMA_WRITE_WITH_IMM,
                                           VRDMA_WQE_RDMA_READ, VRDMA_WQE_ATOMIC_CMP_AND_SWP,
                                           VRDMA_WQE_ATOMIC_FETCH_AND_ADD};
};

TEST_P(RemoteKeys, rc_responder_unknown_rkey_IBA_9_7_4_1_5) {
    for (const uint8_t opcode : kOpcodes) {
        start();
        Send bad = request(opcode);
        bad.rkey += 1;
        expect_access_error(bad, VRDMA_REASON_RKEY_UNKNOWN);
        // Each opcode blames the same reason once.
        world.shard(0).state().counters[a.vnic].failures[VRDMA_REASON_RKEY_UNKNOWN] = 0;
    }
}

TEST_P(RemoteKeys, rc_responder_deregistered_rkey_IBA_9_7_4_1_5) {
    start();
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEREG_MR, remote.handle));
    expect_access_error(request(VRDMA_WQE_RDMA_WRITE), VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(RemoteKeys, rc_responder_rkey_of_another_domain_IBA_9_7_4_1_5) {
    for (const uint8_t opcode : kOpcodes) {
        start();
        const Buffer other = b.buffer(4096, {.pd = b.create_pd()});
        Send bad = request(opcode);
        bad.remote_address = other.address();
        bad.rkey = other.key;
        expect_access_error(bad, VRDMA_REASON_RKEY_PD);
        world.shard(0).state().counters[a.vnic].failures[VRDMA_REASON_RKEY_PD] = 0;
    }
}

TEST_P(RemoteKeys, rc_responder_rkey_violation_beyond_the_end_IBA_9_7_4_1_5) {
    for (const uint8_t opcode : kOpcodes) {
        start();
        Send bad = request(opcode);
        bad.remote_address += 4096;
        expect_access_error(bad, VRDMA_REASON_RKEY_RANGE);
        world.shard(0).state().counters[a.vnic].failures[VRDMA_REASON_RKEY_RANGE] = 0;
    }
}

TEST_P(RemoteKeys, rc_responder_last_byte_beyond_the_end_IBA_9_7_4_1_5) {
    start();
    Send bad = request(VRDMA_WQE_RDMA_WRITE);
    bad.remote_address += 4096 - 63;
    expect_access_error(bad, VRDMA_REASON_RKEY_RANGE);
}

TEST_P(RemoteKeys, rc_responder_before_the_start_IBA_9_7_4_1_5) {
    start();
    Send bad = request(VRDMA_WQE_RDMA_WRITE);
    bad.remote_address -= 1;
    expect_access_error(bad, VRDMA_REASON_RKEY_RANGE);
}

// The whole message is checked before its first byte moves.
TEST_P(RemoteKeys, rc_responder_long_write_beyond_the_end_writes_nothing_IBA_9_7_4_1_5) {
    start();
    const Buffer long_local = a.buffer(kSliceBytes + 1);
    const Buffer long_remote = b.buffer(kSliceBytes);
    long_local.fill(1);
    Send bad = request(VRDMA_WQE_RDMA_WRITE);
    bad.sges = {long_local.sge()};
    bad.remote_address = long_remote.address();
    bad.rkey = long_remote.key;
    expect_access_error(bad, VRDMA_REASON_RKEY_RANGE);
    EXPECT_EQ(long_remote.text(), std::string(kSliceBytes, '\0'));
}

TEST_P(RemoteKeys, rc_responder_write_to_memory_that_allows_no_write_IBA_9_7_4_1_5) {
    start();
    const Buffer other =
        b.buffer(64, {.access = VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_REMOTE_READ |
                                VRDMA_ACCESS_REMOTE_ATOMIC});
    Send bad = request(VRDMA_WQE_RDMA_WRITE);
    bad.remote_address = other.address();
    bad.rkey = other.key;
    expect_access_error(bad, VRDMA_REASON_RKEY_ACCESS);
}

TEST_P(RemoteKeys, rc_responder_read_of_memory_that_allows_no_read_IBA_9_7_4_1_5) {
    start();
    const Buffer other =
        b.buffer(64, {.access = VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_REMOTE_WRITE |
                                VRDMA_ACCESS_REMOTE_ATOMIC});
    Send bad = request(VRDMA_WQE_RDMA_READ);
    bad.remote_address = other.address();
    bad.rkey = other.key;
    expect_access_error(bad, VRDMA_REASON_RKEY_ACCESS);
}

TEST_P(RemoteKeys, rc_responder_atomic_on_memory_that_allows_none_IBA_9_7_4_1_5) {
    start();
    const Buffer other =
        b.buffer(64, {.access = VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_REMOTE_WRITE |
                                VRDMA_ACCESS_REMOTE_READ});
    Send bad = request(VRDMA_WQE_ATOMIC_FETCH_AND_ADD);
    bad.remote_address = other.address();
    bad.rkey = other.key;
    expect_access_error(bad, VRDMA_REASON_RKEY_ACCESS);
}

// ---- the responder's memory is gone: IBA 9.9.3.1.1, remote operational error

class BrokenMemory : public Refusals {
  protected:
    void start_broken() {
        start();
        file = b.allocate(4096);
        const uint32_t region = b.add_region(file, 4096, VRDMA_REGION_WRITABLE, &broken);
        gone = b.register_ranges({{region, 0, 0, 4096}}, 0x10000, {});
        broken = true;
    }
    void expect_operational_error(uint8_t opcode) {
        start_broken();
        Send bad = request(opcode);
        bad.remote_address = 0x10000;
        bad.rkey = gone.key;
        expect_refused(bad, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_MEMORY,
                       VRDMA_EVENT_QP_ACCESS_ERR);
    }
    std::atomic<bool> broken = false;
    std::byte* file = nullptr;
    Buffer gone;
};

TEST_P(BrokenMemory, write_to_memory_that_is_gone) {
    expect_operational_error(VRDMA_WQE_RDMA_WRITE);
}

TEST_P(BrokenMemory, read_of_memory_that_is_gone) {
    expect_operational_error(VRDMA_WQE_RDMA_READ);
}

TEST_P(BrokenMemory, atomic_on_memory_that_is_gone) {
    expect_operational_error(VRDMA_WQE_ATOMIC_CMP_AND_SWP);
}

TEST_P(BrokenMemory, atomic_on_a_word_at_an_odd_place_of_the_file) {
    start();
    std::byte* memory = b.allocate(4096);
    const uint32_t region = b.add_region(memory, 4096);
    const Buffer odd = b.register_ranges({{region, 0, 4, 64}}, 0x10000, {});
    Send bad = request(VRDMA_WQE_ATOMIC_FETCH_AND_ADD);
    bad.remote_address = 0x10000;
    bad.rkey = odd.key;
    expect_refused(bad, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_MEMORY, VRDMA_EVENT_QP_ACCESS_ERR);
}

// ---- receives

class Receives : public Pair {
  protected:
    // The message fails both sides: the responder completes the receive with an error of its own.
    void expect_both_fail(const std::vector<vrdma_sge>& receive, uint32_t bytes,
                          vrdma_wc_status local_status, vrdma_reason local_reason,
                          vrdma_wc_status remote_status, vrdma_reason remote_reason) {
        const Buffer from = a.buffer(4096);
        b.post_receive(right, 60, receive);
        b.post_receive(right, 61, {});
        a.post_quietly(left, {.wr_id = 1, .sges = {from.sge(0, bytes)}});
        a.post(left, {.wr_id = 2});
        world.settle();
        expect_failure(next(a.cq), 1, remote_status, remote_reason);
        expect_flushed(next(a.cq), 2);
        expect_failure(next(b.cq), 60, local_status, local_reason);
        expect_flushed(next(b.cq), 61);
        EXPECT_NO_COMPLETION(b.cq);
        EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_ERR);
    }
};

// IBA 9.7.4.1.6: longer than the receive.
TEST_P(Receives, rc_message_longer_than_the_receive_IBA_9_7_4_1_6) {
    connect_pair();
    const Buffer to = b.buffer(64);
    expect_both_fail({to.sge(0, 63)}, 64, VRDMA_WC_LOC_LEN_ERR, VRDMA_REASON_RECV_LENGTH,
                     VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_REMOTE_RECV_LENGTH);
}

TEST_P(Receives, rc_receive_with_an_unknown_lkey_IBA_9_9_3_1) {
    connect_pair();
    const Buffer to = b.buffer(64);
    expect_both_fail({{to.address(), 64, to.key + 1}}, 64, VRDMA_WC_LOC_PROT_ERR,
                     VRDMA_REASON_RECV_LKEY, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
}

TEST_P(Receives, rc_receive_into_memory_without_local_write_IBA_9_9_3_1) {
    connect_pair();
    const Buffer to = b.buffer(64, {.access = 0});
    expect_both_fail({to.sge()}, 64, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_RECV_LKEY,
                     VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
}

TEST_P(Receives, rc_receive_with_too_many_entries_IBA_9_9_3_1) {
    connect_pair({.max_recv_sge = 1});
    const Buffer to = b.buffer(64);
    expect_both_fail({to.sge(), to.sge()}, 64, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_RECV_SGE_COUNT,
                     VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
}

TEST_P(Receives, rc_receive_into_memory_that_is_gone_IBA_9_9_3_1) {
    connect_pair();
    const int file = world.new_file();
    std::byte* memory = b.allocate(4096);
    const uint32_t region = b.add_process_region(memory, 4096, file);
    const Buffer gone = b.register_ranges({{region, 0, 0, 4096}}, 0x10000, {});
    world.kill_process(file);
    expect_both_fail({{0x10000, 64, gone.key}}, 64, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_RECV_LKEY,
                     VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
}

TEST_P(Receives, wrong_lkey_of_an_entry_that_takes_no_bytes_is_not_looked_at) {
    connect_pair();
    const Buffer from = a.buffer(64);
    const Buffer to = b.buffer(64);
    b.post_receive(right, 1, {to.sge(), {to.address(), 64, to.key + 1}});
    a.post(left, {.wr_id = 2, .sges = {from.sge()}});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    expect_success(next(b.cq), 1, VRDMA_WC_RECV);
}

TEST_P(Receives, receive_index_beyond_the_ring_is_fatal_for_the_queue_pair) {
    connect_pair();
    right.header->rq_producer = right.rq_entries + 1;
    a.post(left, {.wr_id = 1});
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_ERR);
    EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_FATAL});
    EXPECT_NO_COMPLETION(b.cq);
}

// A responder that lost the beginning of a message cannot take its end.
TEST_P(Receives, rc_continuation_without_a_beginning_is_an_invalid_request_IBA_9_7_4_1_3) {
    connect_pair();
    const Buffer from = a.buffer(8U << 20);
    const Buffer to = b.buffer(8U << 20);
    b.post_receive(right, 1, {to.sge()});
    a.post(left, {.wr_id = 1, .sges = {from.sge()}});
    world.turn();
    world.turn();
    Tenant::EXPECT_DONE(b.to_state(right, VRDMA_QPS_RESET));
    connect(b, right, gid_of(a), left.qpn);
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_REMOTE_OPCODE);
    EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_REQ_ERR});
}

// Rights withdrawn in the middle of a message stop the rest of it.
TEST_P(Receives, region_removed_during_a_write_stops_it) {
    connect_pair();
    const Buffer from = a.buffer(8U << 20);
    const Buffer to = b.buffer(8U << 20);
    from.fill(1);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .wr_id = 1,
                  .sges = {from.sge()},
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.turn();
    world.turn();
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEREG_MR, to.handle));
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_REM_ACCESS_ERR, VRDMA_REASON_RKEY_UNKNOWN);
    EXPECT_EQ(to.data[to.length - 1], std::byte{0});
}

ON_ONE_AND_TWO_SHARDS(Refusals);
ON_ONE_AND_TWO_SHARDS(RemoteKeys);
ON_ONE_AND_TWO_SHARDS(BrokenMemory);
ON_ONE_AND_TWO_SHARDS(Receives);

}  // namespace
}  // namespace vrdma::test
