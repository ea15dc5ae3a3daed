// DPDK's environment layer: memory, cores, the clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace vrdma::platform {

enum class HugepageUse : uint8_t { Auto, Never, Require };

struct EalOptions {
    uint32_t workers = 1;
    std::vector<uint32_t> cpus;  // cpus[i] is worker i's core; empty: not pinned
    HugepageUse hugepages = HugepageUse::Auto;
    uint32_t memory_mb = 64;
    std::vector<std::string> pci_devices;  // devargs of the NICs to use; no other is touched
};

// Initialises the EAL once in a process. The calling thread becomes its main lcore. Returns one
// line that says what was chosen; errors are a sentence with the remedy.
[[nodiscard]] tl::expected<std::string, std::string> start_eal(const EalOptions& options);
void stop_eal();

// Runs `function(argument)` on worker `index`'s core, until it returns.
[[nodiscard]] bool launch_worker(uint32_t index, int (*function)(void*), void* argument);
void wait_for_workers();

}  // namespace vrdma::platform
