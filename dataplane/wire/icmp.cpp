// Echo lets an operator see with ping that a port is alive; the answer is the request turned
// around. Path MTU reports quote the packet that did not fit: only its addresses and ports are
// taken from it, since nothing else of the quote is promised to be there.
#include "dataplane/wire/icmp.h"

#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

constexpr size_t kIcmpBytes = 8;
constexpr uint8_t kHopLimit = 64;

// Type and code of a message in either version.
struct Types {
    uint8_t echo_request;
    uint8_t echo_reply;
    uint8_t path_mtu;
    uint8_t path_mtu_code;
};
constexpr Types kIcmpv4{.echo_request = 8, .echo_reply = 0, .path_mtu = 3, .path_mtu_code = 4};
constexpr Types kIcmpv6{.echo_request = 128, .echo_reply = 129, .path_mtu = 2, .path_mtu_code = 0};

const Types& types_of(const Network& network) {
    return network.v6 ? kIcmpv6 : kIcmpv4;
}

uint8_t protocol_of(const Network& network) {
    return network.v6 ? kProtocolIcmpv6 : kProtocolIcmpv4;
}

uint16_t icmp_checksum(const Network& network, std::span<const std::byte> message) {
    const uint32_t pseudo =
        network.v6 ? checksum_pseudo_v6(network.source, network.destination,
                                        static_cast<uint32_t>(message.size()), kProtocolIcmpv6)
                   : 0;
    return checksum_finish(checksum_add(pseudo, message));
}

// A whole ICMP message of the frame's IP version, with the right checksum; `other` when it is none.
struct IcmpPacket {
    Network network;
    IpPacket ip;
};
tl::expected<IcmpPacket, DropReason> parse_icmp(std::span<const std::byte> frame,
                                                DropReason other) {
    IcmpPacket packet;
    auto& [network, ip] = packet;
    if (const auto checked =
            parse_ip(frame, Ipv4Checksum::Verify, Unspecified::Refuse, network, ip);
        !checked) {
        return tl::unexpected(checked.error());
    }
    if (ip.protocol != protocol_of(network)) {
        return tl::unexpected(other);
    }
    if (ip.content.size() < kIcmpBytes) {
        return tl::unexpected(DropReason::IcmpTruncated);
    }
    if (icmp_checksum(network, ip.content) != 0) {
        return tl::unexpected(network.v6 ? DropReason::Icmpv6Checksum : DropReason::Icmpv4Checksum);
    }
    return packet;
}

void write_checksum(std::byte* icmp, const Network& network, size_t bytes) {
    store16(icmp + 2, 0);
    store16(icmp + 2, icmp_checksum(network, {icmp, bytes}));
}

// Addresses and source port of a quoted RoCE packet, of which only the headers are there.
bool parse_quote(std::span<const std::byte> quote, PathMtu& report) {
    const bool v6 = report.network.v6;
    const size_t header = v6 ? kIpv6Bytes : kIpv4Bytes;
    if (quote.size() < header + kUdpBytes) {
        return false;
    }
    const std::byte* at = quote.data();
    const uint8_t version = v6 ? 0x60 : 0x45;  // of IPv4 with the header length
    if ((load8(at) & (v6 ? 0xf0 : 0xff)) != version || load8(at + (v6 ? 6 : 9)) != kProtocolUdp ||
        load16(at + header + 2) != kRocePort) {
        return false;
    }
    if (v6) {
        std::memcpy(report.source.bytes.data(), at + 8, 16);
        std::memcpy(report.destination.bytes.data(), at + 24, 16);
    } else {
        report.source = report.destination = Address::v4(0, 0, 0, 0);
        std::memcpy(report.source.bytes.data() + 12, at + 12, 4);
        std::memcpy(report.destination.bytes.data() + 12, at + 16, 4);
    }
    report.source_port = load16(at + header);
    return true;
}

}  // namespace

Echo Echo::answer(const Mac& own_mac) const {
    Echo result = *this;
    result.reply = true;
    result.network.source = network.destination;
    result.network.destination = network.source;
    result.network.source_mac = own_mac;
    result.network.destination_mac = network.source_mac;
    result.network.hop_limit = kHopLimit;
    return result;
}

tl::expected<Echo, DropReason> parse_echo(std::span<const std::byte> frame) {
    const auto icmp = parse_icmp(frame, DropReason::NotEcho);
    if (!icmp) {
        return tl::unexpected(icmp.error());
    }
    const Types& types = types_of(icmp->network);
    const std::byte* at = icmp->ip.content.data();
    if (load8(at) != types.echo_request && load8(at) != types.echo_reply) {
        return tl::unexpected(DropReason::NotEcho);
    }
    if (load8(at + 1) != 0) {
        return tl::unexpected(DropReason::IcmpCode);
    }
    return Echo{.reply = load8(at) == types.echo_reply,
                .network = icmp->network,
                .identifier = load16(at + 4),
                .sequence = load16(at + 6),
                .data = icmp->ip.content.subspan(kIcmpBytes)};
}

size_t build_echo(std::span<std::byte> out, const Echo& echo) {
    const Types& types = types_of(echo.network);
    const size_t bytes = kIcmpBytes + echo.data.size();
    const size_t header = build_ip(out, echo.network, protocol_of(echo.network), bytes);
    std::byte* at = out.data() + header;
    store8(at, echo.reply ? types.echo_reply : types.echo_request);
    store8(at + 1, 0);
    store16(at + 4, echo.identifier);
    store16(at + 6, echo.sequence);
    if (!echo.data.empty()) {
        std::memcpy(at + kIcmpBytes, echo.data.data(), echo.data.size());
    }
    write_checksum(at, echo.network, bytes);
    return header + bytes;
}

tl::expected<PathMtu, DropReason> parse_path_mtu(std::span<const std::byte> frame) {
    const auto icmp = parse_icmp(frame, DropReason::NotPathMtu);
    if (!icmp) {
        return tl::unexpected(icmp.error());
    }
    const Types& types = types_of(icmp->network);
    const std::byte* at = icmp->ip.content.data();
    if (load8(at) != types.path_mtu) {
        return tl::unexpected(DropReason::NotPathMtu);
    }
    if (load8(at + 1) != types.path_mtu_code) {
        return tl::unexpected(DropReason::IcmpCode);
    }
    PathMtu report;
    report.network = icmp->network;
    report.mtu = icmp->network.v6 ? load32(at + 4) : load16(at + 6);
    if (!parse_quote(icmp->ip.content.subspan(kIcmpBytes), report)) {
        return tl::unexpected(DropReason::QuotedPacket);
    }
    return report;
}

size_t build_path_mtu(std::span<std::byte> out, const PathMtu& report) {
    const bool v6 = report.network.v6;
    const Types& types = types_of(report.network);
    const size_t quoted_header = v6 ? kIpv6Bytes : kIpv4Bytes;
    const size_t bytes = kIcmpBytes + quoted_header + kUdpBytes;
    const size_t header = build_ip(out, report.network, protocol_of(report.network), bytes);
    std::byte* at = out.data() + header;
    store8(at, types.path_mtu);
    store8(at + 1, types.path_mtu_code);
    store32(at + 4, v6 ? report.mtu : report.mtu & 0xffff);
    // The quote is an IP packet without its Ethernet header, as long as the report's MTU was not.
    std::byte quoted[kEthernetBytes + kIpv6Bytes + kUdpBytes];
    const size_t end = build_ip(quoted,
                                {.source = report.source,
                                 .destination = report.destination,
                                 .v6 = v6,
                                 .hop_limit = kHopLimit},
                                kProtocolUdp, kUdpBytes);
    store16(quoted + end, report.source_port);
    store16(quoted + end + 2, kRocePort);
    store16(quoted + end + 4, kUdpBytes);
    store16(quoted + end + 6, 0);
    std::memcpy(at + kIcmpBytes, quoted + kEthernetBytes, quoted_header + kUdpBytes);
    write_checksum(at, report.network, bytes);
    return header + bytes;
}

}  // namespace vrdma::wire
