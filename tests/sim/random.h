// The only source of chance in the simulator: everything that a run does follows from its seed.
#pragma once

#include <cmath>
#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::sim {

// SplitMix64. Independent axes take independent generators (child), so that switching one axis off
// leaves the draws of the others as they were.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}

    [[nodiscard]] Random child(uint64_t tag) const {
        Random mixer(state_ ^ (tag * 0xd6e8feb86659fd93ULL));
        return Random(mixer.next());
    }
    uint64_t next() {
        state_ += 0x9e3779b97f4a7c15ULL;
        uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
        return mixed ^ (mixed >> 31);
    }
    // [0, bound), bound > 0.
    uint64_t below(uint64_t bound) { return next() % bound; }
    // [low, high].
    uint32_t between(uint32_t low, uint32_t high) {
        return low + static_cast<uint32_t>(below(uint64_t{high} - low + 1));
    }
    Duration between(Duration low, Duration high) {
        return {low.ns + static_cast<int64_t>(below(static_cast<uint64_t>(high.ns - low.ns) + 1))};
    }
    // [0, 1).
    double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
    bool chance(double probability) { return probability > 0 && unit() < probability; }
    bool coin() { return (next() & 1) != 0; }
    // Every order of magnitude is as likely as every other.
    double magnitude(double low, double high) { return low * std::pow(high / low, unit()); }

  private:
    uint64_t state_;
};

}  // namespace vrdma::sim
