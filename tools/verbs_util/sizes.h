#pragma once

// Byte counts as people write them: 8, 4K, 64KiB, 1M, 2G.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/verbs_util/error.h"

namespace vrdma::verbs_util {

[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);
/// Comma separated. Never empty.
[[nodiscard]] Result<std::vector<std::uint64_t>> parse_sizes(std::string_view text);
/// 4096 -> "4K", 100 -> "100": exact, so only whole multiples are shortened.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

}  // namespace vrdma::verbs_util
