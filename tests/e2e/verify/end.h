#pragma once

// The verbs objects of one side of a pair for one epoch.

#include <cstddef>
#include <memory>
#include <vector>

#include "tests/e2e/verify/control_block.h"
#include "tests/e2e/verify/epoch_plan.h"
#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/objects.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::verify {

class End {
  public:
    [[nodiscard]] static verbs_util::Result<std::unique_ptr<End>> create(
        std::shared_ptr<verbs_util::Device> device, const EpochPlan& epoch, unsigned side);

    /// Leaves addresses and keys for the other side.
    void publish(SideBlock& block) const;
    [[nodiscard]] verbs_util::Result<void> connect(const SideBlock& other);

    [[nodiscard]] std::byte* arena() const { return arena_.data(); }
    [[nodiscard]] std::uint32_t lkey(unsigned region) const { return regions_[region]->lkey; }
    [[nodiscard]] std::vector<verbs_util::CompletionQueue>& completion_queues() { return cqs_; }
    [[nodiscard]] ibv_srq* srq() const { return srq_.get(); }
    [[nodiscard]] const verbs_util::QueuePair& queue(std::size_t index) const {
        return queues_[index];
    }

  private:
    End() = default;
    [[nodiscard]] verbs_util::Result<void> create_memory(const SidePlan& plan);
    [[nodiscard]] verbs_util::Result<void> create_queues(const EpochPlan& epoch, unsigned side);

    // Order of declaration is order of creation; destruction runs backwards.
    std::shared_ptr<verbs_util::Device> device_;
    verbs_util::Buffer arena_;
    verbs_util::Owned<ibv_pd> pd_;
    std::vector<verbs_util::Owned<ibv_mr>> regions_;
    std::vector<verbs_util::CompletionQueue> cqs_;
    verbs_util::Owned<ibv_srq> srq_;
    std::vector<verbs_util::QueuePair> queues_;
};

/// Fills in what `device` can do; lowers what the user wanted to it.
[[nodiscard]] verbs_util::Result<Limits> limits_of(const verbs_util::Device& device,
                                                   const Limits& wanted);
/// What both can do.
[[nodiscard]] Limits common_limits(const Limits& a, const Limits& b);

}  // namespace vrdma::verify
