// Packets made by hand, and plans turned into the packets that their receiver would parse.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/psn.h"
#include "dataplane/wire/packet.h"
#include "dataplane/wire/syndrome.h"

namespace vrdma::transport {

// Payload of tests has the right length and no meaning, unless a test says otherwise.
inline std::span<const std::byte> some_bytes(size_t length) {
    static const std::array<std::byte, 4096> kBytes{};
    return std::span(kBytes).first(length);
}

inline wire::Packet packet_of(const PacketPlan& plan) {
    const wire::HeaderFields& f = plan.fields;
    wire::Packet packet;
    packet.bth.opcode = f.opcode;
    packet.bth.solicited = f.solicited;
    packet.bth.ack_request = f.ack_request;
    packet.bth.becn = f.becn;
    packet.bth.dqpn = f.dqpn;
    packet.bth.psn = f.psn;
    packet.reth = f.reth;
    packet.aeth = f.aeth;
    packet.imm = f.imm;
    packet.atomic_eth = f.atomic_eth;
    packet.original = f.original;
    packet.sack = f.sack;
    packet.payload = some_bytes(plan.length);
    return packet;
}

inline wire::Packet make_packet(wire::Opcode opcode, uint32_t psn, size_t payload = 0) {
    wire::Packet packet;
    packet.bth.opcode = opcode;
    packet.bth.psn = psn & kPsnMask;
    packet.payload = some_bytes(payload);
    return packet;
}

inline wire::Packet ack(uint32_t psn, uint8_t syndrome = wire::kAckSyndrome) {
    wire::Packet packet = make_packet(wire::Opcode::RcAcknowledge, psn);
    packet.aeth.syndrome = syndrome;
    return packet;
}

inline wire::Packet nak(uint32_t psn, wire::NakCode code) {
    return ack(psn, wire::nak_syndrome(code));
}

inline wire::Packet rnr_nak(uint32_t psn, uint8_t timer) {
    return ack(psn, wire::rnr_syndrome(timer));
}

inline wire::Packet read_response(wire::Opcode opcode, uint32_t psn, size_t payload) {
    wire::Packet packet = make_packet(opcode, psn, payload);
    packet.aeth.syndrome = wire::kAckSyndrome;
    return packet;
}

inline wire::Packet atomic_ack(uint32_t psn, uint64_t original) {
    wire::Packet packet = make_packet(wire::Opcode::RcAtomicAcknowledge, psn);
    packet.aeth.syndrome = wire::kAckSyndrome;
    packet.original = original;
    return packet;
}

}  // namespace vrdma::transport
