#include "tools/vrdma-perf/distance_probe.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <thread>

#include "tools/verbs_util/cpu.h"

// Two pinned threads play ping-pong on two cache lines. The median round trip tells whether their
// CPUs share a cache: about 70 to 150 ns when they do, 500 ns when they do not. On a virtual
// machine the host moves virtual CPUs between physical ones, so the answer changes from second to
// second and everything that crosses CPUs changes with it by a factor of two to four. A sample is
// therefore probed before and after, and only samples of one kind are compared.
//
// The CPUs may be busy with the very service that is measured; a round in which one of the two
// threads was not running shows as an outlier that the median ignores, and a time limit ends a
// probe that gets nowhere.

namespace vrdma::perf {

namespace {

using verbs_util::Tsc;

constexpr std::size_t kRounds = 2000;
constexpr std::size_t kEnough = 100;
constexpr double kLimitSeconds = 0.05;
constexpr std::size_t kLines = 128;  // two lines: adjacent ones are fetched in pairs

struct Ball {
    alignas(kLines) std::atomic<std::uint64_t> there{0};
    alignas(kLines) std::atomic<std::uint64_t> back{0};
    alignas(kLines) std::atomic<bool> ready{false};
    std::atomic<bool> stop{false};
};

void return_balls(Ball& ball, int cpu) {
    const bool pinned = verbs_util::pin_this_thread(cpu).has_value();
    ball.ready.store(true, std::memory_order_release);
    std::uint64_t next = 1;
    while (pinned && !ball.stop.load(std::memory_order_relaxed)) {
        if (ball.there.load(std::memory_order_acquire) == next) {
            ball.back.store(next, std::memory_order_release);
            ++next;
        }
    }
}

/// The number of rounds played into `ticks`.
std::size_t play(Ball& ball, std::array<std::uint64_t, kRounds>& ticks, std::uint64_t deadline) {
    while (!ball.ready.load(std::memory_order_acquire)) {
        if (Tsc::now() > deadline) {
            return 0;
        }
    }
    for (std::size_t round = 0; round < kRounds; ++round) {
        const std::uint64_t start = Tsc::now();
        std::uint64_t now = start;
        ball.there.store(round + 1, std::memory_order_release);
        while (ball.back.load(std::memory_order_acquire) != round + 1) {
            now = Tsc::now();
            if (now > deadline) {
                return round;
            }
        }
        ticks[round] = Tsc::now() - start;
    }
    return kRounds;
}

}  // namespace

std::string_view distance_name(Distance distance) {
    switch (distance) {
        case Distance::kNear:
            return "near";
        case Distance::kFar:
            return "far";
        case Distance::kMixed:
            return "mixed";
        case Distance::kUnknown:
            return "unknown";
    }
    return "unknown";
}

Distance classify(double round_trip_ns) {
    return round_trip_ns < kNearLimitNs ? Distance::kNear : Distance::kFar;
}

Distance combine(Distance before, Distance after) {
    if (before == Distance::kUnknown || after == Distance::kUnknown) {
        return Distance::kUnknown;
    }
    return before == after ? before : Distance::kMixed;
}

Probe probe_distance(int cpu_a, int cpu_b, const Tsc& tsc) {
    Probe probe;
    const auto before = verbs_util::allowed_cpus();
    if (cpu_a == cpu_b || !verbs_util::pin_this_thread(cpu_a)) {
        return probe;
    }
    Ball ball;
    std::array<std::uint64_t, kRounds> ticks;
    std::thread other(return_balls, std::ref(ball), cpu_b);
    const std::size_t played = play(ball, ticks, Tsc::now() + tsc.from_seconds(kLimitSeconds));
    ball.stop.store(true, std::memory_order_relaxed);
    other.join();
    (void)verbs_util::unpin_this_thread(before);
    if (played >= kEnough) {
        const auto middle = ticks.begin() + static_cast<std::ptrdiff_t>(played / 2);
        std::nth_element(ticks.begin(), middle,
                         ticks.begin() + static_cast<std::ptrdiff_t>(played));
        probe.round_trip_ns = tsc.to_ns(*middle);
        probe.distance = classify(probe.round_trip_ns);
    }
    return probe;
}

}  // namespace vrdma::perf
