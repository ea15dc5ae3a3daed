#pragma once

// Victim and partner: two processes that transfer until one of them is gone.

#include <cstdint>
#include <string>

#include "tests/e2e/fault_client/event_log.h"
#include "tests/e2e/fault_client/link.h"
#include "tests/e2e/fault_client/transfer_loop.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"

namespace vrdma::fault {

struct SessionOptions {
    verbs_util::DeviceOptions device;
    std::string address;  ///< to connect to, or to listen on
    LinkOptions link;     ///< the victim's; the partner is told
    Transfer transfer = Transfer::kMixed;
    bool victim_sends = true;
    bool partner_sends = true;
    std::uint32_t rounds = 1;        ///< partner: victims, one after the other
    std::uint32_t within_ms = 5000;  ///< partner: a victim's end must be noticed within this time
    std::uint32_t seconds = 0;       ///< victim: stop by itself, in an orderly way; 0: never
};

/// Connects and transfers until killed. Ends by itself when the device or the partner fails.
[[nodiscard]] verbs_util::Result<void> run_victim(const SessionOptions& options, EventLog& log);

/// Serves `rounds` victims; reports when it first saw what of each one's end. Fails with kTransfer
/// when the end of a victim was not noticed on every queue pair that this side sends on.
[[nodiscard]] verbs_util::Result<void> run_partner(const SessionOptions& options, EventLog& log);

}  // namespace vrdma::fault
