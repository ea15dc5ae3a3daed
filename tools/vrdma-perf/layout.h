#pragma once

// Where in its memory each side puts the messages of one size.

#include <algorithm>
#include <cstdint>

namespace vrdma::perf {

/// UD receives begin with the GRH.
inline constexpr std::uint32_t kGrhBytes = 40;

/// Slots of equal size that the transfers cycle through.
struct Layout {
    std::uint64_t stride = 64;
    std::uint64_t slots = 1;

    [[nodiscard]] std::uint64_t bytes() const { return stride * slots; }
};

/// `wanted_bytes` 0 asks for a hot working set: one slot for each message of the window, but at
/// most 4 MiB unless a single message is larger.
[[nodiscard]] inline Layout layout_for(std::uint64_t message_bytes, std::uint64_t wanted_bytes,
                                       std::uint32_t window) {
    constexpr std::uint64_t kLine = 64;
    constexpr std::uint64_t kHotBytes = std::uint64_t{4} << 20;
    Layout layout;
    layout.stride = std::max((message_bytes + kLine - 1) / kLine * kLine, kLine);
    const std::uint64_t bytes =
        wanted_bytes != 0 ? wanted_bytes : std::min(layout.stride * window, kHotBytes);
    layout.slots = std::max<std::uint64_t>(bytes / layout.stride, 1);
    return layout;
}

}  // namespace vrdma::perf
