// The port is Ethernet, so a peer is named by its GID and by nothing else: LIDs, path bits and
// static rates have no meaning and are ignored, as RoCE hardware does. The source is an entry of
// the GID table; an empty entry cannot be one.
#include "verbs/address.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint32_t kFlowLabelMask = 0xfffffU;  // IBA 8.3.2: 20 bits

bool is_empty(const vrdma_gid_entry& entry) {
    return std::all_of(std::begin(entry.gid), std::end(entry.gid),
                       [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

const char* check_address(const Context& context, const ibv_ah_attr& attr) {
    if (attr.port_num != kPort) {
        return "port_num must be 1";
    }
    if (attr.is_global == 0) {
        return "is_global must be set: the port is Ethernet and peers are named by their GID";
    }
    if (attr.grh.sgid_index >= VRDMA_GID_TABLE_LENGTH ||
        is_empty(context.channel->info().gid[attr.grh.sgid_index])) {
        return "sgid_index names no GID of this port";
    }
    return nullptr;
}

vrdma_address to_device(const ibv_ah_attr& attr) {
    vrdma_address address{};
    std::memcpy(address.gid, attr.grh.dgid.raw, sizeof address.gid);
    address.flow_label = attr.grh.flow_label & kFlowLabelMask;
    address.sgid_index = attr.grh.sgid_index;
    address.hop_limit = attr.grh.hop_limit;
    address.traffic_class = attr.grh.traffic_class;
    address.sl = attr.sl;
    return address;
}

ibv_ah_attr from_device(const vrdma_address& address, std::uint8_t port) {
    ibv_ah_attr attr{};
    std::memcpy(attr.grh.dgid.raw, address.gid, sizeof address.gid);
    attr.grh.flow_label = address.flow_label;
    attr.grh.sgid_index = address.sgid_index;
    attr.grh.hop_limit = address.hop_limit;
    attr.grh.traffic_class = address.traffic_class;
    attr.sl = address.sl;
    attr.is_global = 1;
    attr.port_num = port;
    return attr;
}

}  // namespace vrdma::verbs
