// A campaign is a sequence of seeds; a seed is all there is to know about a run. What is being run
// stands in one variable that the handler of SIGABRT and SIGSEGV prints, because a check inside the
// code under test ends the process.
#include "tests/sim/campaign.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "tests/sim/reference_end.h"

namespace vrdma::sim {

namespace {

volatile uint64_t running_seed = 0;
volatile Opposite running_opposite = Opposite::Product;

void announce(int signal) {
    char text[128];
    const int length = std::snprintf(text, sizeof text, "replay with: %s\n",
                                     replay_command(running_seed, running_opposite).c_str());
    if (length > 0) {
        [[maybe_unused]] const auto written = write(2, text, static_cast<size_t>(length));
    }
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

}  // namespace

std::string replay_command(uint64_t seed, Opposite opposite) {
    return fmt::format("vrdma-sim --seed {} --trace{}", seed,
                       opposite == Opposite::Reference ? " --reference" : "");
}

Scenario scenario_against(Opposite opposite, uint64_t seed) {
    Scenario scenario = draw_scenario(seed);
    if (opposite == Opposite::Reference) {
        scenario.vrdma_from = {Instant::never(), Instant::never()};
    }
    return scenario;
}

EndFactory factory_for(Opposite opposite) {
    return opposite == Opposite::Reference ? make_end_or_reference : make_end;
}

void announce_seed_on_abort() {
    std::signal(SIGABRT, announce);
    std::signal(SIGSEGV, announce);
}

CampaignResult run_campaign(uint64_t first_seed, uint64_t events, Opposite opposite) {
    CampaignResult result;
    for (uint64_t seed = first_seed; result.events < events; ++seed) {
        running_seed = seed;
        running_opposite = opposite;
        World world(scenario_against(opposite, seed), factory_for(opposite));
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
