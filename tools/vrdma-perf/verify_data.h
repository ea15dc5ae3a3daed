#pragma once

// What every byte of a verified transfer must be, computed on both sides from seed and number.

#include <cstddef>
#include <cstdint>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/pattern.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

/// Data of operation number `n`.
[[nodiscard]] verbs_util::Pattern message_pattern(std::uint64_t seed, std::uint64_t n);
/// What lies in memory before, and outside of, the transfers of a batch, by offset in the buffer.
[[nodiscard]] verbs_util::Pattern background_pattern(const VerifyBatch& batch);
[[nodiscard]] std::uint32_t immediate_of(std::uint64_t seed, std::uint64_t n);

struct AtomicPlan {
    std::uint64_t before = 0;   ///< value of the remote word
    std::uint64_t after = 0;    ///< value it must have afterwards
    std::uint64_t compare = 0;  ///< cmp-swap: equal to `before` for every second operation
    std::uint64_t operand = 0;  ///< what is added or swapped in
};
[[nodiscard]] AtomicPlan atomic_plan(Operation operation, std::uint64_t seed, std::uint64_t n);

/// Compares slot `index` at `slot`: `skip` unspecified bytes, the message, then background up to
/// the stride. `side` ("far end", "near end") goes into the error.
[[nodiscard]] verbs_util::Result<void> check_slot(const Workload& workload,
                                                  const VerifyBatch& batch, std::uint64_t index,
                                                  const std::byte* slot, std::uint64_t skip,
                                                  const char* side);
/// The same for a slot whose first 8 bytes must be `word`.
[[nodiscard]] verbs_util::Result<void> check_word_slot(const Workload& workload,
                                                       const VerifyBatch& batch,
                                                       std::uint64_t index, const std::byte* slot,
                                                       std::uint64_t word, const char* side);

}  // namespace vrdma::perf
