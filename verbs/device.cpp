// What a vNIC can do is what the service announced at OPEN; nothing here asks it again.
//
// The size of ibv_device_attr_ex depends on the program's libibverbs (232 bytes for the plain
// query, 400 and more for the extended one): no byte beyond the caller's size is written, and what
// we do not know of is zero, which means "not supported" for every member there is.
#include "verbs/device.h"

#include <endian.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <new>

#include "verbs/clock.h"
#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

constexpr int kMaxAddressHandles = 1 << 20;  // they cost the device nothing; a number must be told
constexpr std::uint8_t kAckDelay = 10;       // 4.096 us * 2^10 = 4 ms (IBA 9.9.2.1.2)
constexpr std::uint64_t kPageSizes = ~std::uint64_t{VRDMA_PAGE_BYTES - 1} & UINT32_MAX;

constinit std::mutex known_mutex;
// Devices of ours that libibverbs keeps. Never destroyed: libibverbs may let go of them later.
std::vector<verbs_abi::VerbsDevice*>& known() {
    static auto* devices = new std::vector<verbs_abi::VerbsDevice*>;
    return *devices;
}

int as_int(std::uint64_t value) {
    return static_cast<int>(std::min(value, std::uint64_t{INT_MAX}));
}

ibv_device_attr describe(const vrdma_rsp_open& info) {
    const vrdma_device_limits& limits = info.limits;
    ibv_device_attr attr{};
    static_assert(sizeof info.service_version <= sizeof attr.fw_ver);
    std::memcpy(attr.fw_ver, info.service_version, sizeof info.service_version);
    attr.fw_ver[sizeof info.service_version - 1] = '\0';
    attr.node_guid = htobe64(info.node_guid);
    attr.sys_image_guid = attr.node_guid;
    attr.max_mr_size = limits.max_mr_bytes;
    attr.page_size_cap = kPageSizes;
    attr.vendor_id = kVendorId;
    attr.vendor_part_id = kVendorPartId;
    attr.hw_ver = info.abi_major;
    attr.max_qp = as_int(limits.max_qps);
    attr.max_qp_wr = as_int(limits.max_queue_entries);
    attr.device_cap_flags = IBV_DEVICE_CURR_QP_STATE_MOD | IBV_DEVICE_PORT_ACTIVE_EVENT |
                            IBV_DEVICE_SYS_IMAGE_GUID | IBV_DEVICE_RC_RNR_NAK_GEN;
    attr.max_sge = as_int(limits.max_sge);
    attr.max_sge_rd = attr.max_sge;
    attr.max_cq = as_int(limits.max_cqs);
    attr.max_cqe = as_int(limits.max_cq_entries);
    attr.max_mr = as_int(limits.max_mrs);
    attr.max_mw = as_int(limits.max_mws);
    if (limits.max_mws > 0) {
        attr.device_cap_flags |= IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2B;
    }
    if ((info.features & VRDMA_FEATURE_XRC) != 0) {
        attr.device_cap_flags |= IBV_DEVICE_XRC;
    }
    attr.max_pd = as_int(limits.max_pds);
    attr.max_qp_rd_atom = as_int(limits.max_rd_atomic);
    attr.max_qp_init_rd_atom = attr.max_qp_rd_atom;
    attr.max_res_rd_atom = as_int(std::uint64_t{limits.max_rd_atomic} * limits.max_qps);
    attr.atomic_cap = IBV_ATOMIC_HCA;
    attr.max_ah = kMaxAddressHandles;
    attr.max_srq = as_int(limits.max_srqs);
    attr.max_srq_wr = as_int(limits.max_queue_entries);
    attr.max_srq_sge = as_int(limits.max_sge);
    if ((info.features & VRDMA_FEATURE_MULTICAST) != 0) {
        attr.max_mcast_grp = VRDMA_MAX_MCAST_GROUPS;
        attr.max_mcast_qp_attach = VRDMA_MAX_MCAST_QPS;
        attr.max_total_mcast_qp_attach = VRDMA_MAX_MCAST_ATTACHMENTS;
    }
    attr.max_pkeys = 1;
    attr.local_ca_ack_delay = kAckDelay;
    attr.phys_port_cnt = 1;
    return attr;
}

}  // namespace

verbs_abi::VerbsDevice* alloc_device(verbs_abi::VerbsSysfsDev*) {
    auto* device = new (std::nothrow) verbs_abi::VerbsDevice{};
    if (device != nullptr) {
        device->core_support = verbs_abi::kCoreSupportOptionalMrAccess;
        const std::lock_guard lock(known_mutex);
        known().push_back(device);
    }
    return device;
}

void uninit_device(verbs_abi::VerbsDevice* device) {
    {
        const std::lock_guard lock(known_mutex);
        std::erase(known(), device);
    }
    delete device;
}

std::vector<KnownDevice> known_devices() {
    const std::lock_guard lock(known_mutex);
    std::vector<KnownDevice> devices;
    for (const verbs_abi::VerbsDevice* device : known()) {
        KnownDevice found{.socket = device_socket_path(device->device),
                          .guid = device_guid(device->device)};
        if (!found.socket.empty() && found.guid != 0) {
            devices.push_back(std::move(found));
        }
    }
    return devices;
}

int query_device_ex(ibv_context* context, const ibv_query_device_ex_input* input,
                    ibv_device_attr_ex* attr, std::size_t attr_size) {
    if ((input != nullptr && input->comp_mask != 0) || attr_size < sizeof(ibv_device_attr)) {
        return EINVAL;
    }
    ibv_device_attr_ex full{};
    full.orig_attr = describe(Context::of(context).channel->info());
    full.device_cap_flags_ex = full.orig_attr.device_cap_flags;
    full.phys_port_cnt_ex = full.orig_attr.phys_port_cnt;
    if ((Context::of(context).channel->info().features & VRDMA_FEATURE_TIMESTAMPS) != 0) {
        full.completion_timestamp_mask = UINT64_MAX;
        full.hca_core_clock = kClockKhz;
    }
    std::memset(attr, 0, attr_size);
    std::memcpy(attr, &full, std::min(attr_size, sizeof full));
    return 0;
}

}  // namespace vrdma::verbs
