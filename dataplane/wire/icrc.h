// The invariant CRC of RoCEv2 (IBA A17.3.3, 7.8.1): what no switch changes is covered, what one may
// change counts as ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vrdma::wire {

// The state of crc32.h after the eight bytes of ones that stand for the missing LRH.
inline constexpr uint32_t kIcrcSeed = 0xdebb20e3;

// The state after IP header, UDP header and BTH, which begin at `ip` and lie behind one another
// (IPv4 without options, IPv6 without extension headers). 40 bytes are read for IPv4, 60 for IPv6.
[[nodiscard]] uint32_t icrc_of_headers(const std::byte* ip, bool v6);

// The four bytes on the wire, in their order, for the state after the pad.
void store_icrc(std::byte* to, uint32_t state);
[[nodiscard]] uint32_t load_icrc(const std::byte* from);  // comparable with icrc_value()
[[nodiscard]] constexpr uint32_t icrc_value(uint32_t state) {
    return ~state;
}

}  // namespace vrdma::wire
