// vrdma-sim: runs the simulator by hand. README.md says what it can do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/sim/campaign.h"
#include "tests/sim/ladder.h"

namespace {

using namespace vrdma::sim;

int replay(const Scenario& scenario, Opposite opposite, bool with_trace) {
    fmt::print("{}", describe(scenario));
    Trace trace(stdout);
    World world(scenario, factory_for(opposite), with_trace ? &trace : nullptr);
    const Report report = world.run();
    fmt::print("{} events, {} messages, {} of them succeeded, {} connections, ended at {} ns\n",
               report.events, report.messages, report.succeeded, report.connections, report.end.ns);
    if (report.violation) {
        fmt::print("VIOLATION of {}: {}\n", check_name(report.violation->check),
                   report.violation->text);
    }
    return report.violation ? 1 : 0;
}

int campaign(uint64_t seed, uint64_t events, Opposite opposite) {
    const auto start = std::chrono::steady_clock::now();
    const CampaignResult result = run_campaign(seed, events, opposite);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    fmt::print("{} seeds, {} events, {} messages, {} connections, {:.1f} s, {:.2f} M events/s\n",
               result.seeds, result.events, result.messages, result.connections, took.count(),
               static_cast<double>(result.events) / took.count() * 1e-6);
    if (result.violation) {
        fmt::print("seed {}: VIOLATION of {}: {}\nreplay with: {}\n", result.failing_seed,
                   check_name(result.violation->check), result.violation->text,
                   replay_command(result.failing_seed, opposite));
    }
    return result.violation ? 1 : 0;
}

// All failing seeds of a range, one line each.
int survey(uint64_t first, uint64_t runs, Opposite opposite) {
    uint64_t failed = 0;
    for (uint64_t seed = first; seed < first + runs; ++seed) {
        const CampaignResult result = run_campaign(seed, 1, opposite);
        if (result.violation) {
            ++failed;
            fmt::print("seed {}: {} events, {}: {}\n", seed, result.events,
                       check_name(result.violation->check), result.violation->text);
        }
    }
    fmt::print("{} of {} seeds failed\n", failed, runs);
    return failed == 0 ? 0 : 1;
}

// The steps and their times, beside the bands or as new bands; then the goodput.
int ladder(uint32_t seeds, const std::string& bands_file, bool write) {
    std::vector<StepResult> results;
    const std::vector<Band> bands = write ? std::vector<Band>{} : read_bands(bands_file);
    bool bad = false;
    fmt::print("{:24} {:>12} {:>12} {:>12}  us, {} seeds\n", "step", "mean", "median", "p90",
               seeds);
    for (const Step& step : ladder_steps()) {
        const StepResult& r = results.emplace_back(climb(step, seeds));
        const std::string outside =
            write || bands_file.empty() ? r.failure.value_or("") : compare(r, bands);
        fmt::print("{:24} {:12.0f} {:12.0f} {:12.0f}  {}\n", step.name(), r.mean, r.median, r.p90,
                   outside);
        std::fflush(stdout);
        bad |= !outside.empty();
    }
    if (write && !bad) {
        write_bands(bands_file, results);
    }
    double lossless = 0;
    fmt::print("{:24} {:>12} {:>12}\n", "goodput", "Gb/s", "of lossless");
    for (const GoodputCase& wanted : goodput_cases()) {
        const double rate = goodput(wanted);
        lossless = wanted.loss == 0 && wanted.reorder_frames == 0 ? rate : lossless;
        fmt::print("{:24} {:12.2f} {:12.3f}\n", wanted.name, rate * 8e-9, rate / lossless);
        std::fflush(stdout);
    }
    return bad ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Runs the transport in a simulated world"};
    uint64_t seed = 1;
    double events = 0;
    uint64_t runs = 0;
    bool trace = false;
    bool reference = false;
    bool with_ladder = false;
    uint32_t ladder_seeds = 100;
    std::string step;
    std::string check_bands;
    std::string new_bands;
    app.add_option("--seed", seed, "the run, or the first run of a campaign");
    app.add_option("--events", events, "a campaign: seeds from --seed on, until so many events");
    app.add_option("--survey", runs, "so many runs from --seed on; lists all that fail");
    app.add_flag("--trace", trace, "print every packet of the run");
    app.add_flag("--ladder", with_ladder, "the loss ladder, and the goodput under loss");
    app.add_option("--ladder-seeds", ladder_seeds, "seeds of each step");
    app.add_option("--step", step, "one run of a step of the ladder, by its name");
    app.add_option("--check-bands", check_bands, "with --ladder: compare with this file");
    app.add_option("--write-bands", new_bands, "with --ladder: write this file");
    app.add_flag("--reference", reference, "host 1 is the reference peer, standard RoCEv2");
    CLI11_PARSE(app, argc, argv);
    const Opposite opposite = reference ? Opposite::Reference : Opposite::Product;
    announce_seed_on_abort();
    if (with_ladder) {
        return ladder(ladder_seeds, new_bands.empty() ? check_bands : new_bands,
                      !new_bands.empty());
    }
    if (runs > 0) {
        return survey(seed, runs, opposite);
    }
    if (events > 0) {
        return campaign(seed, static_cast<uint64_t>(events), opposite);
    }
    if (!step.empty()) {
        const auto scenario = step_scenario(step, seed);
        if (!scenario) {
            fmt::print(stderr, "there is no step '{}'; --ladder lists them\n", step);
            return 2;
        }
        return replay(*scenario, opposite, trace);
    }
    return replay(scenario_against(opposite, seed), opposite, trace);
}
