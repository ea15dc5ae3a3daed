#include "tools/vrdma-perf/host_info.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

// Reads what a reader of the results needs in order to compare them: processor, kernel, whether
// this is a virtual machine, how busy it was. Missing files leave fields empty; none is essential.

namespace vrdma::perf {

namespace {

/// The text behind the colon of the first line of /proc/cpuinfo that starts with `key`.
std::string cpuinfo_field(const std::string& key) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(key)) {
            const auto colon = line.find(": ");
            return colon == std::string::npos ? std::string() : line.substr(colon + 2);
        }
    }
    return {};
}

}  // namespace

HostInfo read_host_info() {
    HostInfo info;
    info.cpu_model = cpuinfo_field("model name");
    info.virtual_machine =
        (" " + cpuinfo_field("flags") + " ").find(" hypervisor ") != std::string::npos;
    utsname names{};
    if (uname(&names) == 0) {
        info.kernel = names.release;
        info.host_name = names.nodename;
    }
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    info.cpus = cpus > 0 ? static_cast<unsigned>(cpus) : 0;
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    info.cache_bytes = cache > 0 ? static_cast<std::uint64_t>(cache) : 0;
    double load[1] = {};
    if (getloadavg(load, 1) == 1) {
        info.load_average = load[0];
    }
    return info;
}

}  // namespace vrdma::perf
