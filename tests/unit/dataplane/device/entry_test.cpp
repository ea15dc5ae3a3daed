// Send entries that a tenant must not post, and local memory it may not use: each check alone. The
// peer never hears of them (IBA 9.9.2: locally detected errors).
#include "pair.h"

namespace vrdma::test {
namespace {

class Entries : public Pair {
  protected:
    void start(const QpOptions& options = {}, const Link& link = {}) {
        connect_pair(options, link);
        local = a.buffer(4096);
        remote = b.buffer(4096);
        for (uint64_t i = 0; i < 4; ++i) {
            b.post_receive(right, i, {remote.sge()});
        }
    }
    [[nodiscard]] Send write(const std::vector<vrdma_sge>& sges) const {
        return {.opcode = VRDMA_WQE_RDMA_WRITE,
                .sges = sges,
                .remote_address = remote.address(),
                .rkey = remote.key};
    }
    [[nodiscard]] Send read(const std::vector<vrdma_sge>& sges) const {
        Send send = write(sges);
        send.opcode = VRDMA_WQE_RDMA_READ;
        return send;
    }
    [[nodiscard]] Send add(const std::vector<vrdma_sge>& sges) const {
        Send send = write(sges);
        send.opcode = VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
        return send;
    }
    // The entry fails with this status, what stands behind it is flushed, the peer sees nothing.
    void expect_refused(Send bad, vrdma_wc_status status, vrdma_reason reason) {
        bad.wr_id = 1;
        a.post_quietly(left, bad);
        a.post(left, {.wr_id = 2, .flags = 0});
        world.settle();
        const vrdma_cqe first = next(a.cq);
        expect_failure(first, 1, status, reason);
        EXPECT_EQ(first.qpn, left.qpn);
        expect_flushed(next(a.cq), 2);
        EXPECT_NO_COMPLETION(a.cq);
        EXPECT_EQ(a.state_of(left), left.type == VRDMA_QPT_RC ? VRDMA_QPS_ERR : VRDMA_QPS_SQE);
        EXPECT_EQ(world.failures(a.vnic, reason), 1U);
        EXPECT_TRUE(a.take_events().empty());
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
        EXPECT_NO_COMPLETION(b.cq);
        EXPECT_TRUE(b.take_events().empty());
        EXPECT_EQ(remote.text(), std::string(4096, '\0'));
    }
    // Changes a byte of the entry that was posted last, before the device looks.
    void damage(size_t offset, uint8_t value) {
        left.send_ring[offset] = static_cast<std::byte>(value);
    }

    Buffer local;
    Buffer remote;
};

TEST_P(Entries, opcode_zero_is_refused) {
    start();
    expect_refused({.opcode = 0}, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Entries, unknown_opcode_is_refused) {
    start();
    expect_refused({.opcode = 11}, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
}

// IBA table 38: operations of each service.
TEST_P(Entries, read_on_uc_is_refused) {
    start({.type = VRDMA_QPT_UC});
    expect_refused(read({local.sge()}), VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Entries, atomic_on_uc_is_refused) {
    start({.type = VRDMA_QPT_UC});
    expect_refused(add({local.sge(0, 8)}), VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Entries, write_on_ud_is_refused) {
    make_datagram_pair();
    remote = b.buffer(4096);
    expect_refused({.opcode = VRDMA_WQE_RDMA_WRITE}, VRDMA_WC_LOC_QP_OP_ERR,
                   VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Entries, unknown_flag_is_refused) {
    start();
    expect_refused({.flags = 0x11}, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_FLAGS);
}

TEST_P(Entries, reserved_byte_is_refused) {
    start();
    a.post_quietly(left, {.wr_id = 1});
    damage(offsetof(vrdma_send_wqe, reserved0), 1);
    a.ring(left);
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_FLAGS);
}

TEST_P(Entries, reserved_word_of_a_datagram_address_is_refused) {
    make_datagram_pair();
    a.post_quietly(left, datagram(1, {}));
    damage(offsetof(vrdma_send_wqe, ud_address.reserved) + 7, 1);
    a.ring(left);
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_FLAGS);
}

TEST_P(Entries, one_entry_too_many_is_refused) {
    start({.max_send_sge = 2});
    expect_refused(write({local.sge(0, 1), local.sge(0, 1), local.sge(0, 1)}),
                   VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_SGE_COUNT);
}

TEST_P(Entries, largest_entry_count_of_a_byte_is_refused) {
    start({.max_send_sge = VRDMA_MAX_SGE});
    expect_refused(write(std::vector<vrdma_sge>(255, local.sge(0, 1))), VRDMA_WC_LOC_QP_OP_ERR,
                   VRDMA_REASON_WQE_SGE_COUNT);
}

TEST_P(Entries, inline_data_longer_than_the_queue_pair_allows_is_refused) {
    start({.max_inline = 64});
    Send send = write({});
    send.flags |= VRDMA_WQE_INLINE;
    send.inline_data = std::string(65, 'x');
    expect_refused(send, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_INLINE);
}

TEST_P(Entries, inline_data_with_entries_is_refused) {
    start();
    Send send = write({local.sge(0, 4)});
    send.flags |= VRDMA_WQE_INLINE;
    send.inline_data = "both";
    expect_refused(send, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_INLINE);
}

TEST_P(Entries, inline_read_is_refused) {
    start();
    Send send = read({});
    send.flags |= VRDMA_WQE_INLINE;
    send.inline_data = "x";
    expect_refused(send, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_INLINE);
}

TEST_P(Entries, inline_length_without_the_flag_is_refused) {
    start();
    a.post_quietly(left, {.wr_id = 1});
    damage(offsetof(vrdma_send_wqe, inline_length), 1);
    a.ring(left);
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_INLINE);
}

// IBA 9.4.5.1: an atomic is 64 bits.
TEST_P(Entries, atomic_of_seven_bytes_is_refused) {
    start();
    expect_refused(add({local.sge(0, 7)}), VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_ATOMIC_SGE);
}

TEST_P(Entries, atomic_of_two_entries_is_refused) {
    start();
    expect_refused(add({local.sge(0, 4), local.sge(4, 4)}), VRDMA_WC_LOC_QP_OP_ERR,
                   VRDMA_REASON_WQE_ATOMIC_SGE);
}

// IBA 9.2: messages of up to 2^31 bytes.
TEST_P(Entries, message_longer_than_two_gib_is_refused) {
    start();
    const vrdma_sge half{local.address(), 1U << 30, local.key};
    expect_refused(write({half, half, local.sge(0, 1)}), VRDMA_WC_LOC_LEN_ERR,
                   VRDMA_REASON_WQE_LENGTH);
}

TEST_P(Entries, datagram_longer_than_the_mtu_is_refused) {
    make_datagram_pair();
    remote = b.buffer(4096);
    local = a.buffer(8192);
    expect_refused(datagram(1, {local.sge(0, kPortMtu + 1)}), VRDMA_WC_LOC_LEN_ERR,
                   VRDMA_REASON_WQE_LENGTH);
}

TEST_P(Entries, read_without_rd_atomic_is_refused) {
    start({}, {.max_rd_atomic = 0});
    expect_refused(read({local.sge()}), VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_RD_ATOMIC);
}

TEST_P(Entries, atomic_without_rd_atomic_is_refused) {
    start({}, {.max_rd_atomic = 0});
    expect_refused(add({local.sge(0, 8)}), VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_RD_ATOMIC);
}

// ---- local memory: IBA 9.9.2.1.1, local protection error

TEST_P(Entries, unknown_lkey_is_refused) {
    start();
    expect_refused(write({{local.address(), 8, local.key + 1}}), VRDMA_WC_LOC_PROT_ERR,
                   VRDMA_REASON_LKEY_UNKNOWN);
}

TEST_P(Entries, lkey_zero_is_refused) {
    start();
    expect_refused(write({{local.address(), 8, 0}}), VRDMA_WC_LOC_PROT_ERR,
                   VRDMA_REASON_LKEY_UNKNOWN);
}

TEST_P(Entries, lkey_of_a_deregistered_region_is_refused) {
    start();
    Tenant::EXPECT_DONE(a.destroy(VRDMA_CMD_DEREG_MR, local.handle));
    expect_refused(write({local.sge()}), VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_UNKNOWN);
}

TEST_P(Entries, lkey_of_another_protection_domain_is_refused) {
    start();
    const Buffer other = a.buffer(64, {.pd = a.create_pd()});
    expect_refused(write({other.sge()}), VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_PD);
}

// The peer's key names memory of another tenant: never reachable as local memory.
TEST_P(Entries, lkey_of_another_tenant_is_refused) {
    start();
    a.post(left, {.wr_id = 1, .sges = {remote.sge()}});
    world.settle();
    const vrdma_cqe failed = next(a.cq);
    EXPECT_EQ(failed.status, VRDMA_WC_LOC_PROT_ERR);
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Entries, one_byte_beyond_the_region_is_refused) {
    start();
    expect_refused(write({local.sge(1, 4096)}), VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_RANGE);
}

TEST_P(Entries, one_byte_before_the_region_is_refused) {
    start();
    expect_refused(write({{local.address() - 1, 8, local.key}}), VRDMA_WC_LOC_PROT_ERR,
                   VRDMA_REASON_LKEY_RANGE);
}

TEST_P(Entries, range_that_wraps_the_address_space_is_refused) {
    start();
    expect_refused(write({{UINT64_MAX - 3, 8, local.key}}), VRDMA_WC_LOC_PROT_ERR,
                   VRDMA_REASON_LKEY_RANGE);
}

TEST_P(Entries, read_into_memory_without_local_write_is_refused) {
    start();
    const Buffer constant = a.buffer(64, {.access = 0});
    expect_refused(read({constant.sge()}), VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_ACCESS);
}

TEST_P(Entries, atomic_into_memory_without_local_write_is_refused) {
    start();
    const Buffer constant = a.buffer(64, {.access = 0});
    expect_refused(add({constant.sge(0, 8)}), VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_ACCESS);
}

TEST_P(Entries, send_from_memory_without_local_write_is_allowed) {
    start();
    const Buffer constant = a.buffer(64, {.access = 0});
    a.post(left, {.wr_id = 1, .sges = {constant.sge()}});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
}

TEST_P(Entries, source_memory_that_is_gone_fails_the_send_only) {
    start();
    std::byte* file = a.allocate(4096);
    std::atomic<bool> broken = true;
    const uint32_t region = a.add_region(file, 4096, VRDMA_REGION_WRITABLE, &broken);
    Buffer gone = a.register_ranges({{region, 0, 0, 4096}}, 0x1000, {});
    const Send send = write({{0x1000, 64, gone.key}});
    a.post(left, send);
    world.settle();
    expect_failure(next(a.cq), 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Entries, source_of_a_send_that_is_gone_keeps_the_peers_receive) {
    start();
    const int file = world.new_file();
    std::byte* memory = a.allocate(4096);
    const uint32_t region = a.add_process_region(memory, 4096, file);
    const Buffer gone = a.register_ranges({{region, 0, 0, 4096}}, 0x1000, {});
    world.kill_process(file);
    a.post(left, {.wr_id = 1, .sges = {{0x1000, 64, gone.key}}});
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Entries, destination_of_a_read_that_is_gone_fails_the_reader_only) {
    start();
    const int file = world.new_file();
    std::byte* memory = a.allocate(4096);
    const uint32_t region = a.add_process_region(memory, 4096, file);
    const Buffer gone =
        a.register_ranges({{region, 0, 0, 4096}}, 0x1000, {.access = Tenant::kAllAccess});
    world.kill_process(file);
    a.post(left, read({{0x1000, 64, gone.key}}));
    a.post(left, {.wr_id = 2});
    world.settle();
    expect_failure(next(a.cq), 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY);
    expect_flushed(next(a.cq), 2);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Entries, producer_index_beyond_the_ring_is_fatal_for_the_queue_pair) {
    start();
    left.header->sq_producer = left.sq_entries + 1;
    a.ring(left);
    world.settle();
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
    EXPECT_EQ(a.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_FATAL});
    EXPECT_EQ(world.shard(0).state().qps[left.handle].error_reason, VRDMA_REASON_SQ_INDEX);
    EXPECT_NO_COMPLETION(a.cq);
}

TEST_P(Entries, full_ring_is_not_beyond_it) {
    start({.sq_entries = 4});
    for (int i = 0; i < 4; ++i) {
        a.post_quietly(left, {});
    }
    a.ring(left);
    world.settle();
    EXPECT_EQ(a.cq.poll_all().size(), 4U);
}

ON_ONE_AND_TWO_SHARDS(Entries);

}  // namespace
}  // namespace vrdma::test
