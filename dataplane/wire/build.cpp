// A flow's headers lie ready in its template; a packet costs one copy of them with what differs put
// in, and its extension headers. The IPv4 checksum is the template's sum plus the two words that
// change. IP identification is 0 and DF set: RoCE packets are never fragmented.
//
// Headers from IP to BTH are put together in words of eight bytes and stored as such, for the CRC
// reads them back at once: a load that spans several stores waits until all that was stored before
// has reached the cache, the payload of the previous packet too.
#include "dataplane/wire/build.h"

#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/icrc.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

constexpr size_t kIpLength = 2;  // offsets in the IPv4 header
constexpr size_t kIpChecksum = 10;
constexpr uint32_t kFlowLabelMask = 0xfffff;
// Of a CNP: DSCP 48 (CS6), which RDMA NICs send and switches give a queue of its own, not
// ECN-capable: a report of congestion is of no use when it waits in what it reports.
constexpr uint16_t kCnpTrafficClass = 48 << 2;

uint64_t swapped16(size_t value) {
    return __builtin_bswap16(static_cast<uint16_t>(value));
}

// BTH, bytes 0 to 3, 4 to 7, 8 to 11 (IBA 9.2).
struct BthWords {
    uint64_t operation;
    uint64_t destination;
    uint64_t sequence;
};
BthWords bth_words(const HeaderFields& fields, size_t pad) {
    const uint32_t flags = (fields.solicited ? 0x80U : 0) | (fields.migrated ? 0x40U : 0) |
                           static_cast<uint32_t>(pad) << 4;
    const uint32_t destination =
        (fields.fecn ? 0x80000000U : 0) | (fields.becn ? 0x40000000U : 0) | (fields.dqpn & kMask24);
    const uint32_t sequence = (fields.ack_request ? 0x80000000U : 0) | (fields.psn & kMask24);
    return {.operation =
                static_cast<uint8_t>(fields.opcode) | flags << 8 | swapped16(fields.pkey) << 16,
            .destination = __builtin_bswap32(destination),
            .sequence = __builtin_bswap32(sequence)};
}

void write_sack(std::byte* at, const SackEth& sack) {
    store32(at, sack.base_psn & kMask24);
    store32(at + 4, (sack.echo_valid ? 0x80000000U : 0) | (sack.echo_psn & kMask24));
    store32(at + 8, sack.hold_ns);
    store32(at + 12, sack.received);
    store32(at + 16, sack.ce_marked);
    for (size_t word = 0; word < sack.held.size(); ++word) {
        store64(at + 20 + word * 8, sack.held[word]);
    }
}

void write_probe(std::byte* at, const ProbeEth& probe) {
    store32(at, ProbeEth::kMagic);
    store8(at + 4, static_cast<uint8_t>(probe.role));
    store8(at + 5, probe.version);
    store16(at + 6, 0);
    store32(at + 8, probe.capabilities);
    store32(at + 12, 0);
    store64(at + 16, probe.epoch);
    store64(at + 24, probe.token);
}

void write_extensions(std::byte* at, const OpcodeInfo& info, const HeaderFields& fields) {
    if (info.has(extension::kXrcEth)) {
        store32(at, fields.srqn & kMask24);
        at += kXrcEthBytes;
    }
    if (info.has(extension::kDeth)) {
        store32(at, fields.deth.qkey);
        store32(at + 4, fields.deth.source_qpn & kMask24);
        at += kDethBytes;
    }
    if (info.has(extension::kReth)) {
        store64(at, fields.reth.address);
        store32(at + 8, fields.reth.rkey);
        store32(at + 12, fields.reth.length);
        at += kRethBytes;
    }
    if (info.has(extension::kAtomicEth)) {
        store64(at, fields.atomic_eth.address);
        store32(at + 8, fields.atomic_eth.rkey);
        store64(at + 12, fields.atomic_eth.swap_or_add);
        store64(at + 20, fields.atomic_eth.compare);
        at += kAtomicEthBytes;
    }
    if (info.has(extension::kAeth)) {
        store32(at, uint32_t{fields.aeth.syndrome} << 24 | (fields.aeth.msn & kMask24));
        at += kAethBytes;
    }
    if (info.has(extension::kAtomicAckEth)) {
        store64(at, fields.original);
        at += kAtomicAckEthBytes;
    }
    if (info.has(extension::kImm)) {
        std::memcpy(at, &fields.imm, sizeof fields.imm);
        at += kImmBytes;
    }
    if (info.has(extension::kIeth)) {
        store32(at, fields.invalidate_rkey);
        at += kIethBytes;
    }
    if (info.has(extension::kCnpReserved)) {
        std::memset(at, 0, kCnpReservedBytes);
    }
    if (info.has(extension::kSackEth)) {
        write_sack(at, fields.sack);
    }
    if (info.has(extension::kProbeEth)) {
        write_probe(at, fields.probe);
    }
}

// IPv4 header, UDP header and BTH at `to`, from the template's `from`.
void write_ipv4(std::byte* to, const std::byte* from, uint32_t checksum_base,
                const HeaderFields& fields, size_t udp_length, const BthWords& bth) {
    uint64_t first = load_raw<uint64_t>(from);
    if (fields.opcode == Opcode::Cnp) [[unlikely]] {
        const auto traffic_class = static_cast<uint32_t>(first >> 8 & 0xff);
        first = (first & ~uint64_t{0xff00}) | uint64_t{kCnpTrafficClass} << 8;
        checksum_base += kCnpTrafficClass - traffic_class;
    }
    const size_t total = kIpv4Bytes + udp_length;
    const uint16_t checksum =
        checksum_finish(checksum_base + static_cast<uint32_t>(total) + fields.ipv4_identification);
    store_raw(to, first | swapped16(total) << 16 | swapped16(fields.ipv4_identification) << 32);
    store_raw(to + 8, load_raw<uint64_t>(from + 8) | swapped16(checksum) << 16);
    store_raw(to + 16, load_raw<uint64_t>(from + 16));
    store_raw(to + 24, swapped16(udp_length) | bth.operation << 32);
    store_raw(to + 32, bth.destination | bth.sequence << 32);
}

// The same with an IPv6 header.
void write_ipv6(std::byte* to, const std::byte* from, const HeaderFields& fields, size_t udp_length,
                const BthWords& bth) {
    uint64_t first = load_raw<uint64_t>(from);
    if (fields.opcode == Opcode::Cnp) [[unlikely]] {
        first = (first & ~uint64_t{0xf00f}) | uint64_t{kCnpTrafficClass} >> 4 |
                uint64_t{kCnpTrafficClass & 0xf} << 12;
    }
    store_raw(to, first | swapped16(udp_length) << 32);
    for (size_t at = 8; at < kIpv6Bytes; at += 8) {
        store_raw(to + at, load_raw<uint64_t>(from + at));
    }
    store_raw(to + 40, load_raw<uint32_t>(from + kIpv6Bytes) | swapped16(udp_length) << 32);
    store_raw(to + 48, bth.operation | bth.destination << 32);
    store_raw(to + 56, static_cast<uint32_t>(bth.sequence));
}

}  // namespace

FlowTemplate::FlowTemplate(const Flow& flow) : v6_(!flow.source.is_v4()) {
    const Network network{.source = flow.source,
                          .destination = flow.destination,
                          .source_mac = flow.source_mac,
                          .destination_mac = flow.destination_mac,
                          .v6 = v6_,
                          .dscp = flow.dscp,
                          .ecn = flow.ecn,
                          .hop_limit = flow.hop_limit};
    const size_t ip_end = build_ip(headers_, network, kProtocolUdp, 0);
    std::byte* ip = headers_.data() + kEthernetBytes;
    if (v6_) {
        store32(ip, load32(ip) | (flow.flow_label & kFlowLabelMask));
    } else {
        store16(ip + kIpLength, 0);
        store16(ip + kIpChecksum, 0);
        checksum_base_ = checksum_add(0, {ip, kIpv4Bytes});
    }
    store16(headers_.data() + ip_end + 2, kRocePort);
    bytes_ = static_cast<uint8_t>(ip_end + kUdpBytes);
    set_source_port(flow.source_port);
}

void FlowTemplate::set_destination_mac(const Mac& mac) {
    std::memcpy(headers_.data(), mac.bytes.data(), mac.bytes.size());
}

void FlowTemplate::set_source_port(uint16_t port) {
    store16(headers_.data() + bytes_ - kUdpBytes, port);
}

BuiltHeaders build_headers(std::span<std::byte> out, const FlowTemplate& flow,
                           const HeaderFields& fields, size_t payload_length) {
    const OpcodeInfo& info = opcode_info(fields.opcode);
    VR_CHECK(flow.bytes() != 0 && info.known);
    VR_CHECK(payload_length <= (info.payload ? kMaxPayloadBytes : 0));
    VR_CHECK(out.size() >= frame_bytes(fields.opcode, flow.v6(), payload_length));
    std::memcpy(out.data(), flow.data(), kEthernetBytes);
    const std::byte* from = flow.data() + kEthernetBytes;
    std::byte* ip = out.data() + kEthernetBytes;
    const size_t pad = pad_bytes(payload_length);
    const size_t udp_length =
        kUdpBytes + kBthBytes + info.extension_bytes + payload_length + pad + kIcrcBytes;
    const BthWords bth = bth_words(fields, pad);
    if (flow.v6()) {
        write_ipv6(ip, from, fields, udp_length, bth);
    } else {
        write_ipv4(ip, from, flow.checksum_base(), fields, udp_length, bth);
    }
    uint32_t crc = icrc_of_headers(ip, flow.v6());
    const size_t bytes = flow.bytes() + kBthBytes;
    if (info.extension_bytes != 0) {
        write_extensions(out.data() + bytes, info, fields);
        crc = crc32_update(crc, {out.data() + bytes, size_t{info.extension_bytes}});
    }
    return {.bytes = bytes + info.extension_bytes, .crc = crc};
}

size_t finish(std::span<std::byte> behind_payload, size_t payload_length, uint32_t crc) {
    const size_t pad = pad_bytes(payload_length);
    VR_CHECK(behind_payload.size() >= pad + kIcrcBytes);
    if (pad != 0) {
        std::memset(behind_payload.data(), 0, pad);
        crc = crc32_update(crc, behind_payload.first(pad));
    }
    store_icrc(behind_payload.data() + pad, crc);
    return pad + kIcrcBytes;
}

size_t build_frame(std::span<std::byte> out, const FlowTemplate& flow, const HeaderFields& fields,
                   std::span<const std::byte> payload) {
    const BuiltHeaders headers = build_headers(out, flow, fields, payload.size());
    const uint32_t crc =
        crc32_copy(headers.crc, out.data() + headers.bytes, payload.data(), payload.size());
    const size_t end = headers.bytes + payload.size();
    return end + finish(out.subspan(end), payload.size(), crc);
}

}  // namespace vrdma::wire
