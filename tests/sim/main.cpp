// vrdma-sim: runs the simulator by hand. README.md says what it can do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>

#include "tests/sim/campaign.h"

namespace {

using namespace vrdma::sim;

int replay(uint64_t seed, bool with_trace) {
    const Scenario scenario = draw_scenario(seed);
    fmt::print("{}", describe(scenario));
    Trace trace(stdout);
    World world(scenario, make_end, with_trace ? &trace : nullptr);
    const Report report = world.run();
    fmt::print("{} events, {} messages, {} of them succeeded, {} connections, ended at {} ns\n",
               report.events, report.messages, report.succeeded, report.connections, report.end.ns);
    if (report.violation) {
        fmt::print("VIOLATION of {}: {}\n", check_name(report.violation->check),
                   report.violation->text);
    }
    return report.violation ? 1 : 0;
}

int campaign(uint64_t seed, uint64_t events) {
    const auto start = std::chrono::steady_clock::now();
    const CampaignResult result = run_campaign(seed, events);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    fmt::print("{} seeds, {} events, {} messages, {} connections, {:.1f} s, {:.2f} M events/s\n",
               result.seeds, result.events, result.messages, result.connections, took.count(),
               static_cast<double>(result.events) / took.count() * 1e-6);
    if (result.violation) {
        fmt::print("seed {}: VIOLATION of {}: {}\nreplay with: {}\n", result.failing_seed,
                   check_name(result.violation->check), result.violation->text,
                   replay_command(result.failing_seed));
    }
    return result.violation ? 1 : 0;
}

// All failing seeds of a range, one line each.
int survey(uint64_t first, uint64_t runs) {
    uint64_t failed = 0;
    for (uint64_t seed = first; seed < first + runs; ++seed) {
        const CampaignResult result = run_campaign(seed, 1);
        if (result.violation) {
            ++failed;
            fmt::print("seed {}: {} events, {}: {}\n", seed, result.events,
                       check_name(result.violation->check), result.violation->text);
        }
    }
    fmt::print("{} of {} seeds failed\n", failed, runs);
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Runs the transport in a simulated world"};
    uint64_t seed = 1;
    double events = 0;
    uint64_t runs = 0;
    bool trace = false;
    app.add_option("--seed", seed, "the run, or the first run of a campaign");
    app.add_option("--events", events, "a campaign: seeds from --seed on, until so many events");
    app.add_option("--survey", runs, "so many runs from --seed on; lists all that fail");
    app.add_flag("--trace", trace, "print every packet of the run");
    CLI11_PARSE(app, argc, argv);
    announce_seed_on_abort();
    if (runs > 0) {
        return survey(seed, runs);
    }
    if (events > 0) {
        return campaign(seed, static_cast<uint64_t>(events));
    }
    return replay(seed, trace);
}
