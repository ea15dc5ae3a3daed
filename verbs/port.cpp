// State and MTU come from the service; the rest is what an Ethernet port of a 200 Gb/s adapter
// says, because programs size their transfers by it (NCCL opens few channels below 100 Gb/s).
//
// ibv_port_attr has grown since (52 bytes in rdma-core 44, 56 later), and the operation is not told
// the caller's size: only the oldest struct is written. The library cleared the rest.
#include "verbs/port.h"

#include <cerrno>
#include <cstring>

#include "verbs/address.h"
#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

constexpr std::size_t kOldestAttrBytes = 52;
constexpr std::uint8_t kWidth4x = 2;
constexpr std::uint8_t kSpeedHdr = 64;  // 50 Gb/s a lane
constexpr std::uint64_t kSpeed = 2000;  // 200 Gb/s in units of 100 Mb/s
constexpr std::uint8_t kPhysLinkUp = 5;
constexpr std::uint8_t kPhysPolling = 2;
constexpr std::uint8_t kOneVirtualLane = 1;
constexpr std::uint8_t kGrhRequired = 1;  // IBV_QPF_GRH_REQUIRED
static_assert(sizeof(ibv_port_attr) >= kOldestAttrBytes);

}  // namespace

int query_port(ibv_context* ibv, std::uint8_t port, ibv_port_attr* attr) {
    Context& context = Context::of(ibv);
    if (port != kPort) {
        return fail("query_port", EINVAL, "the device has one port, number 1");
    }
    const auto answer =
        driver::query_command<vrdma_rsp_query_port>(*context.channel, VRDMA_CMD_QUERY_PORT);
    if (!answer) {
        return fail(context, "query_port", answer.error());
    }
    ibv_port_attr full{};
    full.state = static_cast<ibv_port_state>(answer->state);
    full.max_mtu = IBV_MTU_4096;
    full.active_mtu = static_cast<ibv_mtu>(answer->mtu);
    full.gid_tbl_len = VRDMA_GID_TABLE_LENGTH;
    full.port_cap_flags = IBV_PORT_CM_SUP | IBV_PORT_IP_BASED_GIDS;
    full.max_msg_sz = context.limits().max_transfer_bytes;
    full.pkey_tbl_len = 1;
    full.max_vl_num = kOneVirtualLane;
    full.active_width = kWidth4x;
    full.active_speed = kSpeedHdr;
    full.phys_state = full.state == IBV_PORT_ACTIVE ? kPhysLinkUp : kPhysPolling;
    full.link_layer = IBV_LINK_LAYER_ETHERNET;
    full.flags = kGrhRequired;
    std::memcpy(attr, &full, kOldestAttrBytes);
    return 0;
}

int query_port_speed(ibv_context*, std::uint32_t port, std::uint64_t* speed) {
    if (port != kPort) {
        return fail("query_port_speed", EINVAL, "the device has one port, number 1");
    }
    *speed = kSpeed;
    return 0;
}

}  // namespace vrdma::verbs
