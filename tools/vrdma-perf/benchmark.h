#pragma once

// A whole run, from options to report.

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/stream.h"
#include "tools/vrdma-perf/options.h"
#include "tools/vrdma-perf/report.h"

namespace vrdma::perf {

/// `partner` is the connection to the process at the far end; unused in loopback mode.
[[nodiscard]] verbs_util::Result<Report> run_benchmark(const Options& options,
                                                       verbs_util::Stream partner);

}  // namespace vrdma::perf
