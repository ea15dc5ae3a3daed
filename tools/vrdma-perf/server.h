#pragma once

// The far end as a process of its own.

#include <cstdint>
#include <vector>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/stream.h"

namespace vrdma::perf {

/// Serves one client until it closes the connection.
[[nodiscard]] verbs_util::Result<void> serve_client(verbs_util::Stream stream,
                                                    const verbs_util::DeviceOptions& device);

/// Serves one client after the other until killed; a failed client is reported and forgotten.
[[nodiscard]] verbs_util::Result<void> run_server(std::uint16_t port,
                                                  const verbs_util::DeviceOptions& device);

}  // namespace vrdma::perf
