// A request packet passes these checks in this order (IBA 9.7.4.1): service, PSN, order of opcodes,
// length, and what its operation asks for; the first that fails drops it or ends the connection
// with a NAK. Key, rights and receive entries are the caller's: it answers by executed().
//
// Only what was executed moves expected_ and the MSN, so a packet refused with RNR leaves no trace.
// What comes too early is offered for holding, and reported: once by a NAK to a standard peer,
// which then repeats everything; by a SACK at every turn to a vRDMA peer, which repeats what is
// missing.
//
// Answers leave in the order of the requests: an ACK that overtook the response of an earlier READ
// would tell a standard peer that the response is lost (implied NAK). A vRDMA peer does not
// conclude that, and its SACKs go first.
//
// A CNP of a standard peer slows READ responses down as it does requests (DCQCN), and what is
// behind them waits with them. A queue pair that fails is not paced: its NAK is due.
#include "dataplane/transport/rc_responder.h"

#include <algorithm>
#include <bit>

#include "dataplane/base/check.h"

namespace vrdma::transport {

void RcResponder::reset(const RcResponderConfig& config) {
    VR_CHECK(std::has_single_bit(config.path_mtu) && config.path_mtu >= kMinPathMtu &&
             config.path_mtu <= kMaxPathMtu && config.max_dest_rd_atomic <= kMaxRdAtomic);
    *this = RcResponder{};
    config_ = config;
    mtu_shift_ = static_cast<uint8_t>(std::countr_zero(config.path_mtu));
    expected_ = first_sequence(config.initial_psn);
    dcqcn_ = Dcqcn(config.line_rate);
}

const Inbound& RcResponder::drop(DropReason reason) {
    inbound_ = {.action = Inbound::Action::Drop, .reason = reason};
    return inbound_;
}

const Inbound& RcResponder::receive(const wire::Packet& packet, Instant now) {
    VR_CHECK(pending_ == Pending::Nothing);
    const wire::OpcodeInfo& info = packet.info();
    if (info.service != wire::Service::Rc) {
        return drop(DropReason::WrongService);
    }
    if (!info.request()) {
        return drop(DropReason::NotForResponder);
    }
    const Sequence sequence = expand(Psn::of(packet.bth.psn), expected_);
    if (phase_ != Phase::Running) {
        if (phase_ == Phase::Failing && sequence == nak_sequence_) {
            nak_due_ = NakDue::Terminal;  // the NAK was lost
        }
        return drop(DropReason::Failed);
    }
    ++received_;
    if (packet.network.ecn == wire::Ecn::Experienced) {
        ++ce_marked_;
        if (config_.peer == PeerKind::Standard) {
            cnp_.on_marked(now);
        }
    }
    echo_psn_ = Psn::of(packet.bth.psn);
    echo_at_ = now;
    echo_valid_ = true;
    if (sequence < expected_) {
        ++statistics_.duplicates;
        return duplicate(packet, sequence);
    }
    if (sequence > expected_) {
        ++statistics_.out_of_order;
        return ahead(packet, sequence);
    }
    return accept(packet);
}

uint32_t RcResponder::read_packets(uint32_t length) const {
    return static_cast<uint32_t>(
        std::max<uint64_t>((uint64_t{length} + config_.path_mtu - 1) >> mtu_shift_, 1));
}

uint32_t RcResponder::responses(bool replays) const {
    uint32_t count = 0;
    for (uint32_t i = response_head_; i != response_tail_; ++i) {
        count += responses_[i & (kMaxResponses - 1)].replay == replays ? 1U : 0U;
    }
    return count;
}

void RcResponder::answer(const Response& response) {
    responses_[response_tail_++ & (kMaxResponses - 1)] = response;
}

// IBA 9.7.4.1.4, .6, .7: what does not fit ends the connection.
const Inbound& RcResponder::accept(const wire::Packet& packet) {
    const wire::OpcodeInfo& info = packet.info();
    const bool continues = !info.begins();
    const bool fits = progress_ == Progress::Between  ? !continues
                      : progress_ == Progress::InSend ? continues && info.kind == wire::Kind::Send
                                                      : continues && info.kind == wire::Kind::Write;
    if (!fits || !length_fits(packet)) {
        return refuse(wire::NakCode::InvalidRequest);
    }
    Inbound& inbound = inbound_;
    inbound = {.action = Inbound::Action::Execute};
    inbound.first = info.begins();
    inbound.last = info.ends();
    inbound.solicited = packet.bth.solicited;
    inbound.imm = packet.imm;
    inbound.srqn = packet.srqn;
    pending_end_ = expected_ + 1;
    const bool valid = info.kind == wire::Kind::Send          ? begin_send(packet, inbound)
                       : info.kind == wire::Kind::Write       ? begin_write(packet, inbound)
                       : info.kind == wire::Kind::ReadRequest ? begin_read(packet, inbound)
                                                              : begin_atomic(packet, inbound);
    if (!valid) {
        return refuse(wire::NakCode::InvalidRequest);
    }
    pending_ = Pending::Request;
    pending_begin_ = expected_;
    pending_ack_request_ = packet.bth.ack_request;
    return inbound;
}

bool RcResponder::length_fits(const wire::Packet& packet) const {
    const size_t length = packet.payload.size();
    switch (packet.info().position) {
        case wire::Position::First:
        case wire::Position::Middle:
            return length == config_.path_mtu;
        case wire::Position::Last:
            return length >= 1 && length <= config_.path_mtu;
        case wire::Position::Only:
            return length <= config_.path_mtu;
    }
    return false;
}

bool RcResponder::begin_send(const wire::Packet& packet, Inbound& inbound) {
    inbound.operation = packet.info().has(wire::extension::kImm)    ? Operation::SendImm
                        : packet.info().has(wire::extension::kIeth) ? Operation::SendInvalidate
                                                                    : Operation::Send;
    inbound.rkey = packet.invalidate_rkey;
    inbound.offset = inbound.first ? 0 : offset_;
    inbound.length = static_cast<uint32_t>(packet.payload.size());
    inbound.total = inbound.offset + inbound.length;
    return inbound.total <= kMaxMessageBytes;
}

bool RcResponder::begin_write(const wire::Packet& packet, Inbound& inbound) {
    const auto length = static_cast<uint32_t>(packet.payload.size());
    inbound.operation =
        packet.info().has(wire::extension::kImm) ? Operation::WriteImm : Operation::Write;
    inbound.offset = inbound.first ? 0 : offset_;
    inbound.total = inbound.first ? packet.reth.length : total_;
    inbound.remote_address = inbound.first ? packet.reth.address : address_;
    inbound.rkey = inbound.first ? packet.reth.rkey : rkey_;
    inbound.length = length;
    // The RETH announced the length of the message (IBA 9.7.4.1.6).
    const uint32_t left = inbound.total - inbound.offset;
    return inbound.total <= kMaxMessageBytes && (inbound.last ? length == left : length < left);
}

bool RcResponder::begin_read(const wire::Packet& packet, Inbound& inbound) {
    inbound.operation = Operation::Read;
    inbound.remote_address = packet.reth.address;
    inbound.rkey = packet.reth.rkey;
    inbound.length = inbound.total = packet.reth.length;
    pending_end_ = expected_ + read_packets(packet.reth.length);
    // No packet has a number of its own among those of the responses.
    return packet.reth.length <= kMaxMessageBytes &&
           !held_.begins_in(expected_ + 1, std::min(pending_end_, expected_ + kWindowPackets)) &&
           responses(false) < config_.max_dest_rd_atomic;  // IBA 9.7.4.1.5
}

bool RcResponder::begin_atomic(const wire::Packet& packet, Inbound& inbound) {
    inbound.operation = packet.bth.opcode == wire::Opcode::RcCompareSwap ? Operation::CompareSwap
                                                                         : Operation::FetchAdd;
    inbound.remote_address = packet.atomic_eth.address;
    inbound.rkey = packet.atomic_eth.rkey;
    inbound.length = inbound.total = 8;
    inbound.compare = packet.atomic_eth.compare;
    inbound.swap_or_add = packet.atomic_eth.swap_or_add;
    return inbound.remote_address % 8 == 0 && responses(false) < config_.max_dest_rd_atomic;
}

const Inbound& RcResponder::refuse(wire::NakCode code) {
    end_with(code, expected_);
    inbound_ = {};
    return inbound_;
}

void RcResponder::end_with(wire::NakCode code, Sequence sequence) {
    phase_ = Phase::Failing;
    failure_ = code;
    nak_due_ = NakDue::Terminal;
    nak_syndrome_ = wire::nak_syndrome(code);
    nak_sequence_ = sequence;
}

// IBA 9.7.5.1.2 and .3: one NAK for a gap.
const Inbound& RcResponder::ahead(const wire::Packet& packet, Sequence sequence) {
    if (config_.peer == PeerKind::Vrdma) {
        ack_due_ = true;
    } else if (!gap_reported_) {
        gap_reported_ = true;
        nak_due_ = NakDue::Once;
        nak_syndrome_ = wire::nak_syndrome(wire::NakCode::PsnSequenceError);
        ++statistics_.sequence_naks;
    }
    const bool read = packet.info().kind == wire::Kind::ReadRequest;
    hold_end_ = sequence + (read ? read_packets(packet.reth.length) : 1);
    if (hold_end_ - expected_ > kWindowPackets) {
        return drop(DropReason::PsnOutsideWindow);
    }
    if (held_.holds(sequence)) {
        return drop(DropReason::Duplicate);
    }
    // While the receiver is not ready a standard peer will repeat everything anyway.
    if ((config_.peer == PeerKind::Standard && rnr_) || !held_.free(sequence, hold_end_)) {
        return drop(DropReason::PsnAhead);
    }
    inbound_ = {.action = Inbound::Action::Hold, .sequence = sequence};
    return inbound_;
}

// IBA 9.7.4.2: nothing is executed twice, but for READ.
const Inbound& RcResponder::duplicate(const wire::Packet& packet, Sequence sequence) {
    const wire::OpcodeInfo& info = packet.info();
    if (info.kind == wire::Kind::Atomic) {
        return replay_atomic(sequence);
    }
    if (info.kind != wire::Kind::ReadRequest) {
        ack_due_ = true;
        return drop(DropReason::Duplicate);
    }
    const uint32_t packets = read_packets(packet.reth.length);
    if (sequence + packets > expected_) {
        return drop(DropReason::ReplayRange);
    }
    for (uint32_t i = response_head_; i != response_tail_; ++i) {
        const Response& r = responses_[i & (kMaxResponses - 1)];
        if (!r.atomic && r.polled == 0 && r.begin <= sequence &&
            sequence + packets <= r.begin + r.packets) {
            return drop(DropReason::Duplicate);  // its answer is about to leave
        }
    }
    if (responses(true) == kMaxRdAtomic) {
        return drop(DropReason::ReplayFull);
    }
    pending_ = Pending::Replay;
    pending_begin_ = sequence;
    inbound_ = {.action = Inbound::Action::Reexecute};
    inbound_.operation = Operation::Read;
    inbound_.first = inbound_.last = true;
    inbound_.remote_address = packet.reth.address;
    inbound_.rkey = packet.reth.rkey;
    inbound_.srqn = packet.srqn;
    inbound_.length = inbound_.total = packet.reth.length;
    return inbound_;
}

const Inbound& RcResponder::replay_atomic(Sequence sequence) {
    for (const SavedAtomic& saved : atomics_) {
        if (saved.sequence != sequence) {
            continue;
        }
        for (uint32_t i = response_head_; i != response_tail_; ++i) {
            if (responses_[i & (kMaxResponses - 1)].begin == sequence) {
                return drop(DropReason::Duplicate);
            }
        }
        if (responses(true) == kMaxRdAtomic) {
            return drop(DropReason::ReplayFull);
        }
        answer({.begin = sequence,
                .word = saved.original,
                .packets = 1,
                .msn = saved.msn,
                .atomic = true,
                .replay = true});
        return drop(DropReason::Duplicate);
    }
    return drop(DropReason::AtomicForgotten);
}

void RcResponder::executed(const ExecuteResult& result) {
    VR_CHECK(pending_ != Pending::Nothing);
    const bool replay = pending_ == Pending::Replay;
    pending_ = Pending::Nothing;
    const Inbound& done = inbound_;
    switch (result.status) {
        case ExecuteStatus::Ok:
            break;
        case ExecuteStatus::ReceiverNotReady:
            VR_CHECK(!replay);
            held_.release(pending_begin_, pending_begin_ + 1);
            gap_reported_ = true;
            rnr_ = true;
            nak_due_ = NakDue::Once;
            nak_syndrome_ = wire::rnr_syndrome(result.rnr_timer);
            ++statistics_.rnr_naks;
            return;
        case ExecuteStatus::NakInvalidRequest:
            end_with(wire::NakCode::InvalidRequest, pending_begin_);
            return;
        case ExecuteStatus::NakRemoteAccess:
            end_with(wire::NakCode::RemoteAccessError, pending_begin_);
            return;
        case ExecuteStatus::NakRemoteOperational:
            end_with(wire::NakCode::RemoteOperationalError, pending_begin_);
            return;
    }
    if (replay) {
        answer({.begin = pending_begin_,
                .word = done.remote_address,
                .rkey = done.rkey,
                .length = done.length,
                .packets = read_packets(done.length),
                .msn = msn_,
                .srqn = done.srqn,
                .replay = true});
        return;
    }
    held_.release(expected_, std::min(pending_end_, expected_ + kWindowPackets));
    expected_ = pending_end_;
    gap_reported_ = rnr_ = false;
    if (nak_due_ == NakDue::Once) {
        nak_due_ = NakDue::None;
        ack_due_ = true;
    }
    if (done.last) {
        msn_ = (msn_ + 1) & wire::kMask24;
    }
    if (has_response(done.operation)) {
        answer({.begin = pending_begin_,
                .word = is_atomic(done.operation) ? result.original : done.remote_address,
                .rkey = done.rkey,
                .length = done.length,
                .packets = static_cast<uint32_t>(pending_end_ - pending_begin_),
                .msn = msn_,
                .srqn = done.srqn,
                .atomic = is_atomic(done.operation)});
        if (is_atomic(done.operation)) {
            atomics_[atomic_tail_++ & (kMaxRdAtomic - 1)] = {pending_begin_, result.original, msn_};
        }
        return;
    }
    if (pending_ack_request_ || ++unasked_ >= kUnaskedAckPackets) {
        ack_due_ = true;
    }
    progress_ = done.last                  ? Progress::Between
                : is_write(done.operation) ? Progress::InWrite
                                           : Progress::InSend;
    address_ = done.remote_address;
    rkey_ = done.rkey;
    total_ = done.total;
    offset_ = done.offset + done.length;
}

void RcResponder::hold(Sequence sequence, HeldPacket packet) {
    held_.hold(sequence, hold_end_, packet);
}

std::optional<HeldPacket> RcResponder::next_held() {
    return phase_ == Phase::Running ? held_.take(expected_) : std::nullopt;
}

void RcResponder::fail() {
    phase_ = Phase::Failed;
    pacing_blocked_ = false;
    cnp_ = {};
    nak_due_ = NakDue::None;
    ack_due_ = false;
    response_head_ = response_tail_;
}

bool RcResponder::failed() const {
    return phase_ != Phase::Running;
}

wire::NakCode RcResponder::failure() const {
    return failure_;
}

bool RcResponder::has_output() const {
    return response_head_ != response_tail_ || nak_due_ != NakDue::None || ack_due_ || cnp_.due();
}

bool RcResponder::poll_transmit(Instant now, PacketPlan& plan) {
    if (!has_output()) {
        return false;
    }
    if (cnp_.due()) [[unlikely]] {
        plan_cnp(now, plan);
        return true;
    }
    if (config_.peer == PeerKind::Vrdma && phase_ == Phase::Running && nak_due_ == NakDue::None &&
        ack_due_) {
        plan_acknowledge(wire::kAckSyndrome, expected_ - 1, now, plan);
        return true;
    }
    if (response_head_ != response_tail_) {
        if (held_back(now)) {
            return false;
        }
        plan_response(plan);
        if (pacer_.on()) [[unlikely]] {
            pacer_.sent(kPacedHeaderBytes + plan.length, now);
            dcqcn_.on_sent(kPacedHeaderBytes + plan.length);
        }
        return true;
    }
    switch (nak_due_) {
        case NakDue::None:
            plan_acknowledge(wire::kAckSyndrome, expected_ - 1, now, plan);
            break;
        case NakDue::Once:
            plan_acknowledge(nak_syndrome_, expected_, now, plan);
            break;
        case NakDue::Terminal:
            plan_acknowledge(nak_syndrome_, nak_sequence_, now, plan);
            break;
    }
    return true;
}

void RcResponder::on_congestion(Instant now) {
    if (config_.peer == PeerKind::Standard) {
        dcqcn_.on_cnp(now);
        set_pace();
    }
}

void RcResponder::set_pace() {
    if (dcqcn_.limiting()) {
        pacer_.set_rate(dcqcn_.rate());
    } else {
        pacer_.off();
    }
}

bool RcResponder::held_back(Instant now) {
    pacing_blocked_ = false;
    if (!pacer_.on()) [[likely]] {
        return false;
    }
    if (config_.peer != PeerKind::Standard || phase_ != Phase::Running) {
        pacer_.off();
        return false;
    }
    if (dcqcn_.advance(now)) {
        set_pace();
    }
    pacing_blocked_ = !pacer_.ready(now);
    return pacing_blocked_;
}

void RcResponder::plan_cnp(Instant now, PacketPlan& plan) {
    cnp_.sent(now);
    ++statistics_.congestion_notifications;
    plan.fields.opcode = wire::Opcode::Cnp;
    plan.fields.becn = true;
    plan.fields.dqpn = config_.destination_qpn;
}

void RcResponder::plan_acknowledge(uint8_t syndrome, Sequence sequence, Instant now,
                                   PacketPlan& plan) {
    ack_due_ = false;
    nak_due_ = NakDue::None;
    unasked_ = 0;
    wire::HeaderFields& fields = plan.fields;
    fields.opcode = wire::Opcode::RcAcknowledge;
    fields.dqpn = config_.destination_qpn;
    fields.psn = psn_of(sequence).value;
    fields.aeth = {syndrome, msn_};
    if (config_.peer == PeerKind::Vrdma) {
        fields.opcode = wire::Opcode::Sack;
        wire::SackEth& sack = fields.sack;
        sack.base_psn = psn_of(expected_).value;
        sack.received = received_;
        sack.ce_marked = ce_marked_;
        sack.echo_valid = echo_valid_;
        if (echo_valid_) {
            sack.echo_psn = echo_psn_.value;
            sack.hold_ns =
                static_cast<uint32_t>(std::clamp<int64_t>((now - echo_at_).ns, 0, UINT32_MAX));
            echo_valid_ = false;
        }
        if (!held_.empty()) {
            held_.covered().each_set(expected_ + 1, expected_ + kWindowPackets, [&](Sequence s) {
                const auto i = static_cast<uint32_t>(s - expected_ - 1);
                sack.held[i / 64] |= uint64_t{1} << (i % 64);
            });
        }
    }
}

void RcResponder::plan_response(PacketPlan& plan) {
    Response& r = responses_[response_head_ & (kMaxResponses - 1)];
    wire::HeaderFields& fields = plan.fields;
    fields.dqpn = config_.destination_qpn;
    fields.psn = psn_of(r.begin + r.polled).value;
    fields.aeth = {wire::kAckSyndrome, r.msn};
    plan.retransmission = r.replay;
    last_response_ = r.begin + r.polled;
    if (r.atomic) {
        fields.opcode = wire::Opcode::RcAtomicAcknowledge;
        fields.original = r.word;
        ++response_head_;
        return;
    }
    const bool first = r.polled == 0;
    const bool last = r.polled + 1 == r.packets;
    fields.opcode =
        first  ? (last ? wire::Opcode::RcReadResponseOnly : wire::Opcode::RcReadResponseFirst)
        : last ? wire::Opcode::RcReadResponseLast
               : wire::Opcode::RcReadResponseMiddle;
    const uint32_t offset = r.polled << mtu_shift_;
    plan.length = std::min(r.length - offset, config_.path_mtu);
    plan.source = plan.length > 0 ? PayloadSource::Memory : PayloadSource::None;
    plan.offset = offset;
    plan.address = r.word + offset;
    plan.rkey = r.rkey;
    plan.request_address = r.word;
    plan.request_length = r.length;
    plan.request_srqn = r.srqn;
    ++r.polled;
    if (last) {
        ++response_head_;
    }
}

void RcResponder::response_failed(ExecuteStatus status) {
    response_head_ = response_tail_;
    if (phase_ != Phase::Running) {
        return;
    }
    end_with(status == ExecuteStatus::NakRemoteOperational ? wire::NakCode::RemoteOperationalError
             : status == ExecuteStatus::NakInvalidRequest  ? wire::NakCode::InvalidRequest
                                                           : wire::NakCode::RemoteAccessError,
             last_response_);
}

}  // namespace vrdma::transport
