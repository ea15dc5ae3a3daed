#include "tests/e2e/verify/random.h"

#include <algorithm>
#include <bit>

// A counter through a mixing function: no state to carry from one decision to the next, so
// inserting a decision in one place does not change the quality of the others. Only integer
// arithmetic, so that a seed replays the same run with any compiler.

namespace vrdma::verify {

std::uint32_t Random::log_uniform(std::uint32_t low, std::uint32_t high) {
    const auto first = static_cast<std::uint32_t>(std::bit_width(low)) - 1;
    const auto last = static_cast<std::uint32_t>(std::bit_width(high)) - 1;
    const std::uint32_t magnitude = between(first, last);
    const std::uint32_t from = std::max(low, 1U << magnitude);
    const std::uint32_t to = std::min(high, (2U << magnitude) - 1U);
    return between(from, to);
}

}  // namespace vrdma::verify
