// A RoCEv2 frame from its parts. Headers, payload and trailer are written in three steps, so that
// the payload can come from anywhere and its CRC is fused with its copy:
//
//     HeaderFields fields{.opcode = Opcode::RcSendOnly, .dqpn = 17, .psn = 5};
//     auto [bytes, crc] = build_headers(frame, flow, fields, length);
//     crc = crc32_copy(crc, frame.data() + bytes, source, length);    // as often as there are
//     pieces size = bytes + length + finish(frame.subspan(bytes + length), length, crc);
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/wire/packet.h"

namespace vrdma::wire {

// Who sends to whom; the same for all packets of a QP.
struct Flow {
    Mac source_mac{};
    Mac destination_mac{};
    Address source{};  // both IPv4 or both IPv6
    Address destination{};
    uint16_t source_port = 0xc000;
    uint8_t dscp = 0;
    Ecn ecn = Ecn::NotCapable;
    uint8_t hop_limit = 64;
    uint32_t flow_label = 0;  // IPv6, 20 bit
};

// Ethernet, IP and UDP header of a flow, ready to be copied; 80 bytes to keep with a QP.
class FlowTemplate {
  public:
    FlowTemplate() = default;
    explicit FlowTemplate(const Flow& flow);

    [[nodiscard]] bool v6() const { return v6_; }
    [[nodiscard]] size_t bytes() const { return bytes_; }
    [[nodiscard]] const std::byte* data() const { return headers_.data(); }
    // Of the IPv4 header without total length and identification; not folded.
    [[nodiscard]] uint32_t checksum_base() const { return checksum_base_; }

    // The neighbour moved, or another path is wanted.
    void set_destination_mac(const Mac& mac);
    void set_source_port(uint16_t port);

  private:
    std::array<std::byte, kEthernetBytes + kIpv6Bytes + kUdpBytes> headers_{};
    uint32_t checksum_base_ = 0;
    uint8_t bytes_ = 0;
    bool v6_ = false;
};

// What differs from packet to packet. Fields of extension headers that the opcode does not have are
// not looked at. The pad follows from the payload's length.
struct HeaderFields {
    Opcode opcode = Opcode::RcSendOnly;
    bool solicited = false;
    bool migrated = false;
    bool ack_request = false;
    bool fecn = false;
    bool becn = false;
    uint16_t pkey = kDefaultPkey;
    uint32_t dqpn = 0;
    uint32_t psn = 0;
    Reth reth{};
    Aeth aeth{};
    uint32_t imm = 0;  // as Packet::imm
    uint32_t invalidate_rkey = 0;
    Deth deth{};
    AtomicEth atomic_eth{};
    uint64_t original = 0;
    SackEth sack{};
    ProbeEth probe{};
    uint32_t srqn = 0;
    // DF is always set, so the identification means nothing (RFC 6864) and stays 0; captures of
    // other devices have one.
    uint16_t ipv4_identification = 0;
};

struct BuiltHeaders {
    size_t bytes = 0;  // written: the payload goes behind them
    uint32_t crc = 0;  // state of crc32.h for the payload
};

// Ethernet to the last extension header.
[[nodiscard]] constexpr size_t header_bytes(Opcode opcode, bool v6) {
    return kEthernetBytes + (v6 ? kIpv6Bytes : kIpv4Bytes) + kUdpBytes + kBthBytes +
           opcode_info(opcode).extension_bytes;
}
[[nodiscard]] constexpr size_t pad_bytes(size_t payload_length) {
    return (0 - payload_length) & 3;
}
// The whole frame.
[[nodiscard]] constexpr size_t frame_bytes(Opcode opcode, bool v6, size_t payload_length) {
    return header_bytes(opcode, v6) + payload_length + pad_bytes(payload_length) + kIcrcBytes;
}
// The largest headers and trailer around a payload, for the MTU of the port: without Ethernet and
// without XRCETH.
inline constexpr size_t kMaxOverheadV4 =
    kIpv4Bytes + kUdpBytes + kBthBytes + kRethBytes + kImmBytes + kIcrcBytes;
inline constexpr size_t kMaxOverheadV6 = kMaxOverheadV4 + kIpv6Bytes - kIpv4Bytes;
// Of enum ibv_mtu: 5 is 4096.
[[nodiscard]] constexpr uint32_t path_mtu_bytes(uint32_t code) {
    return 128U << code;
}
// The longest IP packet of a path MTU.
[[nodiscard]] constexpr size_t longest_packet(size_t path_mtu, bool v6, bool xrc) {
    return path_mtu + (v6 ? kMaxOverheadV6 : kMaxOverheadV4) + (xrc ? kXrcEthBytes : 0);
}
// The largest path MTU (enum ibv_mtu) whose packets all have at most so many bytes; 0:
// not even the smallest.
[[nodiscard]] constexpr uint8_t largest_path_mtu(size_t packet_bytes, bool v6, bool xrc) {
    uint8_t code = 5;
    while (code != 0 && longest_packet(path_mtu_bytes(code), v6, xrc) > packet_bytes) {
        --code;
    }
    return code;
}

// `out` has room for frame_bytes(). The payload is at most kMaxPayloadBytes, and none where the
// opcode carries none.
[[nodiscard]] BuiltHeaders build_headers(std::span<std::byte> out, const FlowTemplate& flow,
                                         const HeaderFields& fields, size_t payload_length);

// Writes pad and ICRC behind the payload and returns their bytes: 4 to 7.
size_t finish(std::span<std::byte> behind_payload, size_t payload_length, uint32_t crc);

// All steps for a payload that lies in one piece; returns the bytes of the frame.
[[nodiscard]] size_t build_frame(std::span<std::byte> out, const FlowTemplate& flow,
                                 const HeaderFields& fields, std::span<const std::byte> payload);

}  // namespace vrdma::wire
