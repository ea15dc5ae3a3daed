// Commands about completion queues, shared receive queues and queue pairs: every refusal alone.
#include "command_test_base.h"

namespace vrdma::test {
namespace {

// What every queue needs of its memory; `make(memory)` asks for a queue there.
class QueueCommands : public CommandTest {
  protected:
    static constexpr uint32_t kPages = 4;
    template <class Request>
    void expect_memory_rules(uint16_t opcode, Request request) {
        request.memory = {tenant.region, 1, 0};
        expect_refused(opcode, request, VRDMA_STATUS_INVALID, "reserved");
        request.memory = {200, 0, 0};
        expect_refused(opcode, request, VRDMA_STATUS_NOT_FOUND, "the queue's region");
        request.memory = {other.region, 0, 0};
        expect_refused(opcode, request, VRDMA_STATUS_NOT_FOUND, "the queue's region");
        request.memory = {read_only, 0, 0};
        expect_refused(opcode, request, VRDMA_STATUS_INVALID, "writable mapped region");
        request.memory = {process, 0, 0};
        expect_refused(opcode, request, VRDMA_STATUS_INVALID, "writable mapped region");
        request.memory = {tenant.region, 0, 32};
        expect_refused(opcode, request, VRDMA_STATUS_INVALID, "multiple of 64");
        for (const uint64_t offset : {uint64_t{kPages * 4096}, uint64_t{kPages * 4096 - 64},
                                      UINT64_MAX - 63, uint64_t{1} << 40}) {
            request.memory = {small, 0, offset};
            expect_refused(opcode, request, VRDMA_STATUS_INVALID, "beyond its region");
        }
    }

    uint32_t small = tenant.add_region(tenant.allocate(kPages * 4096), kPages * 4096);
    uint32_t read_only = tenant.add_region(tenant.allocate(kPages * 4096), kPages * 4096, 0);
    uint32_t process =
        tenant.add_process_region(tenant.allocate(kPages * 4096), kPages * 4096, world.new_file());
};

class CqCommands : public QueueCommands {
  protected:
    vrdma_cmd_create_cq request{{small, 0, 0}, 16, VRDMA_NO_HANDLE, 1, 0, 0};
};

TEST_F(CqCommands, wrong_lengths_are_refused) {
    expect_bad_length(VRDMA_CMD_CREATE_CQ);
    expect_bad_length(VRDMA_CMD_RESIZE_CQ);
    expect_bad_length(VRDMA_CMD_DESTROY_CQ);
}

TEST_F(CqCommands, entries_must_be_a_power_of_two_within_the_limit) {
    for (const uint32_t entries : {0U, 3U, 2U * VRDMA_MAX_CQ_ENTRIES, UINT32_MAX}) {
        request.entries = entries;
        expect_refused(VRDMA_CMD_CREATE_CQ, request, VRDMA_STATUS_INVALID, "power of two");
    }
}

TEST_F(CqCommands, other_completion_vector_is_refused) {
    request.completion_vector = 1;
    expect_refused(VRDMA_CMD_CREATE_CQ, request, VRDMA_STATUS_INVALID, "completion vector");
}

TEST_F(CqCommands, unknown_flag_is_refused) {
    request.flags = 2;
    expect_refused(VRDMA_CMD_CREATE_CQ, request, VRDMA_STATUS_INVALID, "unknown CQ flag");
}

TEST_F(CqCommands, unknown_or_foreign_channel_is_refused) {
    request.channel = 40;
    expect_refused(VRDMA_CMD_CREATE_CQ, request, VRDMA_STATUS_NOT_FOUND, "completion channel");
    request.channel = other.create_channel();
    expect_refused(VRDMA_CMD_CREATE_CQ, request, VRDMA_STATUS_NOT_FOUND, "completion channel");
}

TEST_F(CqCommands, memory_must_be_the_tenants_own) {
    expect_memory_rules(VRDMA_CMD_CREATE_CQ, request);
}

TEST_F(CqCommands, queues_run_out) {
    exhaust([this] { return tenant.command(VRDMA_CMD_CREATE_CQ, request); });
}

TEST_F(CqCommands, resize_checks_what_create_checks) {
    vrdma_cmd_resize_cq resize{tenant.cq.handle, 16, {small, 0, 0}};
    expect_memory_rules(VRDMA_CMD_RESIZE_CQ, resize);
    resize.entries = 3;
    expect_refused(VRDMA_CMD_RESIZE_CQ, resize, VRDMA_STATUS_INVALID, "power of two");
    resize.handle = 200;
    expect_refused(VRDMA_CMD_RESIZE_CQ, resize, VRDMA_STATUS_NOT_FOUND, "completion queue");
    resize.handle = other.cq.handle;
    expect_refused(VRDMA_CMD_RESIZE_CQ, resize, VRDMA_STATUS_NOT_FOUND, "completion queue");
}

TEST_F(CqCommands, resize_moves_the_use_of_the_region) {
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_RESIZE_CQ,
                                       vrdma_cmd_resize_cq{tenant.cq.handle, 16, {small, 0, 0}}));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_REMOVE_REGION, tenant.region));
    expect_busy(VRDMA_CMD_REMOVE_REGION, small);
}

TEST_F(CqCommands, queue_with_a_queue_pair_is_busy) {
    const QueuePair qp = tenant.create_qp();
    expect_busy(VRDMA_CMD_DESTROY_CQ, tenant.cq.handle);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, qp.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_CQ, tenant.cq.handle));
}

TEST_F(CqCommands, unknown_and_foreign_handles_are_refused) {
    expect_unknown_handle(VRDMA_CMD_DESTROY_CQ, "completion queue");
    expect_refused(VRDMA_CMD_DESTROY_CQ, vrdma_handle{other.cq.handle, 0}, VRDMA_STATUS_NOT_FOUND,
                   "completion queue");
}

class SrqCommands : public QueueCommands {
  protected:
    SrqCommands() {
        request.memory = {small, 0, 0};
        request.pd = tenant.pd;
        request.entries = 16;
        request.max_sge = 4;
    }
    vrdma_cmd_create_srq request{};
};

TEST_F(SrqCommands, wrong_lengths_are_refused) {
    expect_bad_length(VRDMA_CMD_CREATE_SRQ);
    expect_bad_length(VRDMA_CMD_MODIFY_SRQ);
    expect_bad_length(VRDMA_CMD_QUERY_SRQ);
    expect_bad_length(VRDMA_CMD_DESTROY_SRQ);
}

TEST_F(SrqCommands, entries_must_be_a_power_of_two_within_the_limit) {
    for (const uint32_t entries : {0U, 5U, 2U * VRDMA_MAX_QUEUE_ENTRIES}) {
        request.entries = entries;
        expect_refused(VRDMA_CMD_CREATE_SRQ, request, VRDMA_STATUS_INVALID, "power of two");
    }
}

TEST_F(SrqCommands, too_many_sges_are_refused) {
    request.max_sge = VRDMA_MAX_SGE + 1;
    expect_refused(VRDMA_CMD_CREATE_SRQ, request, VRDMA_STATUS_INVALID, "too many SGEs");
}

TEST_F(SrqCommands, limit_beyond_the_entries_is_refused) {
    request.limit = 17;
    expect_refused(VRDMA_CMD_CREATE_SRQ, request, VRDMA_STATUS_INVALID, "beyond the entries");
    const SharedRing srq = tenant.create_srq(16);
    expect_refused(VRDMA_CMD_MODIFY_SRQ, vrdma_cmd_modify_srq{srq.handle, 17}, VRDMA_STATUS_INVALID,
                   "beyond the entries");
}

TEST_F(SrqCommands, unknown_or_foreign_domain_is_refused) {
    request.pd = 40;
    expect_refused(VRDMA_CMD_CREATE_SRQ, request, VRDMA_STATUS_NOT_FOUND, "protection domain");
    request.pd = other.pd;
    expect_refused(VRDMA_CMD_CREATE_SRQ, request, VRDMA_STATUS_NOT_FOUND, "protection domain");
}

TEST_F(SrqCommands, memory_must_be_the_tenants_own) {
    expect_memory_rules(VRDMA_CMD_CREATE_SRQ, request);
}

TEST_F(SrqCommands, queues_run_out) {
    exhaust([this] { return tenant.command(VRDMA_CMD_CREATE_SRQ, request); });
}

TEST_F(SrqCommands, unknown_and_foreign_handles_are_refused) {
    const uint32_t foreign = other.create_srq().handle;
    expect_refused(VRDMA_CMD_MODIFY_SRQ, vrdma_cmd_modify_srq{50, 1}, VRDMA_STATUS_NOT_FOUND,
                   "shared receive queue");
    expect_refused(VRDMA_CMD_MODIFY_SRQ, vrdma_cmd_modify_srq{foreign, 1}, VRDMA_STATUS_NOT_FOUND,
                   "shared receive queue");
    for (const uint16_t opcode : {VRDMA_CMD_QUERY_SRQ, VRDMA_CMD_DESTROY_SRQ}) {
        expect_unknown_handle(opcode, "shared receive queue");
        expect_refused(opcode, vrdma_handle{foreign, 0}, VRDMA_STATUS_NOT_FOUND,
                       "shared receive queue");
    }
}

TEST_F(SrqCommands, queue_with_a_queue_pair_is_busy) {
    const SharedRing srq = tenant.create_srq();
    const QueuePair qp = tenant.create_qp({.srq = srq.handle});
    expect_busy(VRDMA_CMD_DESTROY_SRQ, srq.handle);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, qp.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_SRQ, srq.handle));
}

class QpCommands : public QueueCommands {
  protected:
    QpCommands() {
        request.memory = {small, 0, 0};
        request.pd = tenant.pd;
        request.type = VRDMA_QPT_RC;
        request.send_cq = request.recv_cq = tenant.cq.handle;
        request.srq = VRDMA_NO_HANDLE;
        request.sq_entries = request.rq_entries = 4;
        request.max_send_sge = request.max_recv_sge = 2;
    }
    void expect_no(vrdma_status status, std::string_view text) {
        expect_refused(VRDMA_CMD_CREATE_QP, request, status, text);
        EXPECT_EQ(world.shard(0).state().cqs[tenant.cq.handle].users, 0U);
    }
    vrdma_cmd_create_qp request{};
};

TEST_F(QpCommands, right_request_is_done) {
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_CREATE_QP, request));
    const auto made = tenant.response<vrdma_rsp_create_qp>();
    EXPECT_GT(made.qpn, 1U);
    EXPECT_LT(made.qpn, 0xffffffU);
}

TEST_F(QpCommands, wrong_lengths_are_refused) {
    expect_bad_length(VRDMA_CMD_CREATE_QP);
    expect_bad_length(VRDMA_CMD_MODIFY_QP);
    expect_bad_length(VRDMA_CMD_QUERY_QP);
    expect_bad_length(VRDMA_CMD_DESTROY_QP);
    const QueuePair qp = tenant.create_qp();
    const std::array<uint32_t, 3> longer{qp.handle, 0, 0};
    expect_refused(VRDMA_CMD_QUERY_QP, longer, VRDMA_STATUS_INVALID, "body length");
}

TEST_F(QpCommands, unknown_type_is_refused) {
    for (const uint32_t type : {0U, 1U, 5U, 8U, 10U, 258U}) {
        request.type = type;
        expect_no(VRDMA_STATUS_UNSUPPORTED, "type must be");
    }
}

TEST_F(QpCommands, unknown_flag_is_refused) {
    request.flags = 4;
    expect_no(VRDMA_STATUS_INVALID, "queue pair flag");
}

TEST_F(QpCommands, reserved_field_is_refused) {
    request.reserved = 1;
    expect_no(VRDMA_STATUS_INVALID, "queue pair flag");
}

TEST_F(QpCommands, ring_sizes_must_be_powers_of_two_within_the_limit) {
    for (const uint32_t entries : {3U, 2U * VRDMA_MAX_QUEUE_ENTRIES, UINT32_MAX}) {
        request.sq_entries = entries;
        expect_no(VRDMA_STATUS_INVALID, "power of two");
        request.sq_entries = 4;
        request.rq_entries = entries;
        expect_no(VRDMA_STATUS_INVALID, "power of two");
        request.rq_entries = 4;
    }
}

TEST_F(QpCommands, too_many_sges_or_inline_bytes_are_refused) {
    request.max_send_sge = VRDMA_MAX_SGE + 1;
    expect_no(VRDMA_STATUS_INVALID, "more SGEs");
    request.max_send_sge = 1;
    request.max_recv_sge = VRDMA_MAX_SGE + 1;
    expect_no(VRDMA_STATUS_INVALID, "more SGEs");
    request.max_recv_sge = 1;
    request.max_inline = VRDMA_MAX_INLINE + 1;
    expect_no(VRDMA_STATUS_INVALID, "inline bytes");
}

TEST_F(QpCommands, unknown_or_foreign_objects_are_refused) {
    const vrdma_cmd_create_qp right = request;
    for (const uint32_t pd : {40U, other.pd}) {
        request.pd = pd;
        expect_no(VRDMA_STATUS_NOT_FOUND, "protection domain");
        request = right;
    }
    for (const uint32_t cq : {200U, other.cq.handle}) {
        request.send_cq = cq;
        expect_no(VRDMA_STATUS_NOT_FOUND, "completion queue");
        request = right;
        request.recv_cq = cq;
        expect_no(VRDMA_STATUS_NOT_FOUND, "completion queue");
        request = right;
    }
    request.rq_entries = 0;
    for (const uint32_t srq : {50U, other.create_srq().handle}) {
        request.srq = srq;
        expect_no(VRDMA_STATUS_NOT_FOUND, "shared receive queue");
    }
}

TEST_F(QpCommands, receive_queue_beside_an_srq_is_refused) {
    request.srq = tenant.create_srq().handle;
    expect_no(VRDMA_STATUS_INVALID, "and a receive queue");
}

TEST_F(QpCommands, memory_must_be_the_tenants_own) {
    request.sq_entries = 32;  // so that no offset in the last line fits
    expect_memory_rules(VRDMA_CMD_CREATE_QP, request);
}

TEST_F(QpCommands, queue_pairs_run_out) {
    exhaust([this] { return tenant.command(VRDMA_CMD_CREATE_QP, request); });
}

TEST_F(QpCommands, unknown_and_foreign_handles_are_refused) {
    const QueuePair foreign = other.create_qp();
    for (const uint16_t opcode : {VRDMA_CMD_QUERY_QP, VRDMA_CMD_DESTROY_QP}) {
        expect_unknown_handle(opcode, "no such queue pair");
        expect_refused(opcode, vrdma_handle{foreign.handle, 0}, VRDMA_STATUS_NOT_FOUND,
                       "no such queue pair");
    }
    expect_refused(VRDMA_CMD_MODIFY_QP, vrdma_cmd_modify_qp{200, 0, {}}, VRDMA_STATUS_NOT_FOUND,
                   "no such queue pair");
    vrdma_cmd_modify_qp kill{foreign.handle, VRDMA_QP_STATE, {}};
    kill.attributes.state = VRDMA_QPS_ERR;
    expect_refused(VRDMA_CMD_MODIFY_QP, kill, VRDMA_STATUS_NOT_FOUND, "no such queue pair");
    EXPECT_EQ(other.state_of(foreign), VRDMA_QPS_RESET);
}

TEST_F(QpCommands, doorbell_bits_are_used_again) {
    QueuePair first = tenant.create_qp();
    const QueuePair second = tenant.create_qp();
    EXPECT_NE(first.doorbell, second.doorbell);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, first.handle));
    EXPECT_EQ(tenant.create_qp().doorbell, first.doorbell);
}

TEST_F(QpCommands, numbers_are_not_used_again_soon) {
    std::set<uint32_t> seen;
    for (int i = 0; i < 2000; ++i) {
        Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_CREATE_QP, request));
        const auto made = tenant.response<vrdma_rsp_create_qp>();
        EXPECT_TRUE(seen.insert(made.qpn).second) << "QPN given twice within 2000";
        Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, made.handle));
    }
}

TEST(QpCommandsOfManyQueuePairs, context_has_no_more_than_its_doorbell_bits) {
    WorldOptions options;
    options.limits.qps = 65536;
    World world(options);
    Tenant tenant(world, world.add_vnic(kNetwork, kAddressA));
    std::byte* at = nullptr;
    vrdma_cmd_create_qp request{};
    request.memory = tenant.place(4096, at);
    request.pd = tenant.pd;
    request.type = VRDMA_QPT_RC;
    request.send_cq = request.recv_cq = tenant.cq.handle;
    request.srq = VRDMA_NO_HANDLE;
    for (int i = 0; i < VRDMA_MAX_QPS_PER_CONTEXT; ++i) {
        ASSERT_EQ(tenant.command(VRDMA_CMD_CREATE_QP, request).kind, CommandOutcome::Kind::Done);
    }
    const CommandOutcome outcome = tenant.command(VRDMA_CMD_CREATE_QP, request);
    EXPECT_EQ(outcome.refusal.status, VRDMA_STATUS_NO_RESOURCE);
    EXPECT_STREQ(outcome.refusal.text, "the context has all its queue pairs");
    tenant.tear_down();
    EXPECT_EQ(world.objects(), 0U);
}

// ---- attributes

class Attributes : public CommandTest {
  protected:
    void expect_no(uint32_t mask, const vrdma_qp_attributes& wanted, std::string_view text,
                   vrdma_status status = VRDMA_STATUS_INVALID) {
        const vrdma_qp_attributes before = tenant.query(qp);
        expect_refused(VRDMA_CMD_MODIFY_QP, vrdma_cmd_modify_qp{qp.handle, mask, wanted}, status,
                       text);
        const vrdma_qp_attributes after = tenant.query(qp);
        EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
    }
    QueuePair qp = tenant.create_qp();
    vrdma_qp_attributes attributes{};
};

TEST_F(Attributes, unknown_mask_bits_are_refused) {
    for (const uint32_t bit : {14U, 19U, 21U, 25U, 31U}) {
        expect_no(1U << bit, attributes, "mask", VRDMA_STATUS_UNSUPPORTED);
    }
}

TEST_F(Attributes, reserved_field_is_refused) {
    attributes.reserved = 1;
    expect_no(VRDMA_QP_QKEY, attributes, "reserved");
}

TEST_F(Attributes, other_port_is_refused) {
    for (const uint8_t port : {uint8_t{0}, uint8_t{2}}) {
        attributes.port = port;
        expect_no(VRDMA_QP_PORT, attributes, "one port");
    }
}

TEST_F(Attributes, other_pkey_index_is_refused) {
    attributes.pkey_index = 1;
    expect_no(VRDMA_QP_PKEY_INDEX, attributes, "P_Key");
}

TEST_F(Attributes, unknown_access_flag_is_refused) {
    attributes.access = 0x10;
    expect_no(VRDMA_QP_ACCESS_FLAGS, attributes, "access flag");
}

TEST_F(Attributes, unknown_mtu_is_refused) {
    for (const uint32_t mtu : {0U, 6U}) {
        attributes.path_mtu = mtu;
        expect_no(VRDMA_QP_PATH_MTU, attributes, "path MTU");
    }
}

TEST_F(Attributes, qpn_of_more_than_24_bits_is_refused) {
    attributes.dest_qpn = 1U << 24;
    expect_no(VRDMA_QP_DEST_QPN, attributes, "24 bits");
}

TEST_F(Attributes, too_many_rd_atomics_are_refused) {
    attributes.max_rd_atomic = attributes.max_dest_rd_atomic = VRDMA_MAX_RD_ATOMIC + 1;
    expect_no(VRDMA_QP_MAX_QP_RD_ATOMIC, attributes, "READs and atomics");
    expect_no(VRDMA_QP_MAX_DEST_RD_ATOMIC, attributes, "READs and atomics");
}

TEST_F(Attributes, timer_codes_have_five_bits) {
    attributes.min_rnr_timer = attributes.timeout = 32;
    expect_no(VRDMA_QP_MIN_RNR_TIMER, attributes, "timer code");
    expect_no(VRDMA_QP_TIMEOUT, attributes, "timer code");
}

TEST_F(Attributes, retry_counts_have_three_bits) {
    attributes.retry_count = attributes.rnr_retry = 8;
    expect_no(VRDMA_QP_RETRY_CNT, attributes, "retry count");
    expect_no(VRDMA_QP_RNR_RETRY, attributes, "retry count");
}

TEST_F(Attributes, source_gid_must_exist) {
    for (const uint8_t index : {uint8_t{2}, uint8_t{4}, uint8_t{255}}) {
        attributes.address.sgid_index = index;
        expect_no(VRDMA_QP_AV, attributes, "sgid_index");
    }
}

TEST_F(Attributes, what_was_set_is_what_is_asked_for) {
    connect(tenant, qp, gid_of(other), 77,
            {.timeout = 18,
             .retry_count = 5,
             .rnr_retry = 6,
             .min_rnr_timer = 9,
             .access = 5,
             .max_rd_atomic = 3,
             .max_dest_rd_atomic = 4});
    const vrdma_qp_attributes got = tenant.query(qp);
    EXPECT_EQ(got.state, VRDMA_QPS_RTS);
    EXPECT_EQ(got.current_state, VRDMA_QPS_RTS);
    EXPECT_EQ(got.dest_qpn, 77U);
    EXPECT_EQ(got.timeout, 18);
    EXPECT_EQ(got.retry_count, 5);
    EXPECT_EQ(got.rnr_retry, 6);
    EXPECT_EQ(got.min_rnr_timer, 9);
    EXPECT_EQ(got.access, 5U);
    EXPECT_EQ(got.max_rd_atomic, 3);
    EXPECT_EQ(got.max_dest_rd_atomic, 4);
    EXPECT_EQ(got.port, 1);
}

}  // namespace
}  // namespace vrdma::test
