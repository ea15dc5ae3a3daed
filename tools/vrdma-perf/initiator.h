#pragma once

// What the measuring loops work on.

#include <cstdint>

#include "tools/verbs_util/tsc.h"
#include "tools/vrdma-perf/endpoint.h"
#include "tools/vrdma-perf/responder.h"

namespace vrdma::perf {

struct Initiator {
    Endpoint& endpoint;
    const EndpointDescription& remote;
    const verbs_util::Tsc& tsc;
    /// The far end when it lives in this thread and has to be served from here, else null.
    LocalResponder* local = nullptr;
};

/// What one sample did.
struct RunResult {
    std::uint64_t operations = 0;
    std::uint64_t ticks = 0;  ///< from the first post to the last completion
};

}  // namespace vrdma::perf
