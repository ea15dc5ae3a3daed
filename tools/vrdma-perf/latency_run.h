#pragma once

// One operation at a time.

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/histogram.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

/// Records post to send completion in TSC ticks; with `until_received`, which needs a local far
/// end, post to receive completion.
[[nodiscard]] verbs_util::Result<RunResult> measure_latency(Initiator& initiator,
                                                            const Workload& workload,
                                                            const Budget& budget,
                                                            bool until_received,
                                                            Histogram& histogram);

}  // namespace vrdma::perf
