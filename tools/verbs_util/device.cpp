#include "tools/verbs_util/device.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>

// Finds and opens a device and decides which GID the program talks from. RoCE v2 over IPv4 is
// preferred because every peer can be reached by it; the link-local entries exist on any port but
// need an interface to be known. Where no GID type is reported (an InfiniBand port, an old kernel)
// any non-empty entry serves.

namespace vrdma::verbs_util {

namespace {

constexpr char kNoDeviceRemedy[] =
    "start vrdmad and run this program under vrdma-run, or check with ibv_devices";

struct DeviceList {
    ibv_device** entries = nullptr;
    int count = 0;

    DeviceList() { entries = ibv_get_device_list(&count); }
    ~DeviceList() {
        if (entries != nullptr) {
            ibv_free_device_list(entries);
        }
    }
    DeviceList(const DeviceList&) = delete;
    DeviceList& operator=(const DeviceList&) = delete;

    [[nodiscard]] std::string names() const {
        std::string text;
        for (int i = 0; i < count; ++i) {
            text += i == 0 ? "" : ", ";
            text += ibv_get_device_name(entries[i]);
        }
        return text;
    }
};

bool is_ipv4_mapped(const ibv_gid& gid) {
    static constexpr std::uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(gid.raw, kPrefix, sizeof kPrefix) == 0;
}

bool is_empty(const ibv_gid& gid) {
    static constexpr ibv_gid kEmpty{};
    return std::memcmp(gid.raw, kEmpty.raw, sizeof kEmpty.raw) == 0;
}

std::optional<ibv_gid_entry> gid_at(ibv_context* context, std::uint8_t port, int index) {
    ibv_gid_entry entry{};
    if (ibv_query_gid_ex(context, port, static_cast<std::uint32_t>(index), &entry, 0) == 0) {
        return entry;
    }
    return std::nullopt;
}

std::optional<int> choose_gid_index(ibv_context* context, std::uint8_t port, int table_length) {
    std::optional<int> chosen;
    int chosen_rank = 0;
    for (int index = 0; index < table_length; ++index) {
        const auto entry = gid_at(context, port, index);
        if (!entry) {
            continue;
        }
        const int rank = gid_rank(*entry);
        if (rank >= 0 && (!chosen || rank < chosen_rank)) {
            chosen = index;
            chosen_rank = rank;
        }
    }
    return chosen;
}

}  // namespace

int gid_rank(const ibv_gid_entry& entry) {
    if (is_empty(entry.gid)) {
        return -1;
    }
    if (entry.gid_type == IBV_GID_TYPE_ROCE_V2) {
        return is_ipv4_mapped(entry.gid) ? 0 : 1;
    }
    return 2;
}

Result<std::shared_ptr<Device>> Device::open(const DeviceOptions& options) {
    errno = 0;
    const DeviceList list;
    if (list.entries == nullptr || list.count == 0) {
        return fail_errno(ErrorKind::kNoDevice, "no RDMA device found", errno, kNoDeviceRemedy);
    }
    ibv_device* found = nullptr;
    for (int i = 0; i < list.count && found == nullptr; ++i) {
        if (options.name.empty() || options.name == ibv_get_device_name(list.entries[i])) {
            found = list.entries[i];
        }
    }
    if (found == nullptr) {
        return fail(ErrorKind::kNoDevice, fmt::format("no RDMA device named {} (present: {})",
                                                      options.name, list.names()));
    }
    auto device = std::shared_ptr<Device>(new Device);
    device->name_ = ibv_get_device_name(found);
    device->port_number_ = options.port;
    device->context_.reset(ibv_open_device(found));
    if (!device->context_) {
        return fail_errno(ErrorKind::kNoDevice, "ibv_open_device " + device->name_, errno,
                          "check that vrdmad runs and that this user may use the device");
    }
    ibv_context* context = device->context_.get();
    if (const int rc = ibv_query_device(context, &device->attributes_); rc != 0) {
        return fail_errno(ErrorKind::kNoDevice, "ibv_query_device " + device->name_, rc);
    }
    if (const int rc = ibv_query_port(context, options.port, &device->port_); rc != 0) {
        return fail_errno(ErrorKind::kNoDevice,
                          fmt::format("ibv_query_port {} of {}", options.port, device->name_), rc);
    }
    if (device->port_.state != IBV_PORT_ACTIVE) {
        return fail(ErrorKind::kNoDevice,
                    fmt::format("port {} of {} is {}, not PORT_ACTIVE", options.port, device->name_,
                                ibv_port_state_str(device->port_.state)));
    }
    const auto index = options.gid_index >= 0
                           ? std::optional<int>(options.gid_index)
                           : choose_gid_index(context, options.port, device->port_.gid_tbl_len);
    if (!index) {
        return fail(ErrorKind::kNoDevice,
                    fmt::format("port {} of {} has no GID", options.port, device->name_));
    }
    const auto entry = gid_at(context, options.port, *index);
    if (!entry || is_empty(entry->gid)) {
        return fail(ErrorKind::kUsage,
                    fmt::format("GID index {} of {} is empty (table has {} entries)", *index,
                                device->name_, device->port_.gid_tbl_len));
    }
    device->gid_index_ = static_cast<std::uint8_t>(*index);
    device->gid_ = entry->gid;
    return device;
}

std::string describe_completion(const ibv_wc& completion) {
    return fmt::format("{} (status {}), QP {:#x}, wr_id {:#x}, vendor code {:#x}",
                       ibv_wc_status_str(completion.status), static_cast<int>(completion.status),
                       completion.qp_num, completion.wr_id, completion.vendor_err);
}

std::string remedy_for_status(ibv_wc_status status) {
    if (status == IBV_WC_RETRY_EXC_ERR) {
        return "the peer does not answer: check that it still runs and that the networks match";
    }
    if (status == IBV_WC_RNR_RETRY_EXC_ERR) {
        return "the peer posted no receive in time";
    }
    if (status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR) {
        return "the peer refused the access: rkey, range or access flags do not allow it";
    }
    if (status == IBV_WC_LOC_PROT_ERR || status == IBV_WC_LOC_LEN_ERR) {
        return "the local buffer does not allow it: lkey, range or length";
    }
    if (status == IBV_WC_WR_FLUSH_ERR) {
        return "the queue pair was already in error: an earlier request or its peer failed";
    }
    return {};
}

const char* opcode_name(ibv_wc_opcode opcode) {
    switch (static_cast<unsigned>(opcode)) {
        case IBV_WC_SEND:
            return "SEND";
        case IBV_WC_RDMA_WRITE:
            return "RDMA_WRITE";
        case IBV_WC_RDMA_READ:
            return "RDMA_READ";
        case IBV_WC_COMP_SWAP:
            return "COMP_SWAP";
        case IBV_WC_FETCH_ADD:
            return "FETCH_ADD";
        case IBV_WC_RECV:
            return "RECV";
        case IBV_WC_RECV_RDMA_WITH_IMM:
            return "RECV_RDMA_WITH_IMM";
        default:
            return "unexpected opcode";
    }
}

const char* opcode_name(ibv_wr_opcode opcode) {
    switch (static_cast<unsigned>(opcode)) {
        case IBV_WR_SEND:
            return "SEND";
        case IBV_WR_SEND_WITH_IMM:
            return "SEND_IMM";
        case IBV_WR_RDMA_WRITE:
            return "WRITE";
        case IBV_WR_RDMA_WRITE_WITH_IMM:
            return "WRITE_IMM";
        case IBV_WR_RDMA_READ:
            return "READ";
        case IBV_WR_ATOMIC_CMP_AND_SWP:
            return "CMP_SWP";
        case IBV_WR_ATOMIC_FETCH_AND_ADD:
            return "FETCH_ADD";
        default:
            return "unexpected opcode";
    }
}

}  // namespace vrdma::verbs_util
