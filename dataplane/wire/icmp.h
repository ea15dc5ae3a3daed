// The two messages of ICMP and ICMPv6 that a RoCE host has to do with: echo (RFC 792, RFC 4443 4.1,
// 4.2), and a router's report that a packet did not fit (RFC 1191, RFC 4443 3.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/packet.h"

namespace vrdma::wire {

struct Echo {
    bool reply = false;
    Network network{};
    uint16_t identifier = 0;
    uint16_t sequence = 0;
    std::span<const std::byte> data{};

    // What answers this request from `own_mac`, which is not that of the frame when the request
    // went to a group.
    [[nodiscard]] Echo answer(const Mac& own_mac) const;
};

[[nodiscard]] tl::expected<Echo, DropReason> parse_echo(std::span<const std::byte> frame);

[[nodiscard]] constexpr size_t echo_frame_bytes(const Echo& echo) {
    return kEthernetBytes + (echo.network.v6 ? kIpv6Bytes : kIpv4Bytes) + 8 + echo.data.size();
}
// `out` has room for echo_frame_bytes(), which is what is returned. echo.data is not inside `out`.
[[nodiscard]] size_t build_echo(std::span<std::byte> out, const Echo& echo);

// "Fragmentation needed and DF set", or "packet too big". It says that a packet with these
// addresses and UDP ports was dropped on its way; anybody can claim that, so the receiver checks
// that it has such a flow, and bounds the MTU from below.
struct PathMtu {
    Network network{};      // of the report itself
    uint32_t mtu = 0;       // of the next hop, IP header included; 0 from routers before RFC 1191
    Address source{};       // of the packet that did not fit
    Address destination{};  //
    uint16_t source_port = 0;
};

[[nodiscard]] tl::expected<PathMtu, DropReason> parse_path_mtu(std::span<const std::byte> frame);

// The largest report: it quotes IP and UDP header.
inline constexpr size_t kMaxPathMtuFrameBytes =
    kEthernetBytes + kIpv6Bytes + 8 + kIpv6Bytes + kUdpBytes;
// `out` has room for kMaxPathMtuFrameBytes; returns the bytes of the frame. The quoted packet is of
// the same IP version as the report.
[[nodiscard]] size_t build_path_mtu(std::span<std::byte> out, const PathMtu& report);

}  // namespace vrdma::wire
