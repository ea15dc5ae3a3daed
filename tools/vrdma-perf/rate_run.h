#pragma once

// As many operations at a time as the window allows.

#include <cstdint>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

struct RateOptions {
    std::uint32_t window = 64;       ///< outstanding operations per QP
    std::uint32_t post_list = 1;     ///< work requests per post
    std::uint32_t signal_every = 1;  ///< at most window - post_list + 1, or a QP could wait for
                                     ///< completions that nobody asked for
};

[[nodiscard]] verbs_util::Result<RunResult> measure_rate(Initiator& initiator,
                                                         const Workload& workload,
                                                         const Budget& budget,
                                                         const RateOptions& options);

}  // namespace vrdma::perf
