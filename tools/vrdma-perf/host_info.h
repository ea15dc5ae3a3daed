#pragma once

// On what the numbers were taken.

#include <cstdint>
#include <string>

namespace vrdma::perf {

struct HostInfo {
    std::string cpu_model;
    std::string kernel;
    std::string host_name;
    bool virtual_machine = false;
    unsigned cpus = 0;              ///< online
    std::uint64_t cache_bytes = 0;  ///< last level, 0 when unknown
    double load_average = 0.0;      ///< of the last minute
};

[[nodiscard]] HostInfo read_host_info();

}  // namespace vrdma::perf
