#pragma once

// Are the completions of a round exactly those that the plan implies, in the order it implies?

#include <infiniband/verbs.h>

#include <cstdint>
#include <vector>

#include "tests/e2e/verify/epoch_plan.h"
#include "tests/e2e/verify/round_plan.h"
#include "tools/verbs_util/error.h"

namespace vrdma::verify {

/// Numbers of the QPs of one side, in the order of the epoch plan.
struct QueueNumbers {
    std::vector<std::uint32_t> own;
    std::vector<std::uint32_t> remote;
};

[[nodiscard]] constexpr std::uint64_t send_id(std::uint32_t round, std::uint32_t operation) {
    return std::uint64_t{round} << 32 | operation;
}
[[nodiscard]] constexpr std::uint64_t receive_id(std::uint32_t round, std::uint32_t receive) {
    return std::uint64_t{round} << 32 | 0x80000000U | receive;
}

class CompletionCheck {
  public:
    CompletionCheck(const EpochPlan& epoch, unsigned side, QueueNumbers numbers);

    void begin(const RoundPlan& plan, std::uint32_t round);
    /// Fails with kTransfer for an error status, with kVerification for anything unexpected.
    [[nodiscard]] verbs_util::Result<void> accept(unsigned cq, const ibv_wc& completion);
    [[nodiscard]] bool complete() const { return missing_ == 0; }
    /// The first completions that are still missing, for an error message.
    [[nodiscard]] std::string describe_missing() const;

    /// The operation whose message took shared receive `index`; kNone when none did.
    [[nodiscard]] std::uint32_t taker_of(std::uint32_t index) const { return takers_[index]; }
    /// Whether the message of an operation is preceded by a GRH.
    [[nodiscard]] bool datagram(std::uint32_t operation) const {
        return epoch_.queues[plan_->operations[operation].queue].type == IBV_QPT_UD;
    }

  private:
    /// Operations of one QP whose completions must come in this order.
    struct Expected {
        std::vector<std::uint32_t> operations;
        std::size_t next = 0;
    };

    [[nodiscard]] verbs_util::Result<void> accept_send(std::uint32_t queue, unsigned cq,
                                                       const ibv_wc& completion);
    [[nodiscard]] verbs_util::Result<void> accept_receive(std::uint32_t queue, unsigned cq,
                                                          const ibv_wc& completion);
    [[nodiscard]] verbs_util::Result<void> take_receive(const Operation& operation,
                                                        std::uint32_t index,
                                                        const ibv_wc& completion);

    const EpochPlan& epoch_;
    const unsigned side_;
    const QueueNumbers numbers_;
    const RoundPlan* plan_ = nullptr;
    std::uint32_t round_ = 0;
    std::vector<Expected> sends_;
    std::vector<Expected> receives_;
    std::vector<std::uint32_t> takers_;
    std::size_t missing_ = 0;
};

}  // namespace vrdma::verify
