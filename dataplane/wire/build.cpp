// A flow's headers lie ready in its template; a packet costs one copy of them, four stores into
// them, the BTH and its extension headers. The IPv4 checksum is the template's sum plus the two
// words that change. IP identification is 0 and DF set: RoCE packets are never fragmented.
//
// The CRC of the headers is taken once they are complete, and its state is handed to whoever copies
// the payload.
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
constexpr size_t kIpIdentification = 4;
constexpr size_t kIpChecksum = 10;
constexpr size_t kIpv6Length = 4;
constexpr size_t kUdpLength = 4;
constexpr uint32_t kFlowLabelMask = 0xfffff;
// Of a CNP: DSCP 48 (CS6), which RDMA NICs send and switches give a queue of its own, not
// ECN-capable: a report of congestion is of no use when it waits in what it reports.
constexpr uint16_t kCnpTrafficClass = 48 << 2;

void write_bth(std::byte* at, const HeaderFields& fields, size_t pad) {
    store8(at, static_cast<uint8_t>(fields.opcode));
    store8(at + 1, static_cast<uint8_t>((fields.solicited ? 0x80 : 0) |
                                        (fields.migrated ? 0x40 : 0) | pad << 4));
    store16(at + 2, fields.pkey);
    store32(at + 4, (fields.fecn ? 0x80000000U : 0) | (fields.becn ? 0x40000000U : 0) |
                        (fields.dqpn & kMask24));
    store32(at + 8, (fields.ack_request ? 0x80000000U : 0) | (fields.psn & kMask24));
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

// Total length and identification into the copied template.
void patch_ipv4(std::byte* ip, uint32_t checksum_base, size_t total, uint16_t identification) {
    store16(ip + kIpLength, static_cast<uint16_t>(total));
    store16(ip + kIpIdentification, identification);
    store16(ip + kIpChecksum,
            checksum_finish(checksum_base + static_cast<uint32_t>(total) + identification));
}

// Another traffic class than the template's; returns the IPv4 header's checksum base with it.
uint32_t set_traffic_class(std::byte* ip, bool v6, uint32_t checksum_base, uint16_t traffic_class) {
    if (v6) {
        constexpr uint32_t kOthers = 0xf00fffff;
        store32(ip, (load32(ip) & kOthers) | uint32_t{traffic_class} << 20);
        return checksum_base;
    }
    const uint32_t before = load8(ip + 1);
    store8(ip + 1, static_cast<uint8_t>(traffic_class));
    return checksum_base - before + traffic_class;
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
    std::memcpy(out.data(), flow.data(), flow.bytes());
    std::byte* ip = out.data() + kEthernetBytes;
    std::byte* udp = out.data() + flow.bytes() - kUdpBytes;
    const size_t pad = pad_bytes(payload_length);
    const size_t udp_length =
        kUdpBytes + kBthBytes + info.extension_bytes + payload_length + pad + kIcrcBytes;
    uint32_t checksum_base = flow.checksum_base();
    if (fields.opcode == Opcode::Cnp) [[unlikely]] {
        checksum_base = set_traffic_class(ip, flow.v6(), checksum_base, kCnpTrafficClass);
    }
    if (flow.v6()) {
        store16(ip + kIpv6Length, static_cast<uint16_t>(udp_length));
    } else {
        patch_ipv4(ip, checksum_base, kIpv4Bytes + udp_length, fields.ipv4_identification);
    }
    store16(udp + kUdpLength, static_cast<uint16_t>(udp_length));
    std::byte* bth = udp + kUdpBytes;
    write_bth(bth, fields, pad);
    write_extensions(bth + kBthBytes, info, fields);
    const uint32_t crc = crc32_update(icrc_of_headers(ip, flow.v6()),
                                      {bth + kBthBytes, size_t{info.extension_bytes}});
    return {.bytes = flow.bytes() + kBthBytes + info.extension_bytes, .crc = crc};
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
