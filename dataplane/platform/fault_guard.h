// Survives tenants that take memory away from under a mapping (a truncated file, a full tmpfs).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace vrdma::platform {

// Installs the SIGBUS handler. Once, before the first guard().
void install_fault_guard();

struct GuardedRange {
    uint32_t index;
    const std::atomic<bool>*
        broken;  // becomes true when the memory went away; then it is zero pages
};
// How many ranges there may be at a time.
[[nodiscard]] uint32_t guard_capacity();
// Control thread only. `length`: of the whole mapping. nullopt: too many mappings, or too large.
[[nodiscard]] std::optional<GuardedRange> guard(std::byte* base, uint64_t length);
// The mapping's length; 0 when it was not guarded.
uint64_t unguard(const std::byte* base);

}  // namespace vrdma::platform
