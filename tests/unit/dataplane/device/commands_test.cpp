// Commands about contexts, protection domains, regions, memory regions, channels: every refusal
// alone, and that nothing changes with it.
#include "command_test_base.h"

namespace vrdma::test {
namespace {

// ---- contexts

using ContextCommands = CommandTest;

TEST_F(ContextCommands, unknown_command_is_refused) {
    for (const uint16_t opcode : std::initializer_list<uint16_t>{0, 1, 26, 65535}) {
        expect_refused(opcode, vrdma_handle{}, VRDMA_STATUS_UNSUPPORTED, "unknown command");
    }
}

TEST_F(ContextCommands, port_state_follows_the_vnic) {
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_QUERY_PORT));
    EXPECT_EQ(tenant.response<vrdma_rsp_query_port>().state, 4U);
    EXPECT_EQ(tenant.response<vrdma_rsp_query_port>().mtu, 5U);
    world.set_up(tenant.vnic, false);
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_QUERY_PORT));
    EXPECT_EQ(tenant.response<vrdma_rsp_query_port>().state, 1U);
}

TEST_F(ContextCommands, contexts_run_out) {
    alignas(64) static vrdma_doorbell doorbell;
    Commands::NewContext request{};
    request.doorbell = &doorbell;
    uint32_t opened = 2;  // the fixture's
    while (world.shard(0).commands().open(request)) {
        ASSERT_LE(++opened, small_limits().contexts);
    }
    EXPECT_EQ(opened, small_limits().contexts);
}

// ---- protection domains

using PdCommands = CommandTest;

TEST_F(PdCommands, wrong_length_is_refused) {
    expect_bad_length(VRDMA_CMD_DEALLOC_PD);
}

TEST_F(PdCommands, reserved_field_is_refused) {
    expect_refused(VRDMA_CMD_DEALLOC_PD, vrdma_handle{tenant.create_pd(), 1}, VRDMA_STATUS_INVALID,
                   "reserved");
}

TEST_F(PdCommands, unknown_handle_is_refused) {
    expect_unknown_handle(VRDMA_CMD_DEALLOC_PD, "protection domain");
}

TEST_F(PdCommands, handle_of_another_context_is_refused) {
    expect_refused(VRDMA_CMD_DEALLOC_PD, vrdma_handle{other.create_pd(), 0}, VRDMA_STATUS_NOT_FOUND,
                   "protection domain");
}

TEST_F(PdCommands, handle_that_was_freed_is_refused) {
    const uint32_t pd = tenant.create_pd();
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_PD, pd));
    expect_refused(VRDMA_CMD_DEALLOC_PD, vrdma_handle{pd, 0}, VRDMA_STATUS_NOT_FOUND,
                   "protection domain");
}

TEST_F(PdCommands, pd_with_a_memory_region_is_busy) {
    const uint32_t pd = tenant.create_pd();
    const Buffer buffer = tenant.buffer(8, {.pd = pd});
    expect_busy(VRDMA_CMD_DEALLOC_PD, pd);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEREG_MR, buffer.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_PD, pd));
}

TEST_F(PdCommands, pd_with_a_queue_pair_is_busy) {
    const QueuePair qp = tenant.create_qp();
    expect_busy(VRDMA_CMD_DEALLOC_PD, tenant.pd);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, qp.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_PD, tenant.pd));
}

TEST_F(PdCommands, pd_with_an_srq_is_busy) {
    const SharedRing srq = tenant.create_srq();
    expect_busy(VRDMA_CMD_DEALLOC_PD, tenant.pd);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_SRQ, srq.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEALLOC_PD, tenant.pd));
}

TEST_F(PdCommands, domains_run_out) {
    exhaust([this] { return tenant.command(VRDMA_CMD_ALLOC_PD); });
    EXPECT_EQ(world.shard(0).state().pds.used(), small_limits().pds);
}

// ---- regions

class RegionCommands : public CommandTest {
  protected:
    std::byte* memory = tenant.allocate(8192);
    vrdma_cmd_add_region request{VRDMA_REGION_MAPPED, VRDMA_REGION_WRITABLE, 0, 8192};
};

TEST_F(RegionCommands, wrong_lengths_are_refused) {
    expect_bad_length(VRDMA_CMD_ADD_REGION);
    expect_bad_length(VRDMA_CMD_REMOVE_REGION);
}

TEST_F(RegionCommands, unknown_flag_is_refused) {
    request.flags = 4;
    expect_refused(VRDMA_CMD_ADD_REGION, request, VRDMA_STATUS_INVALID, "unknown region flag",
                   {.base = memory});
}

TEST_F(RegionCommands, unknown_kind_is_refused) {
    for (const uint32_t kind : {0U, 3U, 257U}) {
        request.kind = kind;
        expect_refused(VRDMA_CMD_ADD_REGION, request, VRDMA_STATUS_INVALID, "region kind",
                       {.base = memory, .file = 7});
    }
}

TEST_F(RegionCommands, kind_without_its_attachment_is_refused) {
    expect_refused(VRDMA_CMD_ADD_REGION, request, VRDMA_STATUS_INVALID, "region kind", {.file = 7});
    request.kind = VRDMA_REGION_PROCESS;
    expect_refused(VRDMA_CMD_ADD_REGION, request, VRDMA_STATUS_INVALID, "region kind",
                   {.base = memory});
}

TEST_F(RegionCommands, unknown_handle_is_refused) {
    expect_unknown_handle(VRDMA_CMD_REMOVE_REGION, "no such region");
}

TEST_F(RegionCommands, handle_of_another_context_is_refused) {
    expect_refused(VRDMA_CMD_REMOVE_REGION, vrdma_handle{other.region, 0}, VRDMA_STATUS_NOT_FOUND,
                   "no such region");
}

TEST_F(RegionCommands, region_under_a_queue_is_busy) {
    expect_busy(VRDMA_CMD_REMOVE_REGION, tenant.region);
}

TEST_F(RegionCommands, region_under_a_memory_region_is_busy_for_each_of_its_ranges) {
    const uint32_t region = tenant.add_region(memory, 8192);
    const Buffer buffer =
        tenant.register_ranges({{region, 0, 0, 4096}, {region, 0, 4096, 4096}}, 0x1000, {});
    expect_busy(VRDMA_CMD_REMOVE_REGION, region);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEREG_MR, buffer.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_REMOVE_REGION, region));
    EXPECT_EQ(world.unmapped(), std::vector<std::byte*>{memory});
}

TEST_F(RegionCommands, removed_process_region_closes_its_file) {
    const int file = world.new_file();
    const uint32_t region = tenant.add_process_region(memory, 8192, file);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_REMOVE_REGION, region));
    EXPECT_EQ(world.closed_files(), std::vector<int>{file});
    EXPECT_TRUE(world.unmapped().empty());
}

TEST_F(RegionCommands, regions_run_out) {
    exhaust([this] { return tenant.command(VRDMA_CMD_ADD_REGION, request, {.base = memory}); });
}

// ---- memory regions

class MrCommands : public CommandTest {
  protected:
    struct Body {
        vrdma_cmd_reg_mr request;
        vrdma_mr_range ranges[3];
    };
    MrCommands() {
        body.request = {tenant.pd, VRDMA_ACCESS_MASK, 0x1000, 3 * 4096, 3, 0};
        for (uint32_t i = 0; i < 3; ++i) {
            body.ranges[i] = {region, 0, i * 4096, 4096};
        }
    }
    void expect_no(vrdma_status status, std::string_view text) {
        expect_refused(VRDMA_CMD_REG_MR, body, status, text);
        EXPECT_EQ(world.shard(0).state().regions[region].users, 0U);
    }

    uint32_t region = tenant.add_region(tenant.allocate(3 * 4096), 3 * 4096);
    Body body{};
};

TEST_F(MrCommands, right_request_is_done) {
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_REG_MR, body));
    EXPECT_NE(tenant.response<vrdma_rsp_reg_mr>().lkey, 0U);
}

TEST_F(MrCommands, body_shorter_than_the_request_is_refused) {
    expect_bad_length(VRDMA_CMD_REG_MR);
}

TEST_F(MrCommands, body_that_does_not_hold_its_ranges_is_refused) {
    body.request.range_count = 2;
    expect_no(VRDMA_STATUS_INVALID, "body length");
    body.request.range_count = 4;
    expect_no(VRDMA_STATUS_INVALID, "body length");
}

TEST_F(MrCommands, too_many_ranges_are_refused) {
    for (const uint32_t count : {VRDMA_MAX_RANGES_PER_MR + 1U, UINT32_MAX, 0x0aaaaaabU}) {
        body.request.range_count = count;
        expect_no(VRDMA_STATUS_INVALID, "too many ranges");
    }
}

TEST_F(MrCommands, reserved_fields_are_refused) {
    body.request.reserved = 1;
    expect_no(VRDMA_STATUS_INVALID, "reserved");
    body.request.reserved = 0;
    body.ranges[2].reserved = 1;
    expect_no(VRDMA_STATUS_INVALID, "reserved");
}

TEST_F(MrCommands, unknown_access_flag_is_refused) {
    body.request.access = VRDMA_ACCESS_ZERO_BASED;
    expect_no(VRDMA_STATUS_INVALID, "unknown access flag");
}

// IBA 10.6.3.1.
TEST_F(MrCommands, remote_write_or_atomic_without_local_write_is_refused) {
    body.request.access = VRDMA_ACCESS_REMOTE_WRITE;
    expect_no(VRDMA_STATUS_INVALID, "needs local write");
    body.request.access = VRDMA_ACCESS_REMOTE_ATOMIC;
    expect_no(VRDMA_STATUS_INVALID, "needs local write");
}

TEST_F(MrCommands, range_that_wraps_is_refused) {
    body.request.iova = UINT64_MAX - 3 * 4096 + 1;
    expect_no(VRDMA_STATUS_INVALID, "wraps");
    body.request.iova = 1;
    body.request.length = UINT64_MAX;
    expect_no(VRDMA_STATUS_INVALID, "wraps");
}

TEST_F(MrCommands, unknown_domain_is_refused) {
    body.request.pd = 40;
    expect_no(VRDMA_STATUS_NOT_FOUND, "protection domain");
}

TEST_F(MrCommands, domain_of_another_context_is_refused) {
    body.request.pd = other.pd;
    expect_no(VRDMA_STATUS_NOT_FOUND, "protection domain");
}

TEST_F(MrCommands, range_without_a_region_is_refused) {
    body.ranges[2].region = 200;
    expect_no(VRDMA_STATUS_NOT_FOUND, "names no region");
}

TEST_F(MrCommands, range_in_the_region_of_another_context_is_refused) {
    body.ranges[2].region = other.region;
    expect_no(VRDMA_STATUS_NOT_FOUND, "names no region");
}

TEST_F(MrCommands, range_outside_its_region_is_refused) {
    for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
             {2 * 4096 + 1, 4096}, {3 * 4096, 1}, {UINT64_MAX, 4096}, {0, UINT64_MAX}, {0, 0}}) {
        body.ranges[2] = {region, 0, offset, length};
        expect_no(VRDMA_STATUS_INVALID, "empty or outside");
    }
}

TEST_F(MrCommands, inner_range_shorter_than_a_page_is_refused) {
    body.ranges[1].length = 4095;
    expect_no(VRDMA_STATUS_INVALID, "shorter than a page");
}

TEST_F(MrCommands, write_access_to_a_read_only_region_is_refused) {
    body.ranges[1].region = tenant.add_region(tenant.allocate(8192), 8192, 0);
    expect_no(VRDMA_STATUS_NO_ACCESS, "read-only");
}

TEST_F(MrCommands, read_access_to_a_read_only_region_is_given) {
    for (vrdma_mr_range& range : body.ranges) {
        range.region = tenant.add_region(tenant.allocate(3 * 4096), 3 * 4096, 0);
    }
    body.request.access = VRDMA_ACCESS_REMOTE_READ;
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_REG_MR, body));
}

TEST_F(MrCommands, ranges_longer_than_the_region_are_refused) {
    body.request.length = 3 * 4096 - 1;
    expect_no(VRDMA_STATUS_INVALID, "longer than the MR");
}

TEST_F(MrCommands, ranges_shorter_than_the_region_are_refused) {
    body.request.length = 3 * 4096 + 1;
    expect_no(VRDMA_STATUS_INVALID, "do not cover");
}

TEST_F(MrCommands, memory_regions_run_out) {
    exhaust([this] { return tenant.command(VRDMA_CMD_REG_MR, body); });
}

TEST_F(MrCommands, dereg_of_an_unknown_handle_is_refused) {
    expect_bad_length(VRDMA_CMD_DEREG_MR);
    expect_unknown_handle(VRDMA_CMD_DEREG_MR, "no such memory region");
}

TEST_F(MrCommands, dereg_of_another_contexts_handle_is_refused) {
    expect_refused(VRDMA_CMD_DEREG_MR, vrdma_handle{other.buffer(8).handle, 0},
                   VRDMA_STATUS_NOT_FOUND, "no such memory region");
}

TEST_F(MrCommands, dereg_twice_is_refused) {
    const Buffer buffer = tenant.buffer(8);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEREG_MR, buffer.handle));
    expect_refused(VRDMA_CMD_DEREG_MR, vrdma_handle{buffer.handle, 0}, VRDMA_STATUS_NOT_FOUND,
                   "no such memory region");
}

// ---- channels

using ChannelCommands = CommandTest;

TEST_F(ChannelCommands, channel_without_a_socket_is_refused) {
    expect_refused(VRDMA_CMD_CREATE_CHANNEL, vrdma_handle{}, VRDMA_STATUS_INVALID, "socket");
}

TEST_F(ChannelCommands, channel_in_use_is_busy) {
    const uint32_t channel = tenant.create_channel();
    const CompletionRing cq = tenant.create_cq({.channel = channel});
    const CommandOutcome outcome =
        tenant.command(VRDMA_CMD_DESTROY_CHANNEL, vrdma_handle{channel, 0});
    EXPECT_EQ(outcome.refusal.status, VRDMA_STATUS_BUSY);
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_CQ, cq.handle));
    Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_CHANNEL, channel));
    EXPECT_EQ(world.closed_files().size(), 1U);
}

TEST_F(ChannelCommands, unknown_and_foreign_handles_are_refused) {
    expect_bad_length(VRDMA_CMD_DESTROY_CHANNEL);
    expect_unknown_handle(VRDMA_CMD_DESTROY_CHANNEL, "completion channel");
    expect_refused(VRDMA_CMD_DESTROY_CHANNEL, vrdma_handle{other.create_channel(), 0},
                   VRDMA_STATUS_NOT_FOUND, "completion channel");
}

TEST_F(ChannelCommands, channels_run_out) {
    exhaust([this] {
        return tenant.command(VRDMA_CMD_CREATE_CHANNEL, {}, Attachment{.file = world.new_file()});
    });
}

}  // namespace
}  // namespace vrdma::test
