#pragma once

// Memory shared by all processes of a run, mapped before the first fork: how the two sides of a
// pair meet, exchange addresses and leave their totals.

#include <array>
#include <atomic>
#include <cstdint>

#include "tests/e2e/verify/limits.h"
#include "tests/e2e/verify/opcode.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::verify {

inline constexpr std::uint32_t kMaxPairs = 64;

struct OpcodeTotals {
    std::uint64_t operations = 0;
    std::uint64_t bytes = 0;
};

/// Written by one side, read by the other between two meetings, and by the parent at the end.
struct SideBlock {
    std::atomic<std::uint64_t> meetings{0};
    Limits limits;
    std::array<verbs_util::QueuePairAddress, kMaxQueuePairs> addresses;
    std::array<std::uint32_t, kMaxRegions> rkeys;
    std::uint64_t arena = 0;

    std::array<OpcodeTotals, kOpcodes> posted;    ///< as initiator
    std::array<OpcodeTotals, kOpcodes> received;  ///< messages that took a receive
    std::uint64_t completions = 0;
    std::uint64_t rounds = 0;
    std::uint64_t epochs = 0;
};

struct PairBlock {
    std::array<SideBlock, 2> sides;
};

struct ControlBlock {
    std::atomic<std::uint32_t> failures{0};
    std::array<PairBlock, kMaxPairs> pairs;

    /// Zeroed shared memory that children of a fork see too. Never unmapped.
    [[nodiscard]] static verbs_util::Result<ControlBlock*> create();
};

/// Where the two sides of a pair wait for each other.
class Meeting {
  public:
    Meeting(ControlBlock& control, PairBlock& pair, unsigned side)
        : control_(control),
          mine_(pair.sides[side].meetings),
          theirs_(pair.sides[1 - side].meetings) {}

    /// Returns when the other side has come as often as this one. Fails when any process of the run
    /// has failed or the other side is not there in time.
    [[nodiscard]] verbs_util::Result<void> wait();

  private:
    ControlBlock& control_;
    std::atomic<std::uint64_t>& mine_;
    std::atomic<std::uint64_t>& theirs_;
};

/// The error of a side that stops because another one failed: it has nothing to report itself.
[[nodiscard]] bool is_consequence(const verbs_util::Error& error);

}  // namespace vrdma::verify
