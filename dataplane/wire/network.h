// Ethernet, 802.1Q, IPv4 and IPv6: what all codecs of IP have in common, both ways.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/packet.h"

namespace vrdma::wire {

inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeVlan = 0x8100;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;

inline constexpr uint8_t kProtocolHopByHop = 0;
inline constexpr uint8_t kProtocolIcmpv4 = 1;
inline constexpr uint8_t kProtocolIgmp = 2;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmpv6 = 58;

// The addresses of an IP header, from where they stand in it.
[[nodiscard]] Address load_v4(const std::byte* at);
[[nodiscard]] Address load_v6(const std::byte* at);

// The Ethernet header with at most one 802.1Q tag.
struct Ethernet {
    Mac destination{};
    Mac source{};
    uint16_t vlan = 0;
    uint16_t type = 0;  // behind the tag
    std::span<const std::byte> content{};
};
// What is behind header and tag; false: FrameTruncated.
[[nodiscard]] bool split_ethernet(std::span<const std::byte> frame, uint16_t& vlan, uint16_t& type,
                                  std::span<const std::byte>& content);
[[nodiscard]] tl::expected<Ethernet, DropReason> parse_ethernet(std::span<const std::byte> frame);

// A whole IP packet. Its source is a single host; the IPv4 header checksum is right, if asked for;
// it is no fragment and has neither IPv4 options nor IPv6 extension headers.
struct IpPacket {
    uint8_t protocol = 0;                    // next header
    std::span<const std::byte> ip_header{};  // 20 or 40 bytes
    std::span<const std::byte> content{};    // exactly what the lengths in the header say
};
enum class Ipv4Checksum : uint8_t { Verify, Trust };
enum class Unspecified : uint8_t { Refuse, Allow };  // as the source

// Fills `network` (but for the ports) and `ip`, or says why not.
[[nodiscard]] tl::expected<void, DropReason> parse_ip(std::span<const std::byte> frame,
                                                      Ipv4Checksum checksum, Unspecified source,
                                                      Network& network, IpPacket& ip);

// Ethernet and IP header before `content_bytes` bytes of `protocol`; returns their own bytes.
// `out` has room for all of it. Of `network`, source_port and vlan are not looked at: no tag is
// written.
[[nodiscard]] size_t build_ip(std::span<std::byte> out, const Network& network, uint8_t protocol,
                              size_t content_bytes);

}  // namespace vrdma::wire
