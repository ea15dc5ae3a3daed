// A lock for a queue: held for tens of nanoseconds, almost never contended.
//
// When the holder was preempted, spinning for a whole time slice would only keep it away from the
// processor, so a waiter yields after kSpinsBeforeYield tries.
#pragma once

#include <immintrin.h>
#include <sched.h>

#include <atomic>

namespace vrdma::verbs {

class SpinLock {
  public:
    void lock() {
        while (held_.exchange(true, std::memory_order_acquire))
            [[unlikely]] {
                wait();
            }
    }
    void unlock() { held_.store(false, std::memory_order_release); }

  private:
    static constexpr int kSpinsBeforeYield = 128;

    [[gnu::noinline]] void wait() {
        for (int spins = 0; held_.load(std::memory_order_relaxed); ++spins) {
            if (spins >= kSpinsBeforeYield) {
                ::sched_yield();
            } else {
                _mm_pause();
            }
        }
    }

    std::atomic<bool> held_ = false;
};

}  // namespace vrdma::verbs
