// What a congestion controller is told. The algorithms know nothing of queue pairs, so that a test
// builds these by hand.
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::transport {

struct AckEvent {
    Instant now{};
    Duration rtt{};  // of the newest packet it reports, the receiver's delay taken off; 0: none
    Duration minimum_rtt{};  // lately
    Duration smoothed_rtt{};
    uint32_t delivered = 0;  // packets
    uint32_t received = 0;   // packets that the receiver counted since the last event, and
    uint32_t marked = 0;     // those of them that carried ECN CE
};

struct LossEvent {
    Instant now{};
    Duration smoothed_rtt{};
    uint32_t packets = 0;
    bool timeout = false;  // the timer found them, not the receiver's report
};

}  // namespace vrdma::transport
