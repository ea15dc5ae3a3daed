// A worker that touches a page whose file no longer reaches there gets SIGBUS. The handler looks
// for the mapping in a fixed table, puts zero pages over the whole of it and marks it broken; the
// access is then repeated and the copy runs to its end. Whoever looks at the mark fails that
// tenant's request. A fault outside the table is our own bug and ends the process as it would
// without a handler.
//
// The table is written by the control thread and read inside signal handlers: an entry is published
// by its base, cleared first and set last.
#include "dataplane/platform/fault_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <array>

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
uint32_t next_free = 0;

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
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, nullptr);
}

std::optional<GuardedRange> guard(std::byte* base, uint64_t length) {
    for (uint32_t tried = 0; tried < kEntries; ++tried) {
        const uint32_t index = next_free;
        next_free = (next_free + 1) % kEntries;
        Entry& entry = entries[index];
        if (entry.base.load(std::memory_order_relaxed) != 0) {
            continue;
        }
        entry.broken.store(false, std::memory_order_relaxed);
        entry.length.store(length, std::memory_order_relaxed);
        entry.base.store(reinterpret_cast<uintptr_t>(base), std::memory_order_release);
        if (index >= used.load(std::memory_order_relaxed)) {
            used.store(index + 1, std::memory_order_release);
        }
        return GuardedRange{index, &entry.broken};
    }
    return std::nullopt;
}

void unguard(const std::byte* base) {
    const uint32_t count = used.load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < count; ++i) {
        if (entries[i].base.load(std::memory_order_relaxed) == reinterpret_cast<uintptr_t>(base)) {
            entries[i].base.store(0, std::memory_order_release);
            next_free = i < next_free ? i : next_free;
            return;
        }
    }
}

}  // namespace vrdma::platform
