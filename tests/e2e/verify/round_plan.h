#pragma once

// What one round does, decided before anything is done. Both sides of a pair compute the same plan
// from the same seed, so neither has to tell the other what to expect.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/e2e/verify/epoch_plan.h"
#include "tests/e2e/verify/limits.h"
#include "tests/e2e/verify/opcode.h"

namespace vrdma::verify {

inline constexpr std::uint32_t kNone = UINT32_MAX;

/// A contiguous part of an arena.
struct Piece {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
};

/// Consecutive entries of RoundPlan::pieces.
struct PieceRange {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
};

struct Operation {
    Opcode opcode = Opcode::kSend;
    std::uint8_t initiator = 0;  ///< the side that posts it: 0 is A, 1 is B
    std::uint8_t local_region = 0;
    std::uint8_t remote_region = 0;
    bool signaled = true;
    bool inline_data = false;
    bool fence = false;
    bool chained = false;      ///< posted in one list with the next operation
    bool on_counter = false;   ///< FETCH_ADD on the counter of the other side
    bool overwritten = false;  ///< a later WRITE replaces what this one wrote
    std::uint32_t queue = 0;
    std::uint32_t size = 0;
    std::uint32_t receive = kNone;     ///< its receive; kNone without one, or with an SRQ
    std::uint32_t remote_offset = 0;   ///< WRITE, READ, atomics
    std::uint32_t reads_from = kNone;  ///< READ of what this earlier WRITE wrote
    std::uint32_t sends_from = kNone;  ///< sends what this earlier READ returned
    std::uint32_t immediate = 0;
    PieceRange local;
    std::uint64_t content = 0;  ///< seed of the data
    std::uint64_t operand = 0;  ///< atomics: added, or swapped in
    std::uint64_t compare = 0;
    std::uint64_t before = 0;  ///< atomics: value to be found
    std::uint64_t after = 0;   ///< atomics: value to be left
};

struct Receive {
    std::uint8_t side = 0;  ///< that posts it
    std::uint8_t region = 0;
    bool shared = false;  ///< goes to the SRQ of its side
    std::uint32_t queue = 0;
    std::uint32_t operation = kNone;  ///< that it is for; kNone when shared
    PieceRange pieces;
};

struct Window {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
};

struct RoundPlan {
    std::vector<Operation> operations;
    std::vector<Receive> receives;
    std::vector<Piece> pieces;
    std::array<Window, 2> windows;
    bool late_receives = false;  ///< posted when the other side is already sending (RC only)
};

/// Between 1 and `most` operations. `plan` is overwritten and its memory used again.
void plan_round(const EpochPlan& epoch, const Limits& limits, std::uint64_t seed,
                std::uint32_t most, RoundPlan& plan);

/// For error messages.
[[nodiscard]] std::string describe(const Operation& operation);

}  // namespace vrdma::verify
