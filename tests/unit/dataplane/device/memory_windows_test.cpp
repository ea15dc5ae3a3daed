// Memory windows: the commands, what a bound window lets a peer do, and each refusal alone, of the
// bind, of the invalidations and of the access (IBA 10.6.7, 9.7.4.1).
#include "command_test_base.h"
#include "pair.h"

namespace vrdma::test {
namespace {

constexpr uint32_t kBytes = 4096;
constexpr uint32_t kRemote =
    VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_READ | VRDMA_ACCESS_REMOTE_ATOMIC;

// ---- commands

using MwCommands = CommandTest;

vrdma_cmd_alloc_mw request(uint32_t pd, uint32_t type = VRDMA_MW_TYPE_2) {
    return {pd, type};
}

TEST_F(MwCommands, allocation_checks_its_body) {
    expect_bad_length(VRDMA_CMD_ALLOC_MW);
    for (const uint32_t type : {0U, 3U, UINT32_MAX}) {
        expect_refused(VRDMA_CMD_ALLOC_MW, request(tenant.pd, type), VRDMA_STATUS_INVALID, "type");
    }
    expect_refused(VRDMA_CMD_ALLOC_MW, request(other.create_pd()), VRDMA_STATUS_NOT_FOUND,
                   "protection domain");
}

TEST_F(MwCommands, driver_that_did_not_ask_for_windows_has_none) {
    Tenant old(world, tenant.vnic, 0, VRDMA_FEATURE_PEER_DEATH);
    EXPECT_EQ(old.command(VRDMA_CMD_ALLOC_MW, request(old.pd)).refusal.status,
              VRDMA_STATUS_UNSUPPORTED);
    vrdma_cmd_reg_mr region{};
    region.pd = old.pd;
    region.access = VRDMA_ACCESS_MW_BIND;
    EXPECT_EQ(old.command(VRDMA_CMD_REG_MR, region).refusal.status, VRDMA_STATUS_INVALID);
    old.close();
    old.tear_down();
}

TEST_F(MwCommands, deallocation_checks_its_handle) {
    expect_bad_length(VRDMA_CMD_DEALLOC_MW);
    expect_unknown_handle(VRDMA_CMD_DEALLOC_MW, "memory window");
    const uint32_t handle = tenant.create_mw(VRDMA_MW_TYPE_1).handle;
    expect_refused(VRDMA_CMD_DEALLOC_MW, vrdma_handle{handle, 1}, VRDMA_STATUS_INVALID, "reserved");
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_MW, handle));
    expect_refused(VRDMA_CMD_DEALLOC_MW, vrdma_handle{handle, 0}, VRDMA_STATUS_NOT_FOUND,
                   "memory window");
}

TEST_F(MwCommands, handle_of_another_context_is_refused) {
    const uint32_t handle = other.create_mw(VRDMA_MW_TYPE_1).handle;
    expect_refused(VRDMA_CMD_DEALLOC_MW, vrdma_handle{handle, 0}, VRDMA_STATUS_NOT_FOUND,
                   "memory window");
}

TEST_F(MwCommands, windows_run_out) {
    exhaust([&] { return tenant.command(VRDMA_CMD_ALLOC_MW, request(tenant.pd)); });
}

TEST_F(MwCommands, domain_with_a_window_is_busy) {
    const uint32_t domain = tenant.create_pd();
    const uint32_t handle = tenant.create_mw(VRDMA_MW_TYPE_1, domain).handle;
    expect_busy(VRDMA_CMD_DEALLOC_PD, domain);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_MW, handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_PD, domain));
}

// ---- binding and using

class Window : public Pair {
  protected:
    // b has the window, a uses it.
    void start(vrdma_mw_type type) {
        connect_pair();
        memory = b.buffer(kBytes, {.access = VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_MW_BIND});
        local = a.buffer(kBytes);
        local.fill(3);
        window = b.create_mw(type);
        key = window.rkey + 1;
    }
    [[nodiscard]] Send bind(uint32_t offset, uint32_t length, uint32_t access = kRemote) const {
        return {.opcode = VRDMA_WQE_BIND_MW,
                .wr_id = 70,
                .remote_address = memory.address() + offset,
                .rkey = window.rkey,
                .window_length = length,
                .window_lkey = memory.key,
                .window_rkey = key,
                .window_access = access};
    }
    void expect_bound(const Send& entry) {
        b.post(right, entry);
        world.settle();
        expect_success(next(b.cq), 70, VRDMA_WC_BIND_MW);
    }
    // The bind completes with an error, and nothing is bound.
    void expect_bind_refused(const Send& entry, vrdma_reason reason,
                             vrdma_wc_status status = VRDMA_WC_MW_BIND_ERR) {
        b.post_quietly(right, entry);
        b.post(right, {.wr_id = 71});
        world.settle();
        expect_failure(next(b.cq), entry.wr_id, status, reason);
        expect_flushed(next(b.cq), 71);
        EXPECT_EQ(world.failures(b.vnic, reason), 1U);
        Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEREG_MR, memory.handle));  // not held
    }
    [[nodiscard]] Send access(uint8_t opcode, uint64_t address, uint32_t length) const {
        return {.opcode = opcode,
                .wr_id = 1,
                .sges = {local.sge(0, length)},
                .remote_address = address,
                .rkey = key};
    }
    [[nodiscard]] Send write(uint32_t offset, uint32_t length) const {
        return access(VRDMA_WQE_RDMA_WRITE, memory.address() + offset, length);
    }
    void expect_done(const Send& entry, vrdma_wc_opcode opcode) {
        a.post(left, entry);
        world.settle();
        expect_success(next(a.cq), 1, opcode);
    }
    void expect_access_refused(const Send& entry, vrdma_reason reason) {
        a.post(left, entry);
        world.settle();
        expect_failure(next(a.cq), 1, VRDMA_WC_REM_ACCESS_ERR, reason);
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_ERR);
        EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_ACCESS_ERR});
    }

    Buffer memory;
    Buffer local;
    Tenant::Window window{};
    uint32_t key = 0;
};

TEST_P(Window, window_gives_the_access_that_its_region_does_not) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(100, 1000));
    expect_done(write(100, 1000), VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(memory.text(100, 1000), local.text(0, 1000));
    expect_done(access(VRDMA_WQE_RDMA_READ, memory.address() + 104, 8), VRDMA_WC_RDMA_READ);
    EXPECT_EQ(local.text(0, 8), memory.text(104, 8));
    const uint64_t word = memory.address() / 8 * 8 + 200;
    Send add = access(VRDMA_WQE_ATOMIC_FETCH_AND_ADD, word, 8);
    add.compare_add = 1;
    uint64_t before = 0;
    std::memcpy(&before, reinterpret_cast<void*>(word), 8);
    expect_done(add, VRDMA_WC_FETCH_ADD);
    uint64_t after = 0;
    std::memcpy(&after, reinterpret_cast<void*>(word), 8);
    EXPECT_EQ(after, before + 1);
}

TEST_P(Window, zero_based_window_begins_at_address_zero) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(256, 512, VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_ZERO_BASED));
    expect_done(access(VRDMA_WQE_RDMA_WRITE, 12, 500), VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(memory.text(256 + 12, 500), local.text(0, 500));
    expect_access_refused(access(VRDMA_WQE_RDMA_WRITE, 13, 500), VRDMA_REASON_RKEY_RANGE);
}

TEST_P(Window, window_over_several_slices_is_written_whole) {
    start(VRDMA_MW_TYPE_1);
    constexpr uint32_t kLarge = 200'000;
    memory = b.buffer(kLarge, {.access = VRDMA_ACCESS_LOCAL_WRITE | VRDMA_ACCESS_MW_BIND});
    local = a.buffer(kLarge);
    local.fill(8);
    expect_bound(bind(8, kLarge - 8));
    expect_done(write(8, kLarge - 8), VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(memory.text(8, kLarge - 8), local.text(0, kLarge - 8));
}

TEST_P(Window, type_1_is_bound_anew_in_place_and_its_old_key_ends) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100));
    ++key;
    expect_bound(bind(1000, 100));
    expect_done(write(1000, 100), VRDMA_WC_RDMA_WRITE);
    --key;
    expect_access_refused(write(0, 100), VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Window, bind_of_length_zero_takes_the_access_away) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100));
    expect_bound(bind(0, 0));
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEREG_MR, memory.handle));
    expect_access_refused(write(0, 100), VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Window, type_1_works_through_every_queue_pair_of_the_domain) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100));
    connect_pair();
    expect_done(write(0, 100), VRDMA_WC_RDMA_WRITE);
}

TEST_P(Window, region_cannot_go_while_a_window_is_bound_to_it) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    const CommandOutcome busy = b.destroy(VRDMA_CMD_DEREG_MR, memory.handle);
    EXPECT_EQ(busy.refusal.status, VRDMA_STATUS_BUSY);
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEALLOC_MW, window.handle));
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEREG_MR, memory.handle));
    expect_access_refused(write(0, 100), VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Window, context_that_ends_takes_its_bound_windows_along) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    const uint32_t before = world.objects();
    b.tear_down();
    EXPECT_LT(world.objects(), before);
    expect_failure((a.post(left, write(0, 100)), world.settle(), next(a.cq)), 1,
                   VRDMA_WC_WR_FLUSH_ERR, VRDMA_REASON_FLUSHED);
}

TEST_P(Window, bind_completes_between_its_neighbours) {
    start(VRDMA_MW_TYPE_1);
    const Buffer there = a.buffer(8);
    Send first{.opcode = VRDMA_WQE_RDMA_WRITE,
               .wr_id = 1,
               .sges = {memory.sge(0, 8)},
               .remote_address = there.address(),
               .rkey = there.key};
    b.post_quietly(right, first);
    b.post_quietly(right, bind(0, 8));
    first.wr_id = 2;
    b.post(right, first);
    world.settle();
    expect_success(next(b.cq), 1, VRDMA_WC_RDMA_WRITE);
    expect_success(next(b.cq), 70, VRDMA_WC_BIND_MW);
    expect_success(next(b.cq), 2, VRDMA_WC_RDMA_WRITE);
}

TEST_P(Window, unsignaled_bind_completes_nothing) {
    start(VRDMA_MW_TYPE_1);
    Send quiet = bind(0, 8);
    quiet.flags = 0;
    b.post(right, quiet);
    world.settle();
    EXPECT_NO_COMPLETION(b.cq);
    expect_done(write(0, 8), VRDMA_WC_RDMA_WRITE);
}

// ---- refused binds

TEST_P(Window, bind_of_no_window) {
    start(VRDMA_MW_TYPE_1);
    Send bad = bind(0, 8);
    bad.rkey ^= 0x100;
    expect_bind_refused(bad, VRDMA_REASON_MW_KEY);
}

TEST_P(Window, bind_of_a_window_of_another_domain) {
    start(VRDMA_MW_TYPE_1);
    window = b.create_mw(VRDMA_MW_TYPE_1, b.create_pd());
    key = window.rkey;
    expect_bind_refused(bind(0, 8), VRDMA_REASON_MW_KEY);
}

TEST_P(Window, bind_to_a_key_of_another_name) {
    start(VRDMA_MW_TYPE_1);
    key = b.create_mw(VRDMA_MW_TYPE_1).rkey;
    expect_bind_refused(bind(0, 8), VRDMA_REASON_MW_KEY);
}

TEST_P(Window, bind_of_a_type_2_window_that_is_bound) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 8));
    ++key;
    b.post(right, bind(0, 8));
    world.settle();
    expect_failure(next(b.cq), 70, VRDMA_WC_MW_BIND_ERR, VRDMA_REASON_MW_KEY);
}

TEST_P(Window, bind_to_no_region) {
    start(VRDMA_MW_TYPE_1);
    Send bad = bind(0, 8);
    bad.window_lkey ^= 1;
    expect_bind_refused(bad, VRDMA_REASON_LKEY_UNKNOWN);
}

TEST_P(Window, bind_to_a_region_of_another_domain) {
    start(VRDMA_MW_TYPE_1);
    Send bad = bind(0, 8);
    bad.window_lkey = b.buffer(kBytes, {.pd = b.create_pd()}).key;
    expect_bind_refused(bad, VRDMA_REASON_LKEY_PD);
}

TEST_P(Window, bind_beyond_the_region) {
    start(VRDMA_MW_TYPE_1);
    expect_bind_refused(bind(1, kBytes), VRDMA_REASON_LKEY_RANGE);
}

TEST_P(Window, bind_of_a_length_that_wraps) {
    start(VRDMA_MW_TYPE_1);
    Send bad = bind(8, 8);
    bad.window_length = UINT64_MAX - 4;
    expect_bind_refused(bad, VRDMA_REASON_LKEY_RANGE);
}

TEST_P(Window, bind_to_a_region_that_allows_no_windows) {
    start(VRDMA_MW_TYPE_1);
    Send bad = bind(0, 8, VRDMA_ACCESS_REMOTE_READ);
    const Buffer plain = b.buffer(kBytes);
    bad.window_lkey = plain.key;
    bad.remote_address = plain.address();
    expect_bind_refused(bad, VRDMA_REASON_LKEY_ACCESS);
}

TEST_P(Window, bind_for_writing_to_a_region_without_local_write) {
    start(VRDMA_MW_TYPE_1);
    const Buffer readable = b.buffer(kBytes, {.access = VRDMA_ACCESS_MW_BIND});
    Send entry = bind(0, 8, VRDMA_ACCESS_REMOTE_READ);
    entry.window_lkey = readable.key;
    entry.remote_address = readable.address();
    expect_bound(entry);
    ++key;
    entry.window_rkey = key;
    entry.window_access = VRDMA_ACCESS_REMOTE_WRITE;
    b.post(right, entry);
    world.settle();
    expect_failure(next(b.cq), 70, VRDMA_WC_MW_BIND_ERR, VRDMA_REASON_LKEY_ACCESS);
}

TEST_P(Window, bind_with_an_unknown_right) {
    start(VRDMA_MW_TYPE_1);
    expect_bind_refused(bind(0, 8, VRDMA_ACCESS_LOCAL_WRITE), VRDMA_REASON_WQE_FLAGS,
                        VRDMA_WC_LOC_QP_OP_ERR);
}

TEST_P(Window, bind_with_a_reserved_field) {
    start(VRDMA_MW_TYPE_1);
    b.post_quietly(right, bind(0, 8));
    right.send_ring[offsetof(vrdma_send_wqe, bind.reserved) + 8] = std::byte{1};
    b.ring(right);
    world.settle();
    expect_failure(next(b.cq), 70, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_FLAGS);
}

TEST_P(Window, bind_with_an_sge) {
    start(VRDMA_MW_TYPE_1);
    b.post_quietly(right, bind(0, 8));
    right.send_ring[offsetof(vrdma_send_wqe, sge_count)] = std::byte{1};
    b.ring(right);
    world.settle();
    expect_failure(next(b.cq), 70, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_SGE_COUNT);
}

TEST_P(Window, bind_on_a_datagram_queue_pair) {
    start(VRDMA_MW_TYPE_1);
    make_datagram_pair();
    b.post(right, bind(0, 8));
    world.settle();
    expect_failure(next(b.cq), 70, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Window, unreliable_connection_binds_but_sends_no_invalidation) {
    start(VRDMA_MW_TYPE_1);
    connect_pair({.type = VRDMA_QPT_UC});
    expect_bound(bind(0, 8));
    b.post(right, {.opcode = VRDMA_WQE_SEND_WITH_INV, .wr_id = 4});
    world.settle();
    expect_failure(next(b.cq), 4, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
}

TEST_P(Window, driver_that_did_not_ask_for_windows_may_not_post_them) {
    start(VRDMA_MW_TYPE_1);
    for (const uint8_t opcode : std::initializer_list<uint8_t>{
             VRDMA_WQE_BIND_MW, VRDMA_WQE_LOCAL_INV, VRDMA_WQE_SEND_WITH_INV}) {
        Tenant old(world, b.vnic, b.shard_index, VRDMA_FEATURE_PEER_DEATH);
        QueuePair qp = old.create_qp();
        connect(old, qp, gid_of(a), left.qpn);
        old.post(qp, {.opcode = opcode, .wr_id = 4});
        world.settle();
        expect_failure(next(old.cq), 4, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_WQE_OPCODE);
        old.close();
        old.tear_down();
    }
}

// ---- access through a window

TEST_P(Window, key_that_is_not_bound) {
    start(VRDMA_MW_TYPE_2);
    expect_access_refused(write(0, 8), VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Window, access_through_a_queue_pair_of_another_domain) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100));
    b.pd = b.create_pd();
    connect_pair();
    expect_access_refused(write(0, 8), VRDMA_REASON_RKEY_PD);
}

TEST_P(Window, access_to_a_type_2_window_through_another_queue_pair) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    connect_pair();
    expect_access_refused(write(0, 8), VRDMA_REASON_RKEY_QP);
}

TEST_P(Window, access_before_the_window) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(100, 100));
    expect_access_refused(write(99, 8), VRDMA_REASON_RKEY_RANGE);
}

TEST_P(Window, access_behind_the_window) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(100, 100));
    expect_access_refused(write(193, 8), VRDMA_REASON_RKEY_RANGE);
}

TEST_P(Window, access_longer_than_the_window) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(100, 100));
    expect_access_refused(write(100, 101), VRDMA_REASON_RKEY_RANGE);
}

TEST_P(Window, right_that_the_window_does_not_give) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100, VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_ATOMIC));
    expect_access_refused(access(VRDMA_WQE_RDMA_READ, memory.address(), 8),
                          VRDMA_REASON_RKEY_ACCESS);
}

// ---- invalidation

TEST_P(Window, local_invalidation_ends_the_access_and_allows_another_bind) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    b.post(right, {.opcode = VRDMA_WQE_LOCAL_INV, .wr_id = 9, .rkey = key});
    world.settle();
    expect_success(next(b.cq), 9, VRDMA_WC_LOCAL_INV);
    ++key;
    expect_bound(bind(0, 100));
    expect_done(write(0, 100), VRDMA_WC_RDMA_WRITE);
    --key;
    expect_access_refused(write(0, 8), VRDMA_REASON_RKEY_UNKNOWN);
}

class Invalidation : public Window {
  protected:
    // Of `wrong`, locally and by the peer; the window stays as it is.
    void expect_local_refused(uint32_t wrong) {
        b.post(right, {.opcode = VRDMA_WQE_LOCAL_INV, .wr_id = 9, .rkey = wrong});
        world.settle();
        expect_failure(next(b.cq), 9, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_MW_KEY);
    }
    void expect_remote_refused(uint32_t wrong, vrdma_reason reason) {
        const Buffer to = b.buffer(kBytes);
        b.post_receive(right, 5, {to.sge()});
        a.post(left, {.opcode = VRDMA_WQE_SEND_WITH_INV,
                      .wr_id = 1,
                      .sges = {local.sge(0, 100)},
                      .rkey = wrong});
        world.settle();
        expect_failure(next(a.cq), 1, VRDMA_WC_REM_ACCESS_ERR, reason);
        expect_flushed(next(b.cq), 5);
        EXPECT_EQ(b.take_events(), std::vector<uint32_t>{VRDMA_EVENT_QP_ACCESS_ERR});
        EXPECT_EQ(to.text(0, 100), std::string(100, '\0'));
    }
};

TEST_P(Invalidation, send_with_invalidate_ends_the_access_and_tells_the_receiver) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    const Buffer to = b.buffer(kBytes);
    b.post_receive(right, 5, {to.sge()});
    a.post(
        left,
        {.opcode = VRDMA_WQE_SEND_WITH_INV, .wr_id = 1, .sges = {local.sge(0, 100)}, .rkey = key});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 5, VRDMA_WC_RECV);
    EXPECT_EQ(received.flags, VRDMA_CQE_WITH_INV);
    EXPECT_EQ(received.imm_data, key);
    EXPECT_EQ(to.text(0, 100), local.text(0, 100));
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DEREG_MR, memory.handle));
    expect_access_refused(write(0, 8), VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Invalidation, local_of_a_key_that_is_not_bound) {
    start(VRDMA_MW_TYPE_2);
    expect_local_refused(key);
}

TEST_P(Invalidation, local_of_an_old_key) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    expect_local_refused(key + 1);
}

TEST_P(Invalidation, local_of_a_region) {
    start(VRDMA_MW_TYPE_2);
    expect_local_refused(memory.key);
}

TEST_P(Invalidation, local_of_a_type_1_window) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100));
    expect_local_refused(key);
}

TEST_P(Invalidation, local_through_another_queue_pair) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    connect_pair();
    expect_local_refused(key);
}

TEST_P(Invalidation, local_through_another_domain) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    b.pd = b.create_pd();
    connect_pair();
    expect_local_refused(key);
}

TEST_P(Invalidation, remote_of_a_key_that_is_not_bound) {
    start(VRDMA_MW_TYPE_2);
    expect_remote_refused(key, VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Invalidation, remote_of_a_region) {
    start(VRDMA_MW_TYPE_2);
    expect_remote_refused(memory.key, VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_P(Invalidation, remote_of_a_type_1_window) {
    start(VRDMA_MW_TYPE_1);
    expect_bound(bind(0, 100));
    expect_remote_refused(key, VRDMA_REASON_RKEY_ACCESS);
}

TEST_P(Invalidation, remote_through_another_queue_pair) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    connect_pair();
    expect_remote_refused(key, VRDMA_REASON_RKEY_QP);
}

TEST_P(Invalidation, remote_through_another_domain) {
    start(VRDMA_MW_TYPE_2);
    expect_bound(bind(0, 100));
    b.pd = b.create_pd();
    connect_pair();
    expect_remote_refused(key, VRDMA_REASON_RKEY_PD);
}

ON_ONE_AND_TWO_SHARDS(Window);
ON_ONE_AND_TWO_SHARDS(Invalidation);

}  // namespace
}  // namespace vrdma::test
