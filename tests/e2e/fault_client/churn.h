#pragma once

// Creates and destroys everything, over and over: a victim to be killed in the middle of set-up.

#include <cstdint>

#include "tests/e2e/fault_client/event_log.h"
#include "tests/e2e/fault_client/link.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"

namespace vrdma::fault {

struct ChurnOptions {
    verbs_util::DeviceOptions device;
    LinkOptions link;
    std::uint32_t rounds = 0;  ///< 0: until killed
};

/// Each round opens the device, creates a link connected with itself, destroys it and closes the
/// device. A line is written after every round.
[[nodiscard]] verbs_util::Result<void> run_churn(const ChurnOptions& options, EventLog& log);

}  // namespace vrdma::fault
