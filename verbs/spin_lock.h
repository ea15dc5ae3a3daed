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

// The lock of a queue that may belong to a single thread (a thread domain): then there is none.
class QueueLock {
  public:
    // Before the queue is used.
    void set_single_threaded() { needed_ = false; }
    [[nodiscard]] bool single_threaded() const { return !needed_; }
    void lock() {
        if (needed_) {
            lock_.lock();
        }
    }
    void unlock() {
        if (needed_) {
            lock_.unlock();
        }
    }

  private:
    SpinLock lock_;
    bool needed_ = true;
};

}  // namespace vrdma::verbs
