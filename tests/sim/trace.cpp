// Text for people; nothing reads it. A sent frame's line is completed by what the link did with it,
// an arrived frame's by the verdict of the transport.
#include "tests/sim/trace.h"

#include <fmt/format.h>

#include <string>

#include "dataplane/wire/syndrome.h"

namespace vrdma::sim {

namespace {

std::string opcode_name(wire::Opcode opcode) {
    const wire::OpcodeInfo& info = wire::opcode_info(opcode);
    static constexpr const char* kPosition[] = {"ONLY", "FIRST", "MIDDLE", "LAST"};
    static constexpr const char* kKind[] = {"SEND",          "WRITE", "READ_REQUEST", "ATOMIC",
                                            "READ_RESPONSE", "ACK",   "ATOMIC_ACK",   "CNP",
                                            "PROBE",         "SACK"};
    const bool placed = info.payload;
    return fmt::format("{}{}{}{}", info.service == wire::Service::Uc ? "UC_" : "",
                       kKind[static_cast<size_t>(info.kind)], placed ? "_" : "",
                       placed ? kPosition[static_cast<size_t>(info.position)] : "");
}

std::string aeth_name(const wire::Aeth& aeth) {
    static constexpr const char* kNak[] = {"sequence", "invalid request", "access", "operation"};
    switch (wire::aeth_kind(aeth.syndrome)) {
        case wire::AethKind::Ack:
            return fmt::format(" msn={}", aeth.msn);
        case wire::AethKind::RnrNak:
            return fmt::format(" RNR({})", wire::aeth_value(aeth.syndrome));
        case wire::AethKind::Nak:
            return fmt::format(" NAK({})", wire::aeth_value(aeth.syndrome) < 4
                                               ? kNak[wire::aeth_value(aeth.syndrome)]
                                               : "?");
        case wire::AethKind::Reserved:
            return " RESERVED";
    }
    return "";
}

std::string sack_name(const wire::SackEth& sack) {
    std::string text = fmt::format(" base={:06x} echo={} held=", sack.base_psn,
                                   sack.echo_valid ? fmt::format("{:06x}", sack.echo_psn) : "-");
    for (const uint64_t word : sack.held) {
        text += fmt::format("{:x},", word);
    }
    return text;
}

template <class Fields>
std::string extras(const Fields& fields, wire::Opcode opcode) {
    const wire::OpcodeInfo& info = wire::opcode_info(opcode);
    std::string text;
    if (info.has(wire::extension::kReth)) {
        text += fmt::format(" va={:x} dmalen={}", fields.reth.address, fields.reth.length);
    }
    if (info.has(wire::extension::kAeth)) {
        text += aeth_name(fields.aeth);
    }
    if (info.has(wire::extension::kSackEth)) {
        text += sack_name(fields.sack);
    }
    return text;
}

double micro(Instant at) {
    return static_cast<double>(at.ns) * 1e-3;
}

}  // namespace

void Trace::sent(Instant now, uint8_t host, const transport::PacketPlan& plan) {
    const wire::HeaderFields& f = plan.fields;
    fmt::print(to_, "{:12.3f} us  {} sends   {} qpn={:x} psn={:06x} len={}{}{}{}", micro(now), host,
               opcode_name(f.opcode), f.dqpn, f.psn, plan.length, f.ack_request ? " ackreq" : "",
               plan.retransmission ? " again" : "", extras(f, f.opcode));
}

void Trace::passage(const Passage& passage) {
    if (passage.count == 0) {
        fmt::print(to_, "  -> {}\n", passage.fate);
        return;
    }
    fmt::print(to_, "  -> {:.3f}{}{}\n", micro(passage.arrivals[passage.count - 1].at),
               passage.fate.empty() ? "" : " ", passage.fate);
}

void Trace::arrived(Instant now, uint8_t host, const wire::Packet& packet) {
    const wire::Bth& b = packet.bth;
    fmt::print(to_, "{:12.3f} us    {} gets  {} qpn={:x} psn={:06x} len={}{}{}", micro(now), host,
               opcode_name(b.opcode), b.dqpn, b.psn, packet.payload.size(),
               packet.network.ecn == wire::Ecn::Experienced ? " CE" : "", extras(packet, b.opcode));
    fmt::print(to_, "\n");
}

void Trace::dropped(Instant now, uint8_t host, std::string_view why) {
    fmt::print(to_, "{:12.3f} us    {} drops a frame: {}\n", micro(now), host, why);
}

void Trace::verdict(const transport::Inbound& in) {
    static constexpr const char* kAction[] = {"nothing", "execute", "execute again", "hold",
                                              "drop"};
    fmt::print(to_, "{:20}= {} {}\n", "", kAction[static_cast<size_t>(in.action)],
               in.action == transport::Inbound::Action::Drop
                   ? transport::drop_reason_name(in.reason)
                   : "");
}

void Trace::verdict(const transport::Answer& answer) {
    static constexpr const char* kAction[] = {"nothing", "place", "original", "hold", "drop"};
    fmt::print(to_, "{:20}= {} {}\n", "", kAction[static_cast<size_t>(answer.action)],
               answer.action == transport::Answer::Action::Drop
                   ? transport::drop_reason_name(answer.reason)
                   : "");
}

void Trace::timer(Instant now, uint8_t host, uint32_t qpn) {
    fmt::print(to_, "{:12.3f} us  {} timer of qpn {:x}\n", micro(now), host, qpn);
}

void Trace::note(Instant now, std::string_view text) {
    fmt::print(to_, "{:12.3f} us  {}\n", micro(now), text);
}

}  // namespace vrdma::sim
