#pragma once

// Waiting for send completions: polling or asleep on the channel, never without end.

#include <infiniband/verbs.h>

#include <cstdint>

#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/tsc.h"
#include "tools/vrdma-perf/operation.h"

namespace vrdma::perf {

/// Counts fruitless polls: yields the processor now and then, and gives up in the end.
class Patience {
  public:
    explicit Patience(const verbs_util::Tsc& tsc) : tsc_(tsc) {}

    /// After a fruitless poll; false when it is time to give up.
    [[nodiscard]] bool wait_more() {
        return ++polls_ % kPollsBeforeYield != 0 ? true : yield_and_check();
    }
    void reset() {
        polls_ = 0;
        since_ = 0;
    }

  private:
    static constexpr unsigned kPollsBeforeYield = 4096;
    [[nodiscard]] bool yield_and_check();

    const verbs_util::Tsc& tsc_;
    std::uint64_t polls_ = 0;
    std::uint64_t since_ = 0;
};

[[nodiscard]] verbs_util::Error stalled_error();
[[nodiscard]] verbs_util::Error completion_error(Operation operation, const ibv_wc& completion);

class CompletionWait {
  public:
    CompletionWait(verbs_util::CompletionQueue& cq, Operation operation, const verbs_util::Tsc& tsc)
        : cq_(cq), operation_(operation), tsc_(tsc) {}

    /// Takes what is there, perhaps nothing. Fails when one of the completions did.
    [[nodiscard]] verbs_util::Result<int> poll(ibv_wc* completions, int room);
    /// Takes at least one.
    [[nodiscard]] verbs_util::Result<int> wait(ibv_wc* completions, int room);
    /// Sleeps until there is at least one; the CQ must have events.
    [[nodiscard]] verbs_util::Result<int> sleep(ibv_wc* completions, int room);
    [[nodiscard]] bool can_sleep() const { return cq_.has_events(); }

  private:
    verbs_util::CompletionQueue& cq_;
    Operation operation_;
    const verbs_util::Tsc& tsc_;
};

}  // namespace vrdma::perf
