#pragma once

// Carries out one side of a round.

#include <array>
#include <cstdint>
#include <vector>

#include "tests/e2e/verify/completion_check.h"
#include "tests/e2e/verify/control_block.h"
#include "tests/e2e/verify/end.h"
#include "tests/e2e/verify/memory_check.h"
#include "tests/e2e/verify/round_plan.h"
#include "tools/verbs_util/error.h"

namespace vrdma::verify {

class RoundRun {
  public:
    RoundRun(End& end, const EpochPlan& epoch, unsigned side, PairBlock& pair, Meeting& meeting,
             std::uint64_t seed);

    /// Both sides must run the same plan.
    [[nodiscard]] verbs_util::Result<void> run(const RoundPlan& plan, std::uint32_t round);
    /// Between rounds: nothing else in the arena has changed, no completion is left.
    [[nodiscard]] verbs_util::Result<void> check_idle();

  private:
    [[nodiscard]] verbs_util::Result<void> post_receives();
    [[nodiscard]] verbs_util::Result<void> post_operations();
    /// Posts the list that begins with operation `first`; the index behind its last operation.
    [[nodiscard]] verbs_util::Result<std::uint32_t> post_list(std::uint32_t first);
    void build_request(std::uint32_t index, ibv_send_wr& request, ibv_sge* segments);
    void build_segments(const PieceRange& range, std::uint32_t lkey, ibv_sge* segments) const;

    /// Takes what is there. The number of completions.
    [[nodiscard]] verbs_util::Result<int> poll_all();
    [[nodiscard]] verbs_util::Result<void> wait_complete();
    [[nodiscard]] verbs_util::Result<void> sleep();
    void count_totals();

    End& end_;
    const EpochPlan& epoch_;
    const unsigned side_;
    SideBlock& own_;
    const SideBlock& other_;
    Meeting& meeting_;
    CompletionCheck completions_;
    MemoryCheck memory_;
    const RoundPlan* plan_ = nullptr;
    std::uint32_t round_ = 0;
    std::vector<ibv_send_wr> requests_;
    std::vector<ibv_sge> segments_;
};

}  // namespace vrdma::verify
