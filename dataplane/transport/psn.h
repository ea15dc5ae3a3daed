// Packet sequence numbers (IBA 9.7.1, 9.7.2): 24 bits on the wire, 64 inside.
//
// Everything here counts packets in a Sequence that never wraps, beginning at the initial PSN of
// its direction; only the two functions below know the wire's 24 bits. So comparing is comparing,
// and the wrap can be wrong in one place only.
#pragma once

#include <compare>
#include <cstdint>

namespace vrdma::transport {

inline constexpr uint32_t kPsnBits = 24;
inline constexpr uint32_t kPsnMask = (1U << kPsnBits) - 1;

// As it is on the wire.
struct Psn {
    uint32_t value = 0;

    static constexpr Psn of(uint32_t number) { return {number & kPsnMask}; }
    constexpr bool operator==(const Psn&) const = default;
};

// Packets of one direction of one queue pair, counted from its initial PSN without ever wrapping.
// The initial PSN itself is the number's low 24 bits, and the count starts one wrap above zero, so
// that what is behind the start has a number, too.
using Sequence = uint64_t;

[[nodiscard]] constexpr Sequence first_sequence(Psn initial) {
    return (uint64_t{1} << kPsnBits) + initial.value;
}

[[nodiscard]] constexpr Psn psn_of(Sequence sequence) {
    return {static_cast<uint32_t>(sequence) & kPsnMask};
}

// The number nearest to `reference` that has this PSN: at most 2^23 behind it, less than 2^23 ahead
// (IBA 9.7.2).
[[nodiscard]] constexpr Sequence expand(Psn psn, Sequence reference) {
    const uint32_t raw = (psn.value - psn_of(reference).value) << (32 - kPsnBits);
    const int32_t distance = static_cast<int32_t>(raw) >> (32 - kPsnBits);
    return reference + static_cast<uint64_t>(static_cast<int64_t>(distance));
}

}  // namespace vrdma::transport
