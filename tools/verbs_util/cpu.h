#pragma once

// Where a thread runs, and how it waits.

#include <sched.h>
#include <x86intrin.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "tools/verbs_util/error.h"

namespace vrdma::verbs_util {

/// "0" or "0,1". Never empty.
[[nodiscard]] Result<std::vector<int>> parse_cpus(std::string_view text);
/// The CPUs this process may run on, ascending.
[[nodiscard]] std::vector<int> allowed_cpus();
[[nodiscard]] Result<void> pin_this_thread(int cpu);
/// Undoes pin_this_thread().
[[nodiscard]] Result<void> unpin_this_thread(const std::vector<int>& cpus);
/// CPU time this thread has used.
[[nodiscard]] std::uint64_t thread_cpu_ns();

/// Waits for another thread or process without owning the processor: after some hundred fruitless
/// looks it lets others run, because with fewer processors than spinning threads the one that is
/// waited for may be behind this one in the queue.
class Spinner {
  public:
    explicit Spinner(unsigned looks = kLooks) : looks_(looks) {}
    void idle() {
        if (++fruitless_ >= looks_) {
            fruitless_ = 0;
            (void)sched_yield();
        } else {
            _mm_pause();
        }
    }
    void reset() { fruitless_ = 0; }

  private:
    static constexpr unsigned kLooks = 300;

    unsigned looks_;
    unsigned fruitless_ = 0;
};

}  // namespace vrdma::verbs_util
