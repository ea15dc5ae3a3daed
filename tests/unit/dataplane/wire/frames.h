// Frames for the tests of the codecs: good ones, and the means to damage exactly one thing.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "dataplane/wire/build.h"

namespace vrdma::wire {

using Bytes = std::vector<std::byte>;

inline constexpr Mac kMacA{{0x02, 0, 0, 0, 0, 0x0a}};
inline constexpr Mac kMacB{{0x02, 0, 0, 0, 0, 0x0b}};
inline constexpr Address kA4 = Address::v4(10, 0, 0, 1);
inline constexpr Address kB4 = Address::v4(10, 0, 0, 2);
inline constexpr Address kA6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x0a}};
inline constexpr Address kB6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x0b}};

inline constexpr size_t kIpAt = kEthernetBytes;
inline constexpr size_t kUdpAt4 = kIpAt + kIpv4Bytes;
inline constexpr size_t kBthAt4 = kUdpAt4 + kUdpBytes;

[[nodiscard]] Bytes from_hex(std::string_view digits);
[[nodiscard]] Bytes pattern(size_t length);
[[nodiscard]] FlowTemplate flow_v4();
[[nodiscard]] FlowTemplate flow_v6();

// From A to B.
[[nodiscard]] Bytes roce(const HeaderFields& fields, size_t payload_length, bool v6 = false);
[[nodiscard]] Bytes roce(Opcode opcode, size_t payload_length = 0, bool v6 = false);

inline void set(Bytes& frame, size_t at, unsigned value) {
    frame.at(at) = static_cast<std::byte>(value);
}

// Makes checksum and ICRC of an untagged RoCE frame right again, so that only what was changed is
// wrong. The lengths in the headers are not touched.
void reseal(Bytes& frame);
// Inserts or removes `count` bytes before the ICRC and makes all lengths, checksum and ICRC right.
void resize_content(Bytes& frame, int count);
// The IPv4 header checksum alone.
void reseal_ipv4(Bytes& frame);

}  // namespace vrdma::wire
