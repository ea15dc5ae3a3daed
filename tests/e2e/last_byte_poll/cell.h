#pragma once

// The combinations that are tried, and how often each.

#include <cstdint>
#include <string_view>
#include <vector>

namespace vrdma::last_byte {

enum class Path : std::uint8_t { kWrite, kWriteInline, kRead, kSend, kSendInline };

[[nodiscard]] std::string_view path_name(Path path);
[[nodiscard]] bool is_inline(Path path);
[[nodiscard]] bool is_send(Path path);

struct Cell {
    Path path = Path::kWrite;
    std::uint32_t size = 8;
    std::uint32_t offset = 0;  ///< of the destination from a cache line
    std::uint64_t operations = 0;
};

inline constexpr std::uint32_t kLargestMessage = 1U << 20;

/// Every path with sizes 8 to 1M and offsets 0, 8 and 1; inline up to `max_inline`. The operations
/// of all cells add up to `operations`; large messages get fewer.
[[nodiscard]] std::vector<Cell> make_cells(std::uint64_t operations, std::uint32_t max_inline);

}  // namespace vrdma::last_byte
