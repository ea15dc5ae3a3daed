#pragma once

// A message whose end tells that it is there, and a look at whether the rest is there too.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "tools/verbs_util/pattern.h"

namespace vrdma::last_byte {

/// Message number `number` is a body that depends on number % kBodies and a stamp in its last 8
/// bytes (all bytes, if it has fewer) that depends on the number itself.
inline constexpr std::uint64_t kBodies = 4;
inline constexpr std::size_t kStampBytes = 8;

/// The body of message `number`; any two of different bodies differ in every word.
[[nodiscard]] verbs_util::Pattern body_of(std::uint64_t number);
/// Its last byte in memory is number % 256, and consecutive stamps differ in every byte.
[[nodiscard]] std::uint64_t stamp_of(std::uint64_t number);

void write_body(std::byte* at, std::size_t size, std::uint64_t number);
void write_stamp(std::byte* at, std::size_t size, std::uint64_t number);

/// Whether the end of message `number` is visible: its last 8 bytes in one load where they are
/// aligned, else its last byte.
[[nodiscard]] bool end_is_visible(const std::byte* at, std::size_t size, std::uint64_t number);

/// Where in the message a look begins: stale bytes are caught most likely by what is looked at
/// first.
enum class LookOrder : std::uint8_t { kForward, kBackward, kFromMiddle };
inline constexpr std::uint64_t kLookOrders = 3;

/// The offset of a byte that is not the one of message `number`, looking at every byte in front of
/// the end that was polled.
[[nodiscard]] std::optional<std::size_t> find_stale(const std::byte* at, std::size_t size,
                                                    std::uint64_t number, LookOrder order);

}  // namespace vrdma::last_byte
