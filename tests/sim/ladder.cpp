// Two fixed worlds. The ladder moves 100 WRITEs of 8 KiB over 10 Gb/s with a round trip of 10 us
// and never gives up (timeout 0), so that every step of loss ends; its times are bands in a file,
// because loss behaviour is a property of the code that a change must not lose unseen. The goodput
// world moves 32 MiB over 100 Gb/s, long enough that its rate is that of the steady state.
//
// Time is virtual: the numbers are the same on every machine, and differ only when the code does.
#include "tests/sim/ladder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <sstream>
#include <tl/expected.hpp>

#include "tests/sim/world.h"

namespace vrdma::sim {

namespace {

// A band goes from the measured value divided by this to the value times this. Under heavy loss a
// few unlucky runs make the mean, and any change of the code draws others.
constexpr double kBand = 1.3;
constexpr double kHeavyLossBand = 2.5;
constexpr double kHeavyLoss = 0.1;
constexpr double kMegabit = 125'000;
constexpr uint32_t kGoodputSeeds = 5;

OperationMix writes_of(uint32_t bytes) {
    OperationMix mix;
    mix.weight = {0, 0, 1, 0, 0, 0, 0, 0};
    mix.max_length = bytes;
    mix.empty = 0;
    mix.whole = true;
    return mix;
}

Scenario transfer(bool vrdma, uint64_t megabits, Duration delay, uint32_t messages, uint32_t bytes,
                  uint32_t path_mtu) {
    Scenario s;
    if (!vrdma) {
        s.vrdma_from = {Instant::never(), Instant::never()};
    }
    for (LinkConfig& link : s.link) {
        link.bytes_per_second = link.bottleneck =
            static_cast<uint64_t>(static_cast<double>(megabits) * kMegabit);
        link.delay = delay;
    }
    s.patience = Duration::milliseconds(600'000);
    ConnectionConfig c;
    c.path_mtu = path_mtu;
    c.timeout = 0;
    c.messages = {messages, 0};
    c.queue_depth = {32, 32};
    c.mix[0] = c.mix[1] = writes_of(bytes);
    s.connections.push_back(c);
    return s;
}

double median_of(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

// Time of the last completion in microseconds.
tl::expected<double, std::string> run_to_end(const Scenario& scenario) {
    const Report report = World(scenario).run();
    if (report.violation) {
        return tl::unexpected(fmt::format("seed {}: {}: {}", scenario.seed,
                                          check_name(report.violation->check),
                                          report.violation->text));
    }
    if (report.succeeded != scenario.connections[0].messages[0]) {
        return tl::unexpected(fmt::format("seed {}: {} of {} messages succeeded", scenario.seed,
                                          report.succeeded, report.messages));
    }
    return static_cast<double>(report.end.ns) * 1e-3;
}

Scenario scenario_of(const Step& step, uint64_t seed) {
    Scenario s = transfer(step.vrdma, 10'000, Duration::microseconds(5), 100, 8192, 1024);
    s.seed = seed;
    s.link[0].loss = step.loss;
    s.link[1].loss = step.both_ways ? step.loss : 0;
    return s;
}

bool inside(double value, const double (&band)[2]) {
    return value >= band[0] && value <= band[1];
}

}  // namespace

std::string Step::name() const {
    return fmt::format("{} {} {:g}", vrdma ? "vrdma" : "standard", both_ways ? "both" : "one",
                       loss);
}

std::vector<Step> ladder_steps() {
    std::vector<Step> steps;
    for (const bool vrdma : {true, false}) {
        for (const bool both : {false, true}) {
            for (const double loss : {0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5}) {
                if (loss > 0 || !both) {
                    steps.push_back({vrdma, both, loss});
                }
            }
        }
    }
    return steps;
}

std::optional<Scenario> step_scenario(const std::string& name, uint64_t seed) {
    for (const Step& step : ladder_steps()) {
        if (step.name() == name) {
            return scenario_of(step, seed);
        }
    }
    return std::nullopt;
}

StepResult climb(const Step& step, uint32_t seeds) {
    StepResult result;
    result.step = step;
    std::vector<double> times;
    for (uint32_t seed = 1; seed <= seeds; ++seed) {
        const auto time = run_to_end(scenario_of(step, seed));
        if (!time) {
            result.failure = fmt::format("{}\nreplay with: vrdma-sim --step '{}' --seed {} --trace",
                                         time.error(), step.name(), seed);
            return result;
        }
        times.push_back(*time);
    }
    std::ranges::sort(times);
    result.mean =
        std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size());
    result.median = times[times.size() / 2];
    result.p90 = times[times.size() * 9 / 10];
    return result;
}

std::vector<Band> read_bands(const std::filesystem::path& file) {
    std::vector<Band> bands;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        std::istringstream words(line);
        Band band;
        std::string kind;
        std::string ways;
        std::string loss;
        words >> kind >> ways >> loss >> band.mean[0] >> band.mean[1] >> band.median[0] >>
            band.median[1] >> band.p90[0] >> band.p90[1];
        if (words) {
            band.name = fmt::format("{} {} {}", kind, ways, loss);
            bands.push_back(band);
        }
    }
    return bands;
}

void write_bands(const std::filesystem::path& file, const std::vector<StepResult>& results) {
    std::ofstream out(file);
    out << "# Written by vrdma-sim --ladder --write-bands FILE: completion times in microseconds.\n"
           "# peers ways loss, lowest and highest mean, median, p90\n";
    for (const StepResult& r : results) {
        const double width = r.step.loss >= kHeavyLoss ? kHeavyLossBand : kBand;
        out << r.step.name();
        for (const double value : {r.mean, r.median, r.p90}) {
            out << fmt::format("  {:.0f} {:.0f}", value / width, value * width);
        }
        out << "\n";
    }
}

std::string compare(const StepResult& result, const std::vector<Band>& bands) {
    if (result.failure) {
        return *result.failure;
    }
    const std::string name = result.step.name();
    const auto band = std::ranges::find(bands, name, &Band::name);
    if (band == bands.end()) {
        return "no band";
    }
    if (inside(result.mean, band->mean) && inside(result.median, band->median) &&
        inside(result.p90, band->p90)) {
        return "";
    }
    return fmt::format(
        "mean {:.0f} ({:.0f}-{:.0f}), median {:.0f} ({:.0f}-{:.0f}), p90 {:.0f} "
        "({:.0f}-{:.0f}) us",
        result.mean, band->mean[0], band->mean[1], result.median, band->median[0], band->median[1],
        result.p90, band->p90[0], band->p90[1]);
}

std::vector<GoodputCase> goodput_cases() {
    return {{"vrdma lossless", true, 0, 0},           {"vrdma loss 0.1 %", true, 0.001, 0},
            {"vrdma loss 1 %", true, 0.01, 0},        {"vrdma loss 2 %", true, 0.02, 0},
            {"vrdma reordered by 64", true, 0, 64},   {"standard lossless", false, 0, 0},
            {"standard loss 0.1 %", false, 0.001, 0}, {"standard loss 1 %", false, 0.01, 0},
            {"standard loss 2 %", false, 0.02, 0},    {"standard reordered by 64", false, 0, 64}};
}

double goodput(const GoodputCase& wanted) {
    constexpr uint32_t kMessages = 512;
    constexpr uint32_t kBytes = 64 * 1024;
    std::vector<double> rates;
    for (uint32_t seed = 1; seed <= kGoodputSeeds; ++seed) {
        Scenario s =
            transfer(wanted.vrdma, 100'000, Duration::microseconds(4), kMessages, kBytes, 4096);
        s.seed = seed;
        for (LinkConfig& link : s.link) {
            link.loss = wanted.loss;
            link.reorder = wanted.reorder_frames > 0 ? 0.1 : 0;
            link.reorder_frames = wanted.reorder_frames;
        }
        const auto time = run_to_end(s);
        if (!time) {
            return 0;
        }
        rates.push_back(double{kMessages} * kBytes / (*time * 1e-6));
    }
    return median_of(std::move(rates));
}

}  // namespace vrdma::sim
