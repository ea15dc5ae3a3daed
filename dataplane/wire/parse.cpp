// The checks run from the outside in: Ethernet and IP (network.cpp), UDP, ICRC, BTH, extension
// headers, payload. The ICRC comes as early as it can, before any field of the BTH is looked at:
// a damaged packet is counted as damaged, not as whatever its flipped bit happens to mean, and
// nothing that was not sent on purpose goes on to the protocol.
//
// What belongs to a queue pair is not checked here: whether a packet fits its state, its path MTU
// or its partner. Those answers need a NAK; what is refused here is dropped silently, as IBA 9.6
// asks for packets with damaged or senseless headers.
//
// The UDP checksum is not verified: RoCE senders put 0 there, and the ICRC covers more.
#include "dataplane/wire/parse.h"

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/icrc.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

using Checked = tl::expected<void, DropReason>;

constexpr uint16_t kPkeyMask = 0x7fff;  // without the bit that says full or limited member

constexpr uint8_t kIcmpv4EchoReply = 0;
constexpr uint8_t kIcmpv4Unreachable = 3;
constexpr uint8_t kIcmpv4EchoRequest = 8;
constexpr uint8_t kIcmpv6PacketTooBig = 2;
constexpr uint8_t kIcmpv6EchoRequest = 128;
constexpr uint8_t kIcmpv6EchoReply = 129;
constexpr uint8_t kIcmpv6NeighbourSolicitation = 135;
constexpr uint8_t kIcmpv6NeighbourAdvertisement = 136;
constexpr uint8_t kIcmpv6ListenerQuery = 130;
constexpr uint8_t kIgmpQuery = 0x11;

// Leaves everything behind the UDP header in `content`.
Checked parse_udp(const IpPacket& ip, Network& network, std::span<const std::byte>& content) {
    if (ip.protocol != kProtocolUdp) {
        return tl::unexpected(DropReason::NotUdp);
    }
    if (ip.content.size() < kUdpBytes) {
        return tl::unexpected(DropReason::UdpTruncated);
    }
    const std::byte* at = ip.content.data();
    if (load16(at + 2) != kRocePort) {
        return tl::unexpected(DropReason::NotRoce);
    }
    if (load16(at + 4) != ip.content.size()) {
        return tl::unexpected(DropReason::UdpLength);
    }
    network.source_port = load16(at);
    content = ip.content.subspan(kUdpBytes);
    if (content.size() < kBthBytes + kIcrcBytes) {
        return tl::unexpected(DropReason::BthTruncated);
    }
    return {};
}

// `content` is BTH to ICRC, and lies behind IP and UDP header.
Checked check_icrc(const IpPacket& ip, bool v6, std::span<const std::byte> content) {
    const uint32_t state =
        crc32_update(icrc_of_headers(ip.ip_header.data(), v6),
                     content.subspan(kBthBytes, content.size() - kBthBytes - kIcrcBytes));
    if (load_icrc(content.data() + content.size() - kIcrcBytes) != icrc_value(state)) {
        return tl::unexpected(DropReason::Icrc);
    }
    return {};
}

Checked parse_bth(const std::byte* at, Bth& bth) {
    const uint8_t flags = load8(at + 1);
    if ((flags & 0xf) != 0) {
        return tl::unexpected(DropReason::BthVersion);
    }
    bth.pkey = load16(at + 2);
    if ((bth.pkey & kPkeyMask) != (kDefaultPkey & kPkeyMask)) {
        return tl::unexpected(DropReason::BthPkey);
    }
    if (!opcode_info(load8(at)).known) {
        return tl::unexpected(DropReason::OpcodeUnknown);
    }
    bth.opcode = static_cast<Opcode>(load8(at));
    bth.solicited = (flags & 0x80) != 0;
    bth.migrated = (flags & 0x40) != 0;
    bth.pad = (flags >> 4) & 3;
    bth.fecn = (load8(at + 4) & 0x80) != 0;
    bth.becn = (load8(at + 4) & 0x40) != 0;
    bth.dqpn = load24(at + 4);
    bth.ack_request = (load8(at + 8) & 0x80) != 0;
    bth.psn = load24(at + 8);
    return {};
}

void parse_sack(const std::byte* at, SackEth& sack) {
    sack.base_psn = load24(at);
    sack.echo_valid = (load8(at + 4) & 0x80) != 0;
    sack.echo_psn = load24(at + 4);
    sack.hold_ns = load32(at + 8);
    sack.received = load32(at + 12);
    sack.ce_marked = load32(at + 16);
    for (size_t word = 0; word < sack.held.size(); ++word) {
        sack.held[word] = load64(at + 20 + word * 8);
    }
}

Checked parse_probe(const std::byte* at, ProbeEth& probe) {
    const uint8_t role = load8(at + 4);
    if (load32(at) != ProbeEth::kMagic || (role != static_cast<uint8_t>(ProbeEth::Role::Question) &&
                                           role != static_cast<uint8_t>(ProbeEth::Role::Answer))) {
        return tl::unexpected(DropReason::ProbeMalformed);
    }
    probe.role = static_cast<ProbeEth::Role>(role);
    probe.version = load8(at + 5);
    probe.capabilities = load32(at + 8);
    probe.epoch = load64(at + 16);
    probe.token = load64(at + 24);
    return {};
}

// The bytes are there.
Checked parse_extensions(const std::byte* at, const OpcodeInfo& info, Packet& packet) {
    if (info.has(extension::kXrcEth)) {
        packet.srqn = load24(at);
        at += kXrcEthBytes;
    }
    if (info.has(extension::kDeth)) {
        packet.deth = {.qkey = load32(at), .source_qpn = load24(at + 4)};
        at += kDethBytes;
    }
    if (info.has(extension::kReth)) {
        packet.reth = {.address = load64(at), .rkey = load32(at + 8), .length = load32(at + 12)};
        at += kRethBytes;
    }
    if (info.has(extension::kAtomicEth)) {
        packet.atomic_eth = {.address = load64(at),
                             .rkey = load32(at + 8),
                             .swap_or_add = load64(at + 12),
                             .compare = load64(at + 20)};
        at += kAtomicEthBytes;
    }
    if (info.has(extension::kAeth)) {
        packet.aeth = {.syndrome = load8(at), .msn = load24(at)};
        at += kAethBytes;
    }
    if (info.has(extension::kAtomicAckEth)) {
        packet.original = load64(at);
        at += kAtomicAckEthBytes;
    }
    if (info.has(extension::kImm)) {
        std::memcpy(&packet.imm, at, sizeof packet.imm);
        at += kImmBytes;
    }
    if (info.has(extension::kIeth)) {
        packet.invalidate_rkey = load32(at);
        at += kIethBytes;
    }
    if (info.has(extension::kSackEth)) {
        parse_sack(at, packet.sack);
    }
    if (info.has(extension::kProbeEth)) {
        return parse_probe(at, packet.probe);
    }
    return {};
}

// `rest` is payload and pad.
Checked parse_payload(std::span<const std::byte> rest, const OpcodeInfo& info, Packet& packet) {
    if (!info.payload) {
        if (!rest.empty() || packet.bth.pad != 0) {
            return tl::unexpected(DropReason::PayloadUnexpected);
        }
        return {};
    }
    if (!info.ends() && packet.bth.pad != 0) {
        return tl::unexpected(DropReason::PadOfFullPacket);
    }
    if (packet.bth.pad > rest.size()) {
        return tl::unexpected(DropReason::PadExceedsPayload);
    }
    if (rest.size() % 4 != 0) {
        return tl::unexpected(DropReason::PayloadUnaligned);
    }
    packet.payload = rest.first(rest.size() - packet.bth.pad);
    if (packet.payload.size() > kMaxPayloadBytes) {
        return tl::unexpected(DropReason::PayloadTooLong);
    }
    return {};
}

FrameKind classify_icmpv6(uint8_t type) {
    if (type == kIcmpv6NeighbourSolicitation || type == kIcmpv6NeighbourAdvertisement) {
        return FrameKind::Neighbour;
    }
    if (type == kIcmpv6EchoRequest || type == kIcmpv6EchoReply) {
        return FrameKind::Echo;
    }
    return type == kIcmpv6PacketTooBig ? FrameKind::PathMtu : FrameKind::Other;
}

// IGMP stands behind a router alert option, MLD behind a hop-by-hop header with one.
FrameKind classify_igmp(std::span<const std::byte> ip) {
    const size_t header = (load8(ip.data()) & 0xf) * size_t{4};
    return header < ip.size() && load8(ip.data() + header) == kIgmpQuery ? FrameKind::Query
                                                                         : FrameKind::Other;
}

FrameKind classify_hop_by_hop(std::span<const std::byte> options) {
    const size_t header = (load8(options.data() + 1) + size_t{1}) * 8;
    const bool query = load8(options.data()) == kProtocolIcmpv6 && header < options.size() &&
                       load8(options.data() + header) == kIcmpv6ListenerQuery;
    return query ? FrameKind::Query : FrameKind::Other;
}

FrameKind classify_icmpv4(uint8_t type) {
    if (type == kIcmpv4EchoRequest || type == kIcmpv4EchoReply) {
        return FrameKind::Echo;
    }
    return type == kIcmpv4Unreachable ? FrameKind::PathMtu : FrameKind::Other;
}

}  // namespace

tl::expected<void, DropReason> parse(std::span<const std::byte> frame, Verify verify,
                                     Packet& packet) {
    IpPacket ip;
    if (auto checked =
            parse_ip(frame, verify == Verify::All ? Ipv4Checksum::Verify : Ipv4Checksum::Trust,
                     Unspecified::Refuse, packet.network, ip);
        !checked) {
        return checked;
    }
    std::span<const std::byte> content;
    if (auto checked = parse_udp(ip, packet.network, content); !checked) {
        return checked;
    }
    if (verify != Verify::Nothing) {
        if (auto checked = check_icrc(ip, packet.network.v6, content); !checked) {
            return checked;
        }
    }
    packet.ip_header = ip.ip_header;
    if (auto checked = parse_bth(content.data(), packet.bth); !checked) {
        return checked;
    }
    const OpcodeInfo& info = packet.info();
    const auto rest = content.subspan(kBthBytes, content.size() - kBthBytes - kIcrcBytes);
    if (rest.size() < info.extension_bytes) {
        return tl::unexpected(DropReason::ExtensionTruncated);
    }
    if (auto checked = parse_extensions(rest.data(), info, packet); !checked) {
        return checked;
    }
    return parse_payload(rest.subspan(info.extension_bytes), info, packet);
}

tl::expected<Packet, DropReason> parse(std::span<const std::byte> frame, Verify verify) {
    tl::expected<Packet, DropReason> result;
    if (const auto checked = parse(frame, verify, *result); !checked) {
        result = tl::unexpected(checked.error());
    }
    return result;
}

FrameKind classify(std::span<const std::byte> frame) {
    uint16_t vlan = 0;
    uint16_t type = 0;
    std::span<const std::byte> content;
    if (!split_ethernet(frame, vlan, type, content)) {
        return FrameKind::Other;
    }
    if (type == kEtherTypeArp) {
        return FrameKind::Arp;
    }
    const bool v6 = type == kEtherTypeIpv6;
    if (!v6 && type != kEtherTypeIpv4) {
        return FrameKind::Other;
    }
    const size_t header = v6 ? kIpv6Bytes : kIpv4Bytes;
    if (content.size() < header + 4) {
        return FrameKind::Other;
    }
    const std::byte* at = content.data();
    const uint8_t protocol = load8(at + (v6 ? 6 : 9));
    if (protocol == kProtocolUdp) {
        return load16(at + header + 2) == kRocePort ? FrameKind::Roce : FrameKind::Other;
    }
    if (v6 && protocol == kProtocolIcmpv6) {
        return classify_icmpv6(load8(at + header));
    }
    if (!v6 && protocol == kProtocolIcmpv4) {
        return classify_icmpv4(load8(at + header));
    }
    if (!v6 && protocol == kProtocolIgmp) {
        return classify_igmp(content);
    }
    if (v6 && protocol == kProtocolHopByHop) {
        return classify_hop_by_hop(content.subspan(header));
    }
    return FrameKind::Other;
}

}  // namespace vrdma::wire
