// The device before and after it is opened: discovery, and what it can do.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>

#include "verbs/libibverbs_abi/structs.h"

namespace vrdma::verbs {

// What a vNIC says it is. The vendor is "VRD" as a locally administered OUI (IEEE 802: bit 1 of the
// first byte is set), so it can never be a manufacturer's.
inline constexpr std::uint32_t kVendorId = 0x565244;
inline constexpr std::uint32_t kVendorPartId = 1;  // a vNIC of the vRDMA service

[[nodiscard]] verbs_abi::VerbsDevice* alloc_device(verbs_abi::VerbsSysfsDev* sysfs_dev);
void uninit_device(verbs_abi::VerbsDevice* device);

int query_device_ex(ibv_context* context, const ibv_query_device_ex_input* input,
                    ibv_device_attr_ex* attr, std::size_t attr_size);

}  // namespace vrdma::verbs
