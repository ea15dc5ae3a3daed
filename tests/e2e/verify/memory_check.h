#pragma once

// The memory of one side: set up before a round, checked byte by byte after it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/verify/completion_check.h"
#include "tests/e2e/verify/round_plan.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/pattern.h"

namespace vrdma::verify {

class MemoryCheck {
  public:
    /// Fills the arena with its background.
    MemoryCheck(std::byte* arena, unsigned side, std::uint64_t seed);

    /// Sources of this side, words and ranges that the other side reads.
    void prepare(const RoundPlan& plan);
    /// After inline operations have been posted their source no longer matters: overwrites it.
    void forget_source(const RoundPlan& plan, const Operation& operation);
    /// Every byte of the window: targets hold the data, sources and everything else are unchanged.
    /// Then the window is background again.
    [[nodiscard]] verbs_util::Result<void> check_round(const RoundPlan& plan,
                                                       const CompletionCheck& completions);
    /// Every byte of the arena is background. Between rounds.
    [[nodiscard]] verbs_util::Result<void> check_idle() const;

  private:
    /// What a range must hold.
    struct Region {
        std::uint32_t offset = 0;
        std::uint32_t length = 0;
        std::uint32_t operation = kNone;  ///< kNone: contents are not specified
        std::uint64_t skip = 0;           ///< into the data of the operation
        const char* role = "";
        bool word = false;  ///< 8 bytes with `value` instead of data
        std::uint64_t value = 0;
    };

    void expect_pieces(const RoundPlan& plan, const PieceRange& range, std::uint32_t unspecified,
                       std::uint32_t size, std::uint32_t operation, const char* role);
    void expect_word(std::uint32_t offset, std::uint64_t value, std::uint32_t operation,
                     const char* role);
    void expect_own(const RoundPlan& plan, std::uint32_t index);
    void expect_target(const RoundPlan& plan, std::uint32_t index);
    void expect_received(const RoundPlan& plan, const CompletionCheck& completions);
    [[nodiscard]] verbs_util::Result<void> check_regions(const RoundPlan& plan) const;
    /// The ranges on both sides of the gap in front of region `behind`, for an error message.
    [[nodiscard]] std::string neighbours(const RoundPlan& plan, std::size_t behind) const;
    [[nodiscard]] verbs_util::Result<void> check_background(std::uint32_t from,
                                                            std::uint32_t to) const;
    [[nodiscard]] verbs_util::Result<void> check_counter(const RoundPlan& plan);

    std::byte* arena_;
    const unsigned side_;
    const verbs_util::Pattern background_;
    std::vector<Region> regions_;
    std::uint64_t counter_ = 0;         ///< what the own counter must hold
    std::uint64_t remote_counter_ = 0;  ///< what the other side's must
};

}  // namespace vrdma::verify
