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

// Stops at the first violation.
[[nodiscard]] CampaignResult run_campaign(uint64_t first_seed, uint64_t events,
                                          EndFactory factory = make_end);
// What to type to see it again.
[[nodiscard]] std::string replay_command(uint64_t seed);
// Our own checks abort: then print how to see it again.
void announce_seed_on_abort();

}  // namespace vrdma::sim
