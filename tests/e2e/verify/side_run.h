#pragma once

// The whole life of one side of a pair.

#include <cstdint>

#include "tests/e2e/verify/control_block.h"
#include "tests/e2e/verify/options.h"
#include "tools/verbs_util/error.h"

namespace vrdma::verify {

/// Operations that pair `index` has to do.
[[nodiscard]] std::uint64_t share_of(const Options& options, std::uint32_t index);

/// Runs side 0 (A) or 1 (B) of pair `index` to the end. The error carries seed, epoch and round.
[[nodiscard]] verbs_util::Result<void> run_side(const Options& options, ControlBlock& control,
                                                std::uint32_t index, unsigned side);

}  // namespace vrdma::verify
