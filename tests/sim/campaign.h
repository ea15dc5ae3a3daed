// Many runs: seeds one after another until enough events have been seen.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/end.h"
#include "tests/sim/world.h"

namespace vrdma::sim {

struct CampaignResult {
    uint64_t seeds = 0;
    uint64_t events = 0;
    uint64_t messages = 0;
    uint64_t connections = 0;
    std::optional<Violation> violation;
    uint64_t failing_seed = 0;
};

// Who sits at host 1.
enum class Opposite : uint8_t {
    Product,
    Reference,  // reference_end.h; the product takes it for a standard peer
};
[[nodiscard]] Scenario scenario_against(Opposite opposite, uint64_t seed);
[[nodiscard]] EndFactory factory_for(Opposite opposite);

// Stops at the first violation.
[[nodiscard]] CampaignResult run_campaign(uint64_t first_seed, uint64_t events,
                                          Opposite opposite = Opposite::Product);
// What to type to see it again.
[[nodiscard]] std::string replay_command(uint64_t seed, Opposite opposite = Opposite::Product);
// Our own checks abort: then print how to see it again.
void announce_seed_on_abort();

}  // namespace vrdma::sim
