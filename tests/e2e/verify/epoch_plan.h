#pragma once

// The objects that a number of rounds use, decided before they are created. Both sides of a pair
// compute the same plan from the same seed.

#include <infiniband/verbs.h>

#include <array>
#include <cstdint>
#include <vector>

#include "tests/e2e/verify/limits.h"
#include "tools/verbs_util/memory.h"

namespace vrdma::verify {

/// One side of a queue pair.
struct QueueSide {
    bool shared_receive = false;
    bool signal_all = false;
    std::uint8_t send_cq = 0;
    std::uint8_t recv_cq = 0;
    std::uint8_t send_segments = 1;
    std::uint8_t recv_segments = 1;
    std::uint32_t max_inline = 0;
};

struct QueuePlan {
    ibv_qp_type type = IBV_QPT_RC;
    std::array<QueueSide, 2> sides;
};

struct SidePlan {
    std::uint8_t completion_queues = 1;
    std::uint8_t regions = 1;  ///< times the arena is registered; each operation picks one
    std::uint8_t shared_segments = 1;
    bool events = false;
    verbs_util::MemoryKind memory = verbs_util::MemoryKind::kMalloc;
};

struct EpochPlan {
    std::vector<QueuePlan> queues;
    std::array<SidePlan, 2> sides;
};

[[nodiscard]] EpochPlan plan_epoch(const Limits& limits, std::uint64_t seed);

}  // namespace vrdma::verify
