// The responder of the reference peer (reference_end.h): in order only.
#include <algorithm>

#include "tests/sim/reference_end.h"

namespace vrdma::sim {

using transport::ExecuteResult;
using transport::ExecuteStatus;
using transport::Inbound;
using transport::Operation;
using transport::PacketPlan;
using transport::PayloadSource;
using wire::Opcode;

namespace {

Operation operation_of(Opcode opcode) {
    const wire::OpcodeInfo& info = wire::opcode_info(opcode);
    const bool imm = info.has(wire::extension::kImm);
    switch (info.kind) {
        case wire::Kind::Send:
            return imm                                ? Operation::SendImm
                   : info.has(wire::extension::kIeth) ? Operation::SendInvalidate
                                                      : Operation::Send;
        case wire::Kind::Write:
            return imm ? Operation::WriteImm : Operation::Write;
        case wire::Kind::Atomic:
            return opcode == Opcode::RcFetchAdd ? Operation::FetchAdd : Operation::CompareSwap;
        case wire::Kind::ReadRequest:
        case wire::Kind::ReadResponse:
        case wire::Kind::Acknowledge:
        case wire::Kind::AtomicAcknowledge:
        case wire::Kind::Cnp:
        case wire::Kind::Probe:
        case wire::Kind::Sack:
            break;
    }
    return Operation::Read;
}

}  // namespace

void ReferenceEnd::answer(uint8_t syndrome, Number psn) {
    PacketPlan plan;
    plan.fields.opcode = Opcode::RcAcknowledge;
    plan.fields.dqpn = config_.destination_qpn;
    plan.fields.psn = psn;
    plan.fields.aeth = {syndrome, msn_};
    acks_.push_back(plan);
}

Inbound ReferenceEnd::receive_request(const wire::Packet& packet, Instant) {
    if (responder_failed_ || packet.info().service != wire::Service::Rc) {
        return {.action = Inbound::Action::Drop};
    }
    const int32_t ahead = distance(packet.bth.psn, expected_);
    if (ahead > 0) {
        if (!nak_sent_) {
            nak_sent_ = true;
            answer(wire::nak_syndrome(wire::NakCode::PsnSequenceError), expected_);
        }
        return {.action = Inbound::Action::Drop};
    }
    return ahead < 0 ? duplicate(packet) : accept(packet);
}

Inbound ReferenceEnd::accept(const wire::Packet& packet) {
    nak_sent_ = false;
    replay_ = false;
    const wire::OpcodeInfo& info = packet.info();
    Inbound in;
    in.action = Inbound::Action::Execute;
    in.operation = operation_of(packet.bth.opcode);
    in.first = info.begins();
    in.last = info.ends();
    in.solicited = packet.bth.solicited;
    in.imm = packet.imm;
    in.length = static_cast<uint32_t>(packet.payload.size());
    if (in.first) {
        message_offset_ = 0;
        message_address_ = packet.reth.address;
        message_rkey_ = packet.reth.rkey;
        message_total_ = packet.reth.length;
    }
    in.offset = message_offset_;
    in.remote_address = message_address_;
    in.rkey = message_rkey_;
    in.total = info.kind == wire::Kind::Send ? in.offset + in.length : message_total_;
    if (in.operation == Operation::SendInvalidate) {
        in.rkey = packet.invalidate_rkey;
    }
    if (in.operation == Operation::Read) {
        in.length = in.total;
    } else if (transport::is_atomic(in.operation)) {
        in.remote_address = packet.atomic_eth.address;
        in.rkey = packet.atomic_eth.rkey;
        in.compare = packet.atomic_eth.compare;
        in.swap_or_add = packet.atomic_eth.swap_or_add;
    }
    pending_ = in;
    pending_packet_ = packet;
    return in;
}

Inbound ReferenceEnd::duplicate(const wire::Packet& packet) {
    const Number psn = packet.bth.psn;
    const bool response =
        packet.info().kind == wire::Kind::ReadRequest || packet.info().kind == wire::Kind::Atomic;
    if (!response) {
        answer(wire::kAckSyndrome, mask(expected_ - 1));
        return {.action = Inbound::Action::Drop};
    }
    for (Done& done : done_) {
        if (distance(psn, done.first) < 0 || distance(psn, done.last) > 0) {
            continue;
        }
        if (done.atomic) {
            Response r;
            r.next = psn;
            r.atomic = true;
            r.original = done.original;
            r.msn = msn_;
            responses_.push_back(r);
            return {.action = Inbound::Action::Drop};
        }
        if (packet.reth.address < done.address ||
            packet.reth.length > done.length - (packet.reth.address - done.address)) {
            break;
        }
        done.length -= static_cast<uint32_t>(packet.reth.address - done.address);
        done.address = packet.reth.address;
        done.first = psn;
        replay_ = true;
        pending_ = {.action = Inbound::Action::Reexecute,
                    .operation = Operation::Read,
                    .first = true,
                    .last = true,
                    .length = packet.reth.length,
                    .total = packet.reth.length,
                    .remote_address = packet.reth.address,
                    .rkey = packet.reth.rkey};
        pending_packet_ = packet;
        return pending_;
    }
    return {.action = Inbound::Action::Drop};
}

void ReferenceEnd::executed(const ExecuteResult& result) {
    const Number psn = pending_packet_.bth.psn;
    if (result.status != ExecuteStatus::Ok) {
        if (result.status == ExecuteStatus::ReceiverNotReady) {
            nak_sent_ = true;  // for what follows
            return answer(wire::rnr_syndrome(result.rnr_timer), psn);
        }
        const auto code = result.status == ExecuteStatus::NakInvalidRequest
                              ? wire::NakCode::InvalidRequest
                          : result.status == ExecuteStatus::NakRemoteAccess
                              ? wire::NakCode::RemoteAccessError
                              : wire::NakCode::RemoteOperationalError;
        responder_failed_ = true;
        return answer(wire::nak_syndrome(code), psn);
    }
    const bool responds = transport::has_response(pending_.operation);
    const uint32_t count = pending_.operation == Operation::Read ? packets(pending_.length) : 1;
    if (!replay_) {
        expected_ = mask(psn + count);
        message_offset_ += pending_.length;
        msn_ = mask(msn_ + (pending_.last ? 1 : 0));
    }
    if (responds) {
        Response r;
        r.next = psn;
        r.atomic = transport::is_atomic(pending_.operation);
        r.original = result.original;
        r.address = pending_.remote_address;
        r.rkey = pending_.rkey;
        r.length = pending_.length;
        r.msn = msn_;
        responses_.push_back(r);
        if (!replay_) {
            done_.push_back(
                {psn, mask(psn + count - 1), r.atomic, r.original, r.address, r.length});
            if (done_.size() > config_.max_rd_atomic) {
                done_.pop_front();
            }
        }
    } else if (pending_packet_.bth.ack_request) {
        answer(wire::kAckSyndrome, psn);
    }
}

std::optional<PacketPlan> ReferenceEnd::poll_answer(Instant) {
    // Answers leave in the order of their packets: responses first, an ACK behind would be an
    // implied NAK of them.
    if (!responses_.empty()) {
        Response& r = responses_.front();
        PacketPlan plan;
        plan.fields.dqpn = config_.destination_qpn;
        plan.fields.psn = r.next;
        plan.fields.aeth = {wire::kAckSyndrome, r.msn};
        if (r.atomic) {
            plan.fields.opcode = Opcode::RcAtomicAcknowledge;
            plan.fields.original = r.original;
            responses_.pop_front();
            return plan;
        }
        const bool first = r.sent == 0;
        failed_response_ = r.next;
        plan.length = std::min(r.length - r.sent, config_.path_mtu);
        plan.source = plan.length > 0 ? PayloadSource::Memory : PayloadSource::None;
        plan.address = r.address + r.sent;
        plan.rkey = r.rkey;
        plan.request_address = r.address;
        plan.request_length = r.length;
        r.sent += plan.length;
        r.next = mask(r.next + 1);
        const bool last = r.sent == r.length;
        plan.fields.opcode = first
                                 ? (last ? Opcode::RcReadResponseOnly : Opcode::RcReadResponseFirst)
                             : last ? Opcode::RcReadResponseLast
                                    : Opcode::RcReadResponseMiddle;
        if (last) {
            responses_.pop_front();
        }
        return plan;
    }
    if (!acks_.empty()) {
        const PacketPlan plan = acks_.front();
        acks_.pop_front();
        return plan;
    }
    return std::nullopt;
}

void ReferenceEnd::response_failed(ExecuteStatus) {
    responses_.clear();
    responder_failed_ = true;
    // The response that could not be had was the last that was polled; the requester waits there.
    answer(wire::nak_syndrome(wire::NakCode::RemoteAccessError), failed_response_);
}

std::unique_ptr<End> make_end_or_reference(wire::Service service, size_t host) {
    if (host == 1 && service == wire::Service::Rc) {
        return std::make_unique<ReferenceEnd>();
    }
    return make_end(service, host);
}

}  // namespace vrdma::sim
