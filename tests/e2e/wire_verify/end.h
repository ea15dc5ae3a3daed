#pragma once

// One side's verbs objects, and a round on them.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/e2e/wire_verify/plan.h"
#include "tests/e2e/wire_verify/uc_round.h"
#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/queue_pair.h"
#include "tools/verbs_util/registration.h"

namespace vrdma::wire_verify {

/// The other side's memory.
struct Target {
    std::uint64_t address = 0;
    std::uint32_t rkey = 0;
};

class End {
  public:
    [[nodiscard]] static verbs_util::Result<End> create(const verbs_util::DeviceOptions& device,
                                                        const PlanOptions& options,
                                                        std::uint32_t side);

    [[nodiscard]] std::vector<verbs_util::QueuePairAddress> addresses() const;
    [[nodiscard]] Target memory() const;
    [[nodiscard]] verbs_util::Result<void> connect(
        const std::vector<verbs_util::QueuePairAddress>& remote, const Target& target);

    /// The memory gets what it is before the round; receives are posted.
    [[nodiscard]] verbs_util::Result<void> prepare(std::uint64_t round);
    /// This side's requests are posted; ends when all of them and all receives have completed. On
    /// UC without the receives.
    [[nodiscard]] verbs_util::Result<void> transfer();
    /// UC: what arrives is looked at, until nothing is missing or nothing has come for a while.
    /// The other side's requests have all been sent.
    [[nodiscard]] verbs_util::Result<void> collect();
    /// Compares the memory with what it must be.
    [[nodiscard]] verbs_util::Result<void> verify();

    [[nodiscard]] std::uint64_t operations() const { return operations_done_; }
    /// UC: messages to this side so far, and those that did not arrive.
    [[nodiscard]] std::uint64_t messages() const { return messages_; }
    [[nodiscard]] std::uint64_t lost() const { return lost_; }

  private:
    [[nodiscard]] verbs_util::Result<void> post_receive(std::size_t index);
    [[nodiscard]] verbs_util::Result<void> post_send(std::size_t index);
    [[nodiscard]] verbs_util::Result<void> check(const ibv_wc& completion);
    [[nodiscard]] std::span<std::byte> region() const { return {memory_.data(), kRegionBytes}; }
    [[nodiscard]] bool uc() const { return options_.type == IBV_QPT_UC; }
    /// UC: receives belong to no message; each has a buffer of its own.
    [[nodiscard]] std::span<std::byte> slot(std::size_t number) const;
    [[nodiscard]] verbs_util::Result<void> post_slot(std::size_t number);
    [[nodiscard]] verbs_util::Result<void> take_arrival(const ibv_wc& completion);
    [[nodiscard]] verbs_util::Result<void> verify_uc();

    PlanOptions options_;
    std::uint32_t side_ = 0;
    std::uint64_t round_ = 0;
    std::uint64_t operations_done_ = 0;
    Target target_;
    std::vector<Operation> operations_;
    verbs_util::Buffer memory_;
    std::vector<std::byte> expected_[2];
    UcRound uc_round_;
    std::uint64_t messages_ = 0;
    std::uint64_t lost_ = 0;

    std::shared_ptr<verbs_util::Device> device_;
    verbs_util::Owned<ibv_pd> pd_;
    verbs_util::Owned<ibv_mr> mr_;
    verbs_util::CompletionQueue queue_;
    std::vector<verbs_util::QueuePair> queue_pairs_;
};

}  // namespace vrdma::wire_verify
