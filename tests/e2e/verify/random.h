#pragma once

// The generator behind every decision of the verifier: small, fast, the same on every machine.

#include <cstdint>

#include "tools/verbs_util/pattern.h"

namespace vrdma::verify {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    [[nodiscard]] std::uint64_t next() { return verbs_util::mix(state_++ * 0x9e3779b97f4a7c15ULL); }
    /// [0, bound); `bound` is not 0.
    [[nodiscard]] std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(((next() >> 32) * bound) >> 32);
    }
    /// [low, high]
    [[nodiscard]] std::uint32_t between(std::uint32_t low, std::uint32_t high) {
        return low + below(high - low + 1);
    }
    /// True in `times` of `of` cases.
    [[nodiscard]] bool chance(std::uint32_t times, std::uint32_t of) { return below(of) < times; }
    /// [low, high] with every power of two equally likely; `low` is not 0.
    [[nodiscard]] std::uint32_t log_uniform(std::uint32_t low, std::uint32_t high);

  private:
    std::uint64_t state_;
};

/// Seeds of parts of a run: the same parts give the same seed, different ones unrelated seeds.
[[nodiscard]] inline std::uint64_t derive(std::uint64_t seed, std::uint64_t part) {
    return verbs_util::mix(verbs_util::mix(seed) ^ part);
}

}  // namespace vrdma::verify
