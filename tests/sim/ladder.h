// The loss ladder: how long a transfer takes when packets are lost, step by step, and how much of
// the lossless rate is left.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/scenario.h"

namespace vrdma::sim {

// One step: a kind of peers, a loss, its directions.
struct Step {
    bool vrdma = true;
    bool both_ways = false;
    double loss = 0;

    [[nodiscard]] std::string name() const;  // "vrdma both 0.05"
};
[[nodiscard]] std::vector<Step> ladder_steps();

// The world of one run of a step; nothing when there is no step of that name.
[[nodiscard]] std::optional<Scenario> step_scenario(const std::string& name, uint64_t seed);

// Completion times of a step over its seeds, microseconds.
struct StepResult {
    Step step;
    double mean = 0;
    double median = 0;
    double p90 = 0;
    // A run that did not complete everything: the seed and what is wrong.
    std::optional<std::string> failure;
};
[[nodiscard]] StepResult climb(const Step& step, uint32_t seeds);

// A file of bands: one line a step, lowest and highest of mean, median and p90.
struct Band {
    std::string name;
    double mean[2];
    double median[2];
    double p90[2];
};
[[nodiscard]] std::vector<Band> read_bands(const std::filesystem::path& file);
void write_bands(const std::filesystem::path& file, const std::vector<StepResult>& results);
// What is outside its band, or nothing.
[[nodiscard]] std::string compare(const StepResult& result, const std::vector<Band>& bands);

// Bytes per second of a long transfer.
struct GoodputCase {
    std::string name;
    bool vrdma = true;
    double loss = 0;              // in the direction of the data and of the answers
    uint32_t reorder_frames = 0;  // one packet of ten is overtaken by up to so many
};
[[nodiscard]] std::vector<GoodputCase> goodput_cases();
// Median of a few seeds; 0 when one did not complete.
[[nodiscard]] double goodput(const GoodputCase& wanted);

}  // namespace vrdma::sim
