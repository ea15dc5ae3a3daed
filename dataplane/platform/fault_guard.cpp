// A worker that touches a page whose file no longer reaches there gets SIGBUS. The handler looks
// for the mapping in a fixed table, puts zero pages over the whole of it and marks it broken; the
// access is then repeated and the copy runs to its end. Whoever looks at the mark fails that
// tenant's request. A fault outside the table is our own bug and ends the process as it would
// without a handler.
//
// The table is written by the control thread and read inside signal handlers: an entry is published
// by its base, cleared first and set last.
//
// Replacing a mapping needs the kernel to allow one more of them for a moment, and everything else
// in this process needs mappings and addresses too. So tenants together get less than the kernel's
// limits: one beyond is refused, nothing dies.
#include "dataplane/platform/fault_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <unordered_map>
#include <vector>

namespace vrdma::platform {
namespace {

constexpr uint32_t kEntries = 131072;

struct Entry {
    std::atomic<uintptr_t> base{0};
    std::atomic<uint64_t> length{0};
    std::atomic<bool> broken{false};
};
std::array<Entry, kEntries> entries;
std::atomic<uint32_t> used{0};

// Control thread only.
constexpr uint32_t kOwnMappings = 8192;  // of max_map_count, for everything but tenants' memory
constexpr uint64_t kMostBytes = uint64_t{1} << 46;  // of 2^47 addresses
uint32_t most_mappings = kEntries;
uint64_t guarded_bytes = 0;
std::vector<uint32_t> free_entries;
std::unordered_map<uintptr_t, uint32_t> by_base;

// vm.max_map_count, without what we need ourselves.
uint32_t read_most_mappings() {
    unsigned long long limit = 65530;  // the kernel's default
    if (std::FILE* file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
        if (std::fscanf(file, "%llu", &limit) != 1) {
            limit = 65530;
        }
        std::fclose(file);
    }
    const uint64_t left = limit > 2 * kOwnMappings ? limit - kOwnMappings : limit / 2;
    return static_cast<uint32_t>(std::min<uint64_t>(left, kEntries));
}

void on_bus_error(int number, siginfo_t* info, void*) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
    const uint32_t count = used.load(std::memory_order_acquire);
    for (uint32_t i = 0; i < count; ++i) {
        const uintptr_t base = entries[i].base.load(std::memory_order_acquire);
        const uint64_t length = entries[i].length.load(std::memory_order_relaxed);
        if (base == 0 || address - base >= length) {
            continue;
        }
        entries[i].broken.store(true, std::memory_order_release);
        void* zeros = mmap(reinterpret_cast<void*>(base), length, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        if (zeros != MAP_FAILED) {
            return;
        }
    }
    signal(number, SIG_DFL);
    raise(number);
}

}  // namespace

void install_fault_guard() {
    most_mappings = read_most_mappings();
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, nullptr);
}

uint32_t guard_capacity() {
    return most_mappings;
}

std::optional<GuardedRange> guard(std::byte* base, uint64_t length) {
    if (by_base.size() >= most_mappings || length > kMostBytes - guarded_bytes) {
        return std::nullopt;
    }
    uint32_t index = used.load(std::memory_order_relaxed);
    if (!free_entries.empty()) {
        index = free_entries.back();
        free_entries.pop_back();
    }
    Entry& entry = entries[index];
    entry.broken.store(false, std::memory_order_relaxed);
    entry.length.store(length, std::memory_order_relaxed);
    entry.base.store(reinterpret_cast<uintptr_t>(base), std::memory_order_release);
    used.store(std::max(used.load(std::memory_order_relaxed), index + 1),
               std::memory_order_release);
    by_base.emplace(reinterpret_cast<uintptr_t>(base), index);
    guarded_bytes += length;
    return GuardedRange{index, &entry.broken};
}

uint64_t unguard(const std::byte* base) {
    const auto found = by_base.find(reinterpret_cast<uintptr_t>(base));
    if (found == by_base.end()) {
        return 0;
    }
    Entry& entry = entries[found->second];
    entry.base.store(0, std::memory_order_release);
    const uint64_t length = entry.length.load(std::memory_order_relaxed);
    guarded_bytes -= length;
    free_entries.push_back(found->second);
    by_base.erase(found);
    return length;
}

}  // namespace vrdma::platform
