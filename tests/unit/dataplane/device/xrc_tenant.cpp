// The cookie of a target's handle is a number that no other object of the test has.
#include "xrc_tenant.h"

#include <gtest/gtest.h>

namespace vrdma::test {
namespace {

constexpr uint32_t kSges = 4;

QueuePair take_target(Tenant& tenant, vrdma_command_opcode opcode, uint32_t xrcd, uint32_t qpn) {
    static uint64_t cookies = 0x7000'0000;
    QueuePair target;
    target.type = VRDMA_QPT_XRC_RECV;
    target.cookie = ++cookies;
    Tenant::EXPECT_DONE(try_target(tenant, opcode, {xrcd, qpn, target.cookie}));
    const auto made = tenant.response<vrdma_rsp_create_qp>();
    EXPECT_EQ(made.doorbell, VRDMA_NO_HANDLE);
    target.handle = made.handle;
    target.qpn = made.qpn;
    return target;
}

}  // namespace

CommandOutcome try_open_xrcd(Tenant& tenant, uint32_t flags, std::optional<uint64_t> inode) {
    Attachment file;
    file.has_inode = inode.has_value();
    file.device = 1;
    file.inode = inode.value_or(0);
    return tenant.command(VRDMA_CMD_OPEN_XRCD, vrdma_cmd_open_xrcd{flags, 0}, file);
}

uint32_t open_xrcd(Tenant& tenant, std::optional<uint64_t> inode) {
    Tenant::EXPECT_DONE(try_open_xrcd(tenant, VRDMA_XRCD_CREATE, inode));
    return tenant.response<vrdma_handle>().handle;
}

vrdma_cmd_create_xrc_srq xrc_srq_request(Tenant& tenant, uint32_t xrcd,
                                         const XrcSrqOptions& options) {
    std::byte* at = nullptr;
    vrdma_cmd_create_xrc_srq request{};
    request.srq.memory = tenant.place(
        sizeof(vrdma_srq_header) + uint64_t{options.entries} * vrdma_recv_stride(kSges), at);
    request.srq.pd = options.pd.value_or(tenant.pd);
    request.srq.entries = options.entries;
    request.srq.max_sge = kSges;
    request.srq.cookie = reinterpret_cast<uint64_t>(at);
    request.xrcd = xrcd;
    request.cq = options.cq.value_or(tenant.cq.handle);
    return request;
}

XrcRing create_xrc_srq(Tenant& tenant, uint32_t xrcd, const XrcSrqOptions& options) {
    const vrdma_cmd_create_xrc_srq request = xrc_srq_request(tenant, xrcd, options);
    Tenant::EXPECT_DONE(tenant.command(VRDMA_CMD_CREATE_XRC_SRQ, request));
    const auto answer = tenant.response<vrdma_rsp_create_xrc_srq>();
    auto* at = reinterpret_cast<std::byte*>(request.srq.cookie);
    XrcRing made;
    made.srqn = answer.srqn;
    made.ring.handle = answer.handle;
    made.ring.cookie = request.srq.cookie;
    made.ring.entries = options.entries;
    made.ring.stride = vrdma_recv_stride(kSges);
    made.ring.header = reinterpret_cast<vrdma_srq_header*>(at);
    made.ring.ring = at + sizeof(vrdma_srq_header);
    return made;
}

CommandOutcome try_target(Tenant& tenant, vrdma_command_opcode opcode,
                          const vrdma_cmd_xrc_target& request) {
    return tenant.command(static_cast<uint16_t>(opcode), request);
}

QueuePair create_target(Tenant& tenant, uint32_t xrcd) {
    return take_target(tenant, VRDMA_CMD_CREATE_XRC_TARGET, xrcd, 0);
}

QueuePair open_target(Tenant& tenant, uint32_t xrcd, uint32_t qpn) {
    return take_target(tenant, VRDMA_CMD_OPEN_XRC_TARGET, xrcd, qpn);
}

}  // namespace vrdma::test
