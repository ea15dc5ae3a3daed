#pragma once

// Registering memory, with an error a person can act on.

#include <infiniband/verbs.h>

#include <cstddef>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/objects.h"

namespace vrdma::verbs_util {

/// Local write, remote read, write and atomics.
inline constexpr unsigned kFullAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                        IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

[[nodiscard]] Result<Owned<ibv_pd>> allocate_pd(const Device& device);
[[nodiscard]] Result<Owned<ibv_mr>> register_memory(const Device& device, ibv_pd* pd, void* at,
                                                    std::size_t bytes,
                                                    unsigned access = kFullAccess);

}  // namespace vrdma::verbs_util
