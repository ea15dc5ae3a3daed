// A program that polls in a loop never sleeps. Where it has a processor of its own that is what it
// wants; where processors are fewer than busy threads it keeps its peer, or the device, from doing
// the very thing it waits for, until the scheduler's time slice ends.
//
// Whether yielding helps is not known beforehand, but each yield tells. It came back at once:
// nobody waits, so be more patient and lose less (an empty poll takes about 4 ns and such a yield
// 0.5 us; at kMostPatience the loss is below 2 %). It took some microseconds: the processor is
// shared with threads that also give way, which are the other ends of this communication, so hand
// over quickly. It took a time slice: the other thread computes, and giving way to it only costs;
// be patient.
#include "verbs/poll_pacer.h"

#include <sched.h>
#include <time.h>

#include <algorithm>

namespace vrdma::verbs {
namespace {

constexpr std::uint64_t kNobodyBelow = 1500;    // ns; a system call and the scheduler's look around
constexpr std::uint64_t kSharedBelow = 300000;  // ns; well below any time slice

std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1000000000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace

PollPacer::Outcome PollPacer::outcome_of(std::uint64_t nanoseconds) {
    if (nanoseconds < kNobodyBelow) {
        return Outcome::nobody;
    }
    return nanoseconds < kSharedBelow ? Outcome::shared : Outcome::lost;
}

void PollPacer::yield() {
    const std::uint64_t before = now();
    ::sched_yield();
    learn(outcome_of(now() - before));
}

void PollPacer::learn(Outcome outcome) {
    std::uint32_t next = patience();
    switch (outcome) {
        case Outcome::nobody:
        case Outcome::lost:
            next = std::min(next * 2, kMostPatience);
            break;
        case Outcome::shared:
            next = std::max(next / 4, kLeastPatience);
            break;
    }
    patience_.store(next, std::memory_order_relaxed);
}

}  // namespace vrdma::verbs
