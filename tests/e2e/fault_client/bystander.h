#pragma once

// A pair of queue pairs that has nothing to do with the fault and must not notice it.

#include <cstdint>
#include <string>

#include "tests/e2e/fault_client/event_log.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"

namespace vrdma::fault {

struct BystanderOptions {
    verbs_util::DeviceOptions device;
    std::string peer_device;  ///< empty: the same
    std::uint32_t size = 4096;
    verbs_util::MemoryKind memory = verbs_util::MemoryKind::kMalloc;
    std::uint32_t seconds = 0;  ///< 0: until SIGTERM or SIGINT
    std::uint32_t report_ms = 1000;
};

/// Transfers and checks every byte until told to stop. Fails at the first error or wrong byte.
[[nodiscard]] verbs_util::Result<void> run_bystander(const BystanderOptions& options,
                                                     EventLog& log);

}  // namespace vrdma::fault
