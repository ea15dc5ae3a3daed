// The bytes that messages consist of: pieces of one random table, so that making them costs
// nothing and two messages of eight bytes or more hardly ever look the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vrdma::sim {

inline constexpr size_t kMaxMessage = 256 * 1024;

// The whole table; a message may begin anywhere in its first half.
[[nodiscard]] std::span<const std::byte> pattern_table();
inline constexpr size_t kPatternStarts = 1024 * 1024;
// kMaxMessage bytes and more may be read behind it.
[[nodiscard]] inline const std::byte* pattern(uint64_t hash) {
    return pattern_table().data() + hash % kPatternStarts;
}

}  // namespace vrdma::sim
