#pragma once

// Transfers whose data is checked at both ends.

#include <cstdint>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/responder.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

/// `operations` transfers in batches of at most `window` per active QP. Fails with kVerification,
/// naming seed and operation, at the first byte or completion that is not what it must be.
[[nodiscard]] verbs_util::Result<void> verify_transfers(Initiator& initiator, Responder& responder,
                                                        const Workload& workload,
                                                        std::uint64_t seed,
                                                        std::uint64_t operations,
                                                        std::uint32_t window);

}  // namespace vrdma::perf
