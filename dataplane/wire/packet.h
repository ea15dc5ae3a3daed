// One RoCEv2 packet as the protocol sees it: parse() makes it from bytes, build_headers() goes the
// other way.
//
// A field of an extension header has a meaning only if the opcode has that header
// (opcode_info().extensions); the others are zero.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/wire/address.h"
#include "dataplane/wire/opcode.h"

namespace vrdma::wire {

inline constexpr uint16_t kRocePort = 4791;
inline constexpr uint16_t kDefaultPkey = 0xffff;

// Base transport header (IBA 9.2).
struct Bth {
    Opcode opcode = Opcode::RcSendOnly;
    bool solicited = false;
    bool migrated = false;  // MigReq: ConnectX sets it, rxe does not; ignored
    uint8_t pad = 0;        // bytes between payload and ICRC, 0-3
    uint16_t pkey = kDefaultPkey;
    bool fecn = false;
    bool becn = false;
    bool ack_request = false;
    uint32_t dqpn = 0;  // 24 bit
    uint32_t psn = 0;   // 24 bit
};

// RDMA extended transport header (IBA 9.3.3).
struct Reth {
    uint64_t address = 0;
    uint32_t rkey = 0;
    uint32_t length = 0;  // of the whole message
};

// Atomic extended transport header (IBA 9.3.4).
struct AtomicEth {
    uint64_t address = 0;
    uint32_t rkey = 0;
    uint64_t swap_or_add = 0;
    uint64_t compare = 0;
};

// Acknowledge extended transport header (IBA 9.3.5). Syndromes are in syndrome.h.
struct Aeth {
    uint8_t syndrome = 0;
    uint32_t msn = 0;  // 24 bit
};

// Datagram extended transport header (IBA 9.3.1).
struct Deth {
    uint32_t qkey = 0;
    uint32_t source_qpn = 0;  // 24 bit
};

// Selective acknowledgement between vRDMA peers. The Aeth before it and bth.psn mean
// what they mean in an ACK or NAK.
struct SackEth {
    static constexpr size_t kBits = 256;

    uint32_t base_psn = 0;    // 24 bit: the lowest PSN that did not arrive
    uint32_t echo_psn = 0;    // 24 bit: the packet whose arrival this packet reports
    bool echo_valid = false;  // false: nothing to learn from echo_psn and hold_ns
    uint32_t hold_ns = 0;     // between the arrival of echo_psn and the sending of this packet
    uint32_t received = 0;    // packets of this QP that arrived so far, duplicates too, modulo 2^32
    uint32_t ce_marked = 0;   // those of them that carried ECN CE, modulo 2^32
    std::array<uint64_t, kBits / 64> held{};  // bit i of word w: base_psn + 1 + 64 w + i arrived
};

// Asks a host what it speaks, and answers. A standard peer drops it.
struct ProbeEth {
    static constexpr uint32_t kMagic = 0x7652444d;  // "vRDM"
    enum class Role : uint8_t { Question = 1, Answer = 2 };

    Role role = Role::Question;
    uint8_t version = 0;
    uint32_t capabilities = 0;
    uint64_t epoch = 0;  // changes when the host's service starts
    uint64_t token = 0;  // chosen by the asker, returned by the answer
};

// What the IP header says, and where the packet comes from.
struct Network {
    Address source{};
    Address destination{};
    Mac source_mac{};
    Mac destination_mac{};
    uint16_t source_port = 0;
    uint16_t vlan = 0;  // 802.1Q VLAN identifier; 0 without tag, and for a priority tag
    bool v6 = false;
    uint8_t dscp = 0;
    Ecn ecn = Ecn::NotCapable;
    uint8_t hop_limit = 0;  // TTL
};

struct Packet {
    Bth bth{};
    // Without pad; points into the frame that was parsed.
    std::span<const std::byte> payload{};
    Reth reth{};
    Aeth aeth{};
    uint32_t imm = 0;  // the four bytes as they lie on the wire, never swapped (like WQE and CQE)
    uint32_t invalidate_rkey = 0;  // IETH
    Deth deth{};
    AtomicEth atomic_eth{};
    uint64_t original = 0;  // AtomicAckETH
    Network network{};
    // From the first byte of the IP header; a UD receiver shows it to the program.
    std::span<const std::byte> ip_header{};
    SackEth sack{};
    ProbeEth probe{};
    uint32_t srqn = 0;  // XRCETH, 24 bit

    [[nodiscard]] const OpcodeInfo& info() const { return opcode_info(bth.opcode); }
};

}  // namespace vrdma::wire
