// The Internet checksum (RFC 1071).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/wire/address.h"

namespace vrdma::wire {

// Adds the 16-bit words of `bytes` to an unfolded sum; an odd last byte counts as if a zero
// followed, so only the last piece may be odd. Up to 64 KiB fit into a sum.
[[nodiscard]] uint32_t checksum_add(uint32_t sum, std::span<const std::byte> bytes);

// The sum folded to 16 bits and inverted: what belongs into the header. 0 over bytes that contain
// their right checksum.
[[nodiscard]] constexpr uint16_t checksum_finish(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}

// The sum of the IPv6 pseudo-header (RFC 8200 8.1).
[[nodiscard]] uint32_t checksum_pseudo_v6(const Address& source, const Address& destination,
                                          uint32_t length, uint8_t next_header);

}  // namespace vrdma::wire
