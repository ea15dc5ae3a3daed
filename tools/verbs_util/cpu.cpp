#include "tools/verbs_util/cpu.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>

// Processor placement of a measuring thread. A CPU outside the allowed set (taskset, cpuset of a
// container) is refused with the set that is allowed.

namespace vrdma::verbs_util {

namespace {

std::string list_of(const std::vector<int>& cpus) {
    return fmt::format("{}", fmt::join(cpus, ","));
}

Result<void> set_affinity(const std::vector<int>& cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : cpus) {
        CPU_SET(static_cast<std::size_t>(cpu), &set);
    }
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        return fail_errno(ErrorKind::kUsage, "running on CPU " + list_of(cpus), errno,
                          "allowed here: " + list_of(allowed_cpus()));
    }
    return {};
}

}  // namespace

Result<std::vector<int>> parse_cpus(std::string_view text) {
    std::vector<int> cpus;
    const char* at = text.data();
    const char* end = at + text.size();
    while (true) {
        int cpu = -1;
        const auto parsed = std::from_chars(at, end, cpu);
        if (parsed.ec != std::errc{} || cpu < 0 || cpu >= CPU_SETSIZE) {
            break;
        }
        cpus.push_back(cpu);
        if (parsed.ptr == end) {
            return cpus;
        }
        if (*parsed.ptr != ',') {
            break;
        }
        at = parsed.ptr + 1;
    }
    return fail(ErrorKind::kUsage, fmt::format("\"{}\" is not a list of CPUs", text),
                "write numbers separated by commas, such as 0,1");
}

std::vector<int> allowed_cpus() {
    std::vector<int> cpus;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) {
                cpus.push_back(cpu);
            }
        }
    }
    return cpus;
}

Result<void> pin_this_thread(int cpu) {
    return set_affinity({cpu});
}

Result<void> unpin_this_thread(const std::vector<int>& cpus) {
    return set_affinity(cpus);
}

std::uint64_t thread_cpu_ns() {
    timespec now{};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace vrdma::verbs_util
