// Which memory DPDK gets is decided here and said aloud: huge pages when the host has free ones and
// the process may use them, ordinary memory otherwise. With huge pages the EAL runs with
// --in-memory (no mount, no files, no clash with another DPDK process); without, with --no-huge,
// which excludes
// --in-memory, hence --no-shconf to leave no files behind.
#include "dataplane/platform/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <sched.h>
#include <unistd.h>

#include <fstream>

#include <fmt/format.h>

#include "dataplane/platform/interrupt_pause.h"

namespace vrdma::platform {
namespace {

uint64_t free_hugepages() {
    std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    uint64_t pages = 0;
    file >> pages;
    return file ? pages : 0;
}

std::string usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::string list;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &set)) {
                list += (list.empty() ? "" : ",") + std::to_string(cpu);
            }
        }
    }
    return list.empty() ? "0" : list;
}

// lcore 0 is the control thread, lcore i + 1 is worker i.
std::string lcores(const EalOptions& options) {
    const std::string all = usable_cpus();
    std::string text = fmt::format("0@({})", all);
    for (uint32_t i = 0; i < options.workers; ++i) {
        text += options.cpus.empty() ? fmt::format(",{}@({})", i + 1, all)
                                     : fmt::format(",{}@{}", i + 1, options.cpus[i]);
    }
    return text;
}

}  // namespace

tl::expected<std::string, std::string> start_eal(const EalOptions& options) {
    constexpr uint64_t kHugepageMb = 2;
    const uint64_t huge_mb = free_hugepages() * kHugepageMb;
    const bool enough = huge_mb >= options.memory_mb && geteuid() == 0;
    if (options.hugepages == HugepageUse::Require && !enough) {
        return tl::unexpected(
            fmt::format("huge pages are required, but {} MiB of 2 MiB pages are free and {} MiB "
                        "are needed: write "
                        "{} to /proc/sys/vm/nr_hugepages and start as root, or set "
                        "service.hugepages = \"auto\"",
                        huge_mb, options.memory_mb, (options.memory_mb + 1) / 2));
    }
    const bool huge = enough && options.hugepages != HugepageUse::Never;
    std::vector<std::string> arguments{"vrdmad",
                                       "--lcores",
                                       lcores(options),
                                       "--no-telemetry",
                                       "--log-level=*:warning",
                                       "-m",
                                       std::to_string(options.memory_mb)};
    if (options.pci_devices.empty()) {
        arguments.emplace_back("--no-pci");
    }
    for (const std::string& device : options.pci_devices) {
        arguments.insert(arguments.end(), {"-a", device});
    }
    arguments.emplace_back("--single-file-segments");  // memif's zero copy hands over one file
    if (huge) {
        arguments.emplace_back("--in-memory");
    } else {
        arguments.insert(arguments.end(), {"--no-huge", "--no-shconf",
                                           "--file-prefix=vrdma" + std::to_string(getpid())});
    }
    std::vector<char*> pointers;
    for (std::string& argument : arguments) {
        pointers.push_back(argument.data());
    }
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) {
        return tl::unexpected(fmt::format("DPDK did not start: {}; its own messages are above",
                                          rte_strerror(rte_errno)));
    }
    if (!prepare_interrupt_pause()) {
        return tl::unexpected(
            std::string("DPDK's interrupt thread takes no callback; is the limit "
                        "of open files reached (ulimit -n)?"));
    }
    return huge ? fmt::format("huge pages, {} MiB in 2 MiB pages (--in-memory)", options.memory_mb)
                : fmt::format("no huge pages, {} MiB of ordinary memory (--no-huge){}",
                              options.memory_mb,
                              options.hugepages == HugepageUse::Never ? "" : ": none are free");
}

void stop_eal() {
    rte_eal_cleanup();
}

bool launch_worker(uint32_t index, int (*function)(void*), void* argument) {
    return rte_eal_remote_launch(function, argument, index + 1) == 0;
}

void wait_for_workers() {
    rte_eal_mp_wait_lcore();
}

}  // namespace vrdma::platform
