// When a poller that finds nothing should let others run.
//
// Threading: note_empty and reset under the CQ's lock; yield by any thread, without it.
#pragma once

#include <atomic>
#include <cstdint>

namespace vrdma::verbs {

class PollPacer {
  public:
    // Empty polls in a row before a yield: where it starts and how far it moves.
    static constexpr std::uint32_t kFirstPatience = 2048;
    static constexpr std::uint32_t kLeastPatience = 64;
    static constexpr std::uint32_t kMostPatience = 8192;

    // What a yield brought, by the time it took.
    enum class Outcome : std::uint8_t {
        nobody,  // it came back at once: no one was waiting for this processor
        shared,  // someone ran and gave the processor back
        lost,    // someone kept it for a time slice
    };
    [[nodiscard]] static Outcome outcome_of(std::uint64_t nanoseconds);

    // A poll found nothing. True: yield() once the lock is released.
    [[nodiscard]] bool note_empty() {
        if (++empty_ < patience_.load(std::memory_order_relaxed)) {
            return false;
        }
        empty_ = 0;
        return true;
    }
    void reset() { empty_ = 0; }
    void yield();

    void learn(Outcome outcome);
    [[nodiscard]] std::uint32_t patience() const {
        return patience_.load(std::memory_order_relaxed);
    }

  private:
    std::uint32_t empty_ = 0;
    std::atomic<std::uint32_t> patience_ = kFirstPatience;
};

}  // namespace vrdma::verbs
