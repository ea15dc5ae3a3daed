// A campaign is a sequence of seeds; a seed is all there is to know about a run. What is being run
// stands in one variable that the handler of SIGABRT and SIGSEGV prints, because a check inside the
// code under test ends the process.
#include "tests/sim/campaign.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace vrdma::sim {

namespace {

volatile uint64_t running_seed = 0;

void announce(int signal) {
    char text[128];
    const int length =
        std::snprintf(text, sizeof text, "replay with: %s\n", replay_command(running_seed).c_str());
    if (length > 0) {
        [[maybe_unused]] const auto written = write(2, text, static_cast<size_t>(length));
    }
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

}  // namespace

std::string replay_command(uint64_t seed) {
    return fmt::format("vrdma-sim --seed {} --trace", seed);
}

void announce_seed_on_abort() {
    std::signal(SIGABRT, announce);
    std::signal(SIGSEGV, announce);
}

CampaignResult run_campaign(uint64_t first_seed, uint64_t events, EndFactory factory) {
    CampaignResult result;
    for (uint64_t seed = first_seed; result.events < events; ++seed) {
        running_seed = seed;
        World world(draw_scenario(seed), factory);
        const Report report = world.run();
        ++result.seeds;
        result.events += report.events;
        result.messages += report.messages;
        result.connections += report.connections;
        if (report.violation) {
            result.violation = report.violation;
            result.failing_seed = seed;
            break;
        }
    }
    return result;
}

}  // namespace vrdma::sim
