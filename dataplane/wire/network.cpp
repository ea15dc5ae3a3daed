// RoCE and the control protocols around it arrive in the same few shapes, so everything below UDP
// and ICMP is checked once, here, in the order in which the bytes lie. What a RoCE sender never
// produces is refused: IPv4 options, IPv6 extension headers, fragments. A frame may be longer than
// its IP packet (Ethernet pads to 60 bytes), never shorter.
//
// One 802.1Q tag is tolerated because switches and virtual ports deliver priority-tagged frames
// (VLAN 0). The identifier is reported and is the port's to judge.
#include "dataplane/wire/network.h"

#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"

namespace vrdma::wire {
namespace {

constexpr uint16_t kIpv4DontFragment = 0x4000;
constexpr uint16_t kIpv4FragmentMask = 0x3fff;  // more fragments, and the offset
constexpr uint16_t kVlanIdentifierMask = 0x0fff;

Mac load_mac(const std::byte* at) {
    Mac mac;
    std::memcpy(mac.bytes.data(), at, mac.bytes.size());
    return mac;
}

tl::expected<void, DropReason> parse_ipv4(std::span<const std::byte> bytes, Ipv4Checksum checksum,
                                          Network& network, IpPacket& ip) {
    if (bytes.size() < kIpv4Bytes) {
        return tl::unexpected(DropReason::Ipv4Truncated);
    }
    const std::byte* at = bytes.data();
    if ((load8(at) >> 4) != 4) {
        return tl::unexpected(DropReason::Ipv4Version);
    }
    if ((load8(at) & 0xf) * size_t{4} != kIpv4Bytes) {
        return tl::unexpected(DropReason::Ipv4HeaderLength);
    }
    const size_t total = load16(at + 2);
    if (total < kIpv4Bytes || total > bytes.size()) {
        return tl::unexpected(DropReason::Ipv4TotalLength);
    }
    if ((load16(at + 6) & kIpv4FragmentMask) != 0) {
        return tl::unexpected(DropReason::Ipv4Fragment);
    }
    if (checksum == Ipv4Checksum::Verify &&
        checksum_finish(checksum_add(0, bytes.first(kIpv4Bytes))) != 0) {
        return tl::unexpected(DropReason::Ipv4Checksum);
    }
    network.v6 = false;
    network.dscp = load8(at + 1) >> 2;
    network.ecn = static_cast<Ecn>(load8(at + 1) & 3);
    network.hop_limit = load8(at + 8);
    network.source = load_v4(at + 12);
    network.destination = load_v4(at + 16);
    ip.protocol = load8(at + 9);
    ip.ip_header = bytes.first(kIpv4Bytes);
    ip.content = bytes.subspan(kIpv4Bytes, total - kIpv4Bytes);
    return {};
}

tl::expected<void, DropReason> parse_ipv6(std::span<const std::byte> bytes, Network& network,
                                          IpPacket& ip) {
    if (bytes.size() < kIpv6Bytes) {
        return tl::unexpected(DropReason::Ipv6Truncated);
    }
    const std::byte* at = bytes.data();
    const uint32_t first = load32(at);
    if ((first >> 28) != 6) {
        return tl::unexpected(DropReason::Ipv6Version);
    }
    const size_t length = load16(at + 4);
    if (length > bytes.size() - kIpv6Bytes) {
        return tl::unexpected(DropReason::Ipv6PayloadLength);
    }
    network.v6 = true;
    network.dscp = static_cast<uint8_t>((first >> 22) & 0x3f);
    network.ecn = static_cast<Ecn>((first >> 20) & 3);
    network.hop_limit = load8(at + 7);
    network.source = load_v6(at + 8);
    network.destination = load_v6(at + 24);
    ip.protocol = load8(at + 6);
    ip.ip_header = bytes.first(kIpv6Bytes);
    ip.content = bytes.subspan(kIpv6Bytes, length);
    return {};
}

}  // namespace

Address load_v4(const std::byte* at) {
    return Address::v4(load_raw<uint32_t>(at));
}

Address load_v6(const std::byte* at) {
    Address address;
    std::memcpy(address.bytes.data(), at, address.bytes.size());
    return address;
}

bool split_ethernet(std::span<const std::byte> frame, uint16_t& vlan, uint16_t& type,
                    std::span<const std::byte>& content) {
    if (frame.size() < kEthernetBytes) {
        return false;
    }
    vlan = 0;
    type = load16(frame.data() + 12);
    content = frame.subspan(kEthernetBytes);
    if (type == kEtherTypeVlan) [[unlikely]] {
        if (content.size() < kVlanBytes) {
            return false;
        }
        vlan = load16(content.data()) & kVlanIdentifierMask;
        type = load16(content.data() + 2);
        content = content.subspan(kVlanBytes);
    }
    return true;
}

tl::expected<Ethernet, DropReason> parse_ethernet(std::span<const std::byte> frame) {
    Ethernet result;
    if (!split_ethernet(frame, result.vlan, result.type, result.content)) {
        return tl::unexpected(DropReason::FrameTruncated);
    }
    result.destination = load_mac(frame.data());
    result.source = load_mac(frame.data() + 6);
    return result;
}

tl::expected<void, DropReason> parse_ip(std::span<const std::byte> frame, Ipv4Checksum checksum,
                                        Unspecified source, Network& network, IpPacket& ip) {
    uint16_t type = 0;
    std::span<const std::byte> content;
    if (!split_ethernet(frame, network.vlan, type, content)) {
        return tl::unexpected(DropReason::FrameTruncated);
    }
    if (type != kEtherTypeIpv4 && type != kEtherTypeIpv6) {
        return tl::unexpected(DropReason::NotIp);
    }
    network.destination_mac = load_mac(frame.data());
    network.source_mac = load_mac(frame.data() + 6);
    const auto parsed = type == kEtherTypeIpv4 ? parse_ipv4(content, checksum, network, ip)
                                               : parse_ipv6(content, network, ip);
    if (!parsed) {
        return parsed;
    }
    // A host behind a group address cannot be answered, and one in IPv6 that claims an address of
    // the form of IPv4 would be taken for another host.
    const Address& from = network.source;
    if (from.multicast() || (network.v6 && from.is_v4()) ||
        (source == Unspecified::Refuse && from.unspecified())) {
        return tl::unexpected(DropReason::SourceAddress);
    }
    return {};
}

size_t build_ip(std::span<std::byte> out, const Network& network, uint8_t protocol,
                size_t content_bytes) {
    const size_t header = kEthernetBytes + (network.v6 ? kIpv6Bytes : kIpv4Bytes);
    VR_CHECK(out.size() >= header && content_bytes <= out.size() - header &&
             content_bytes <= 0xffff - kIpv4Bytes);
    VR_CHECK(network.source.is_v4() != network.v6 && network.destination.is_v4() != network.v6);
    std::byte* at = out.data();
    std::memcpy(at, network.destination_mac.bytes.data(), 6);
    std::memcpy(at + 6, network.source_mac.bytes.data(), 6);
    store16(at + 12, network.v6 ? kEtherTypeIpv6 : kEtherTypeIpv4);
    at += kEthernetBytes;
    const auto traffic_class =
        static_cast<uint8_t>(network.dscp << 2 | static_cast<uint8_t>(network.ecn));
    if (network.v6) {
        store32(at, uint32_t{6} << 28 | uint32_t{traffic_class} << 20);
        store16(at + 4, static_cast<uint16_t>(content_bytes));
        store8(at + 6, protocol);
        store8(at + 7, network.hop_limit);
        std::memcpy(at + 8, network.source.bytes.data(), 16);
        std::memcpy(at + 24, network.destination.bytes.data(), 16);
        return header;
    }
    store8(at, 0x45);
    store8(at + 1, traffic_class);
    store16(at + 2, static_cast<uint16_t>(kIpv4Bytes + content_bytes));
    store16(at + 4, 0);
    store16(at + 6, kIpv4DontFragment);
    store8(at + 8, network.hop_limit);
    store8(at + 9, protocol);
    store16(at + 10, 0);
    std::memcpy(at + 12, network.source.bytes.data() + 12, 4);
    std::memcpy(at + 16, network.destination.bytes.data() + 12, 4);
    store16(at + 10, checksum_finish(checksum_add(0, {at, kIpv4Bytes})));
    return header;
}

}  // namespace vrdma::wire
