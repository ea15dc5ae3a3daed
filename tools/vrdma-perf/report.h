#pragma once

// Everything a run found out, and its two forms of output.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/host_info.h"
#include "tools/vrdma-perf/options.h"
#include "tools/vrdma-perf/sample.h"
#include "tools/vrdma-perf/sampler.h"

namespace vrdma::perf {

/// One message size.
struct Point {
    std::uint64_t size = 0;
    std::uint64_t latency_working_set = 0;  ///< bytes cycled through on each side
    std::uint64_t rate_working_set = 0;
    std::uint64_t verified = 0;  ///< operations whose data was checked
    std::uint64_t lost = 0;      ///< messages sent and not received (UC, UD)
    std::vector<Sample> latency;
    std::vector<Sample> rate;
    std::vector<Sample> tcp_spinning;
    std::vector<Sample> tcp_blocking;
};

struct Report {
    Options options;
    HostInfo host;
    ProbeCpus probe_cpus;
    double tsc_ghz = 0.0;
    bool tsc_invariant = false;
    std::string device;
    std::string peer_device;
    std::string firmware;
    unsigned mtu_bytes = 0;
    std::uint64_t seed = 0;  ///< of the verified transfers
    std::vector<Point> points;
    std::vector<Sample> copy;  ///< operations are blocks of 1 MiB
};

[[nodiscard]] std::string report_table(const Report& report);
[[nodiscard]] nlohmann::json report_json(const Report& report);

}  // namespace vrdma::perf
