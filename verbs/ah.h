// Address handles. The provider's own: the device gets their contents with each UD entry.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

#include "driver/abi/wqe.h"

namespace vrdma::verbs {

// The address as a UD entry carries it (struct vrdma_send_wqe.ud_address).
struct UdAddress {
    std::uint8_t remote_gid[16];
    std::uint32_t flow_label;
    std::uint8_t sgid_index;
    std::uint8_t hop_limit;
    std::uint8_t traffic_class;
    std::uint8_t sl;
    std::uint64_t reserved;
};
static_assert(sizeof(UdAddress) == sizeof(vrdma_send_wqe::ud_address));

struct Ah {
    ibv_ah base;  // first: an ibv_ah* is an Ah*
    UdAddress address;

    [[nodiscard]] static const Ah* of(const ibv_ah* ah) { return reinterpret_cast<const Ah*>(ah); }
};

[[nodiscard]] ibv_ah* create_ah(ibv_pd* pd, ibv_ah_attr* attr);
int destroy_ah(ibv_ah* ah);

}  // namespace vrdma::verbs
