#pragma once

// One point of a measurement: what is posted, where it lies, and how it is checked.

#include <cstdint>

#include "tools/vrdma-perf/layout.h"
#include "tools/vrdma-perf/operation.h"

namespace vrdma::perf {

/// Everything about one message size that both ends must agree on.
struct Workload {
    Operation operation = Operation::kWrite;
    std::uint64_t size = 8;
    std::uint32_t active = 1;      ///< QPs that carry traffic
    Layout layout;                 ///< of the messages, on both sides
    std::uint64_t recv_bytes = 8;  ///< length of a posted receive buffer, GRH included
};

/// When a sample ends: whichever comes first; 0 means no such limit.
struct Budget {
    std::uint64_t operations = 0;
    std::uint64_t ticks = 0;
};

/// Operations [first, first + count) of a verified run. The i-th of the batch uses QP i % active
/// and slot i; its data follows from the seed and its number first + i.
struct VerifyBatch {
    std::uint64_t seed = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
};

}  // namespace vrdma::perf
