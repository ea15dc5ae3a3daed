// The device before and after it is opened: discovery, and what it can do.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "verbs/libibverbs_abi/structs.h"

namespace vrdma::verbs {

// What a vNIC says it is. The vendor is "VRD" as a locally administered OUI (IEEE 802: bit 1 of the
// first byte is set), so it can never be a manufacturer's.
inline constexpr std::uint32_t kVendorId = 0x565244;
inline constexpr std::uint32_t kVendorPartId = 1;  // a vNIC of the vRDMA service

[[nodiscard]] verbs_abi::VerbsDevice* alloc_device(verbs_abi::VerbsSysfsDev* sysfs_dev);
void uninit_device(verbs_abi::VerbsDevice* device);

struct KnownDevice {
    std::string socket;  // the service's, as the device's tree names it
    std::uint64_t guid;  // network order
};
// The vNICs that this libibverbs has found.
[[nodiscard]] std::vector<KnownDevice> known_devices();

int query_device_ex(ibv_context* context, const ibv_query_device_ex_input* input,
                    ibv_device_attr_ex* attr, std::size_t attr_size);

}  // namespace vrdma::verbs
