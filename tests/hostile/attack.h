// Attacks: each is one thing that a tenant can try, played from a seed.
#pragma once

#include <span>
#include <string>

#include "tests/hostile/random.h"
#include "tests/hostile/tenant.h"

namespace vrdma::hostile {

struct Stage {
    std::string socket;  // attach socket of the attacker's own vNIC
    Random random;
    uint32_t operations;  // roughly how much to do
    // The first thing that the service should have refused or answered and did not.
    std::string finding;

    void report(const std::string& what) {
        if (finding.empty()) {
            finding = what;
        }
    }
};

struct Attack {
    const char* name;
    const char* what;
    void (*run)(Stage&);
};

// In the files of the same names.
[[nodiscard]] std::span<const Attack> ring_attacks();
[[nodiscard]] std::span<const Attack> command_attacks();
[[nodiscard]] std::span<const Attack> descriptor_attacks();
[[nodiscard]] std::span<const Attack> memory_attacks();
[[nodiscard]] std::span<const Attack> process_attacks();
[[nodiscard]] std::span<const Attack> quota_attacks();
[[nodiscard]] std::span<const Attack> load_attacks();

// A connected pair inside the attacker's own vNIC, with memory both ways.
struct Pair {
    Tenant tenant;
    CompletionQueue cq;
    QueuePair first;
    QueuePair second;
    Memory memory;
    uint32_t region = VRDMA_NO_HANDLE;
    MemoryRegion mr;

    [[nodiscard]] bool open(Stage& stage, uint32_t entries = 64, size_t bytes = size_t{1} << 20,
                            bool sealed = true);
    // Both through RESET to RTS again.
    void revive();
    [[nodiscard]] vrdma_send_wqe entry(uint8_t opcode, uint64_t local, uint64_t remote,
                                       uint32_t length) const;
};

}  // namespace vrdma::hostile
