// Deliberately plain: queues instead of windows, PSNs of 24 bits compared where they are used, one
// timer. What it does wrong it does as soft-RoCE does, and the transport has to live with that.
#include "tests/sim/reference_end.h"

#include <algorithm>

namespace vrdma::sim {

using transport::Answer;
using transport::Completion;
using transport::CompletionStatus;
using transport::ExecuteResult;
using transport::ExecuteStatus;
using transport::Inbound;
using transport::Message;
using transport::Operation;
using transport::PacketPlan;
using transport::PayloadSource;
using wire::Opcode;

void ReferenceEnd::reset(const EndConfig& config, Instant) {
    *this = ReferenceEnd{};
    config_ = config;
    next_psn_ = send_psn_ = acked_ = highest_ = config.send_psn.value;
    expected_ = config.receive_psn.value;
    retries_ = config.retry_count;
    rnr_retries_ = config.rnr_retry;
}

uint32_t ReferenceEnd::packets(uint32_t length) const {
    return std::max(1U, (length + config_.path_mtu - 1) / config_.path_mtu);
}

// Without a limit: not never, for nothing else repairs a lost tail.
Duration ReferenceEnd::timeout() const {
    return {int64_t{4096} << (config_.timeout == 0 ? kUnlimitedTimeout : config_.timeout)};
}

void ReferenceEnd::post(const Message& message) {
    Request request;
    request.message = message;
    request.first = next_psn_;
    next_psn_ = mask(next_psn_ + packets(message.length));
    request.last = mask(next_psn_ - 1);
    messages_.push_back(request);
}

// The message of the next packet.
ReferenceEnd::Request* ReferenceEnd::sending() {
    for (Request& request : messages_) {
        if (!request.end && distance(send_psn_, request.last) <= 0) {
            if (distance(request.first, send_psn_) > 0) {
                send_psn_ = request.first;  // what lies between is complete
            }
            return &request;
        }
    }
    return nullptr;
}

bool ReferenceEnd::may_send(const Request& request) const {
    if (distance(send_psn_, acked_) >= kMaxUnacknowledged) {
        return false;
    }
    uint32_t waiting = 0;
    for (const Request& other : messages_) {
        if (&other == &request) {
            break;
        }
        if (other.end && *other.end != CompletionStatus::Success) {
            return false;  // nothing leaves behind a fault
        }
        waiting += other.waits() ? 1U : 0U;
    }
    const Message& m = request.message;
    return !(m.fence && waiting > 0) &&
           !(transport::has_response(m.operation) && waiting >= config_.max_rd_atomic);
}

PacketPlan ReferenceEnd::plan(Request& request) {
    const Message& m = request.message;
    const auto packet = static_cast<uint32_t>(distance(send_psn_, request.first));
    PacketPlan plan;
    plan.message_id = m.id;
    plan.offset = packet * config_.path_mtu;
    plan.fields.dqpn = config_.destination_qpn;
    plan.fields.psn = send_psn_;
    const bool first = packet == 0;
    const bool last = send_psn_ == request.last;
    if (m.operation == Operation::Read) {
        const uint32_t skip = std::min(plan.offset, m.length);
        plan.fields.opcode = Opcode::RcReadRequest;
        plan.fields.reth = {m.remote_address + skip, m.rkey, m.length - skip};
        plan.offset = 0;
        send_psn_ = mask(request.last + 1);
        return plan;
    }
    send_psn_ = mask(send_psn_ + 1);
    if (transport::is_atomic(m.operation)) {
        plan.fields.opcode =
            m.operation == Operation::FetchAdd ? Opcode::RcFetchAdd : Opcode::RcCompareSwap;
        plan.fields.atomic_eth = {m.remote_address, m.rkey, m.swap_or_add, m.compare};
        plan.offset = 0;
        return plan;
    }
    plan.length = std::min(m.length - plan.offset, config_.path_mtu);
    plan.source = plan.length > 0 ? PayloadSource::Message : PayloadSource::None;
    plan.fields.imm = m.imm;
    plan.fields.solicited = last && m.solicited;
    plan.fields.ack_request = last || packet % kAckEvery == kAckEvery - 1;
    plan.fields.reth = {m.remote_address, m.rkey, m.length};
    const bool imm = transport::has_imm(m.operation);
    if (m.operation == Operation::SendInvalidate) {
        plan.fields.invalidate_rkey = m.rkey;
        plan.fields.opcode = first  ? (last ? Opcode::RcSendOnlyInvalidate : Opcode::RcSendFirst)
                             : last ? Opcode::RcSendLastInvalidate
                                    : Opcode::RcSendMiddle;
    } else if (transport::is_write(m.operation)) {
        plan.fields.opcode = first  ? (last ? (imm ? Opcode::RcWriteOnlyImm : Opcode::RcWriteOnly)
                                            : Opcode::RcWriteFirst)
                             : last ? (imm ? Opcode::RcWriteLastImm : Opcode::RcWriteLast)
                                    : Opcode::RcWriteMiddle;
    } else {
        plan.fields.opcode = first  ? (last ? (imm ? Opcode::RcSendOnlyImm : Opcode::RcSendOnly)
                                            : Opcode::RcSendFirst)
                             : last ? (imm ? Opcode::RcSendLastImm : Opcode::RcSendLast)
                                    : Opcode::RcSendMiddle;
    }
    return plan;
}

std::optional<PacketPlan> ReferenceEnd::poll_request(Instant now) {
    if (failed_ || now < rnr_until_) {
        return std::nullopt;
    }
    Request* request = sending();
    if (request == nullptr || !may_send(*request)) {
        return std::nullopt;
    }
    PacketPlan result = plan(*request);
    result.retransmission = distance(result.fields.psn, highest_) < 0;
    if (distance(send_psn_, highest_) > 0) {
        highest_ = send_psn_;
    }
    // A window that is full must ask.
    result.fields.ack_request |= result.source == PayloadSource::Message &&
                                 distance(send_psn_, acked_) >= kMaxUnacknowledged;
    if (timer_ == Instant::never()) {
        timer_ = now + timeout();
    }
    return result;
}

void ReferenceEnd::go_back(Number psn) {
    send_psn_ = psn;
    for (const Request& request : messages_) {
        // A READ goes on at its first missing byte.
        if (!request.end && request.message.operation == Operation::Read &&
            distance(psn, request.first) >= 0 && distance(psn, request.last) <= 0) {
            send_psn_ = mask(request.first + request.answered / config_.path_mtu);
        }
    }
}

void ReferenceEnd::retry(Instant now) {
    Number from = acked_;
    for (const Request& request : messages_) {
        if (request.waits()) {
            if (distance(request.first, from) < 0) {
                from = request.first;
            }
            break;
        }
    }
    go_back(from);
    timer_ = now + timeout();
}

void ReferenceEnd::progress(Instant now) {
    retries_ = config_.retry_count;
    rnr_retries_ = config_.rnr_retry;
    retrying_ = false;
    const bool open =
        distance(highest_, acked_) > 0 || std::ranges::any_of(messages_, [this](const Request& r) {
            return r.waits() && distance(highest_, r.first) > 0;
        });
    timer_ = open ? now + timeout() : Instant::never();
}

// Everything below psn has been executed.
void ReferenceEnd::acknowledge(Number psn, Instant now) {
    if (distance(psn, acked_) <= 0 || distance(psn, highest_) > 0) {
        return;
    }
    acked_ = psn;
    if (distance(send_psn_, acked_) < 0) {
        send_psn_ = acked_;
    }
    for (Request& request : messages_) {
        if (!request.end && !request.waits() && distance(request.last, psn) < 0) {
            request.end = CompletionStatus::Success;
        }
    }
    progress(now);
}

void ReferenceEnd::fail_oldest(CompletionStatus status) {
    for (Request& request : messages_) {
        if (!request.end) {
            request.end = status;
            return;
        }
    }
}

void ReferenceEnd::fail_at(Number psn, CompletionStatus status) {
    for (Request& request : messages_) {
        if (!request.end && distance(psn, request.first) >= 0 && distance(psn, request.last) <= 0) {
            request.end = status;
        }
    }
}

Answer ReferenceEnd::receive_answer(const wire::Packet& packet, Instant now) {
    switch (packet.info().kind) {
        case wire::Kind::Acknowledge:
            return on_ack(packet, now);
        case wire::Kind::ReadResponse:
        case wire::Kind::AtomicAcknowledge:
            return on_response(packet, now);
        case wire::Kind::Send:
        case wire::Kind::Write:
        case wire::Kind::ReadRequest:
        case wire::Kind::Atomic:
        case wire::Kind::Cnp:
        case wire::Kind::Probe:
        case wire::Kind::Sack:
            break;
    }
    return {.action = Answer::Action::Drop};
}

Answer ReferenceEnd::on_ack(const wire::Packet& packet, Instant now) {
    const Number psn = packet.bth.psn;
    const uint8_t value = wire::aeth_value(packet.aeth.syndrome);
    if (failed_ || distance(psn, highest_) >= 0 || distance(psn, acked_) < -1) {
        return {.action = Answer::Action::Drop};
    }
    switch (wire::aeth_kind(packet.aeth.syndrome)) {
        case wire::AethKind::Ack:
            acknowledge(mask(psn + 1), now);
            break;
        case wire::AethKind::RnrNak:
            if (distance(psn, acked_) < 0) {
                break;
            }
            acknowledge(psn, now);
            if (rnr_retries_ != 7 && rnr_retries_-- == 0) {
                fail_at(psn, CompletionStatus::RnrRetryExceeded);
                break;
            }
            rnr_until_ = now + wire::rnr_delay(value);
            timer_ = rnr_until_ + timeout();
            go_back(psn);
            break;
        case wire::AethKind::Nak:
            if (distance(psn, acked_) < 0) {
                break;
            }
            acknowledge(psn, now);
            if (value == static_cast<uint8_t>(wire::NakCode::PsnSequenceError)) {
                if (!retrying_ && now >= rnr_until_) {
                    retrying_ = true;
                    retry(now);
                }
            } else {
                fail_at(psn, value == 1   ? CompletionStatus::RemoteInvalidRequest
                             : value == 2 ? CompletionStatus::RemoteAccess
                                          : CompletionStatus::RemoteOperational);
            }
            break;
        case wire::AethKind::Reserved:
            break;
    }
    return {};
}

Answer ReferenceEnd::on_response(const wire::Packet& packet, Instant now) {
    const Number psn = packet.bth.psn;
    for (Request& request : messages_) {
        if (!request.waits()) {
            continue;
        }
        const Message& m = request.message;
        const bool read = m.operation == Operation::Read;
        const Number wanted =
            mask(request.first + (read ? request.answered / config_.path_mtu : 0));
        if (failed_ || psn != wanted || distance(psn, highest_) >= 0 ||
            read != (packet.info().kind == wire::Kind::ReadResponse)) {
            break;  // a gap, or late: the timer will see to it
        }
        Answer answer{.message_id = m.id};
        if (read) {
            answer.action = Answer::Action::Place;
            answer.offset = request.answered;
            answer.length = static_cast<uint32_t>(packet.payload.size());
            request.answered += answer.length;
            if (psn == request.last) {
                request.end = CompletionStatus::Success;
            }
        } else {
            answer.action = Answer::Action::Original;
            answer.original = packet.original;
            request.end = CompletionStatus::Success;
        }
        acknowledge(mask(psn + 1), now);
        progress(now);
        return answer;
    }
    return {.action = Answer::Action::Drop};
}

std::optional<Completion> ReferenceEnd::poll_completion() {
    if (messages_.empty() || (!messages_.front().end && !failed_)) {
        return std::nullopt;
    }
    const Request request = messages_.front();
    messages_.pop_front();
    const CompletionStatus status = failed_ ? CompletionStatus::Flushed : *request.end;
    failed_ |= status != CompletionStatus::Success;
    return Completion{request.message.id, status};
}

void ReferenceEnd::fail_message(uint32_t id, CompletionStatus status) {
    for (Request& request : messages_) {
        if (request.message.id == id) {
            request.end = status;
        }
    }
}

void ReferenceEnd::fail() {
    failed_ = true;
    timer_ = Instant::never();
    if (!responder_failed_) {
        acks_.clear();
        responses_.clear();
    }
    responder_failed_ = true;
}

Instant ReferenceEnd::next_deadline() const {
    if (failed_) {
        return Instant::never();
    }
    return rnr_until_.ns > 0 ? std::min(rnr_until_, timer_) : timer_;
}

void ReferenceEnd::on_deadline(Instant now) {
    if (rnr_until_.ns > 0 && now >= rnr_until_) {
        rnr_until_ = Instant{0};
    }
    if (now < timer_) {
        return;
    }
    retrying_ = false;
    if (retries_ == 0 && config_.timeout != 0) {
        fail_oldest(CompletionStatus::RetryExceeded);
        timer_ = Instant::never();
        return;
    }
    if (retries_ > 0) {
        --retries_;
    }
    retry(now);
}

}  // namespace vrdma::sim
