#pragma once

// What all sides did together, and whether it adds up.

#include <array>
#include <cstdint>
#include <string>

#include "tests/e2e/verify/control_block.h"
#include "tests/e2e/verify/opcode.h"
#include "tests/e2e/verify/options.h"
#include "tools/verbs_util/error.h"

namespace vrdma::verify {

struct Totals {
    std::array<OpcodeTotals, kOpcodes> posted;
    std::array<OpcodeTotals, kOpcodes> received;
    std::uint64_t operations = 0;
    std::uint64_t bytes = 0;
    std::uint64_t completions = 0;
    std::uint64_t rounds = 0;  ///< of side A
    std::uint64_t epochs = 0;  ///< of side A
};

[[nodiscard]] Totals add_up(const ControlBlock& control, std::uint32_t pairs);

/// As many operations as asked for, and as many messages received as sent, with as many bytes.
[[nodiscard]] verbs_util::Result<void> reconcile(const Totals& totals, const Options& options);

/// One line for each opcode.
[[nodiscard]] std::string describe(const Totals& totals);

}  // namespace vrdma::verify
