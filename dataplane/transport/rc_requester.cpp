// Posting, sending and completing of an RC requester; what comes back is in
// rc_requester_answers.cpp, time in rc_requester_timers.cpp.
//
// Every packet has its number from the moment its message is posted. Numbers are sent once in order
// (send_, SendWindow::sent()); what is found lost is sent again before anything new. Go-back-N and
// selective repeat differ only in what they find lost: everything from a point on, or the holes.
//
// Two frontiers move forward: acked_ (the peer has executed everything before it) and
// response_next_ (the oldest response that is missing). A message is complete when the one that
// concerns it has passed it, and completes in the order of posting. A READ is sent as requests of
// kReadChunkPackets responses; each of them is one of the max_rd_atomic.
#include "dataplane/transport/rc_requester.h"

#include <algorithm>
#include <bit>

#include "dataplane/base/check.h"

namespace vrdma::transport {
namespace {

struct Opcodes {
    wire::Opcode first;
    wire::Opcode middle;
    wire::Opcode last;
    wire::Opcode only;
};

constexpr Opcodes opcodes(Operation operation) {
    using wire::Opcode;
    switch (operation) {
        case Operation::Send:
            return {Opcode::RcSendFirst, Opcode::RcSendMiddle, Opcode::RcSendLast,
                    Opcode::RcSendOnly};
        case Operation::SendImm:
            return {Opcode::RcSendFirst, Opcode::RcSendMiddle, Opcode::RcSendLastImm,
                    Opcode::RcSendOnlyImm};
        case Operation::SendInvalidate:
            return {Opcode::RcSendFirst, Opcode::RcSendMiddle, Opcode::RcSendLastInvalidate,
                    Opcode::RcSendOnlyInvalidate};
        case Operation::Write:
            return {Opcode::RcWriteFirst, Opcode::RcWriteMiddle, Opcode::RcWriteLast,
                    Opcode::RcWriteOnly};
        case Operation::WriteImm:
            return {Opcode::RcWriteFirst, Opcode::RcWriteMiddle, Opcode::RcWriteLastImm,
                    Opcode::RcWriteOnlyImm};
        case Operation::Read:
            return {Opcode::RcReadRequest, Opcode::RcReadRequest, Opcode::RcReadRequest,
                    Opcode::RcReadRequest};
        case Operation::CompareSwap:
            return {Opcode::RcCompareSwap, Opcode::RcCompareSwap, Opcode::RcCompareSwap,
                    Opcode::RcCompareSwap};
        case Operation::FetchAdd:
            return {Opcode::RcFetchAdd, Opcode::RcFetchAdd, Opcode::RcFetchAdd, Opcode::RcFetchAdd};
    }
    return {};
}

}  // namespace

void RcRequester::reset(const RcRequesterConfig& config, Instant now) {
    VR_CHECK(std::has_single_bit(config.path_mtu) && config.path_mtu >= kMinPathMtu &&
             config.path_mtu <= kMaxPathMtu && config.max_rd_atomic <= kMaxRdAtomic &&
             config.timeout < 32);
    *this = RcRequester{};
    config_ = config;
    mtu_shift_ = static_cast<uint8_t>(std::countr_zero(config.path_mtu));
    retries_left_ = config.retry_count;
    rnr_left_ = config.rnr_retry;
    next_ = acked_ = response_next_ = first_sequence(config.initial_psn);
    window_.reset(next_);
    dcqcn_ = Dcqcn(config.line_rate);
    timer_start_ = progress_at_ = last_sent_ = now;
}

bool RcRequester::can_post() const {
    return phase_ == Phase::Running && tail_ - done_ < kWindowMessages;
}

void RcRequester::post(const Message& message) {
    VR_CHECK(can_post() && message.length <= kMaxMessageBytes);
    Outstanding& m = at(tail_);
    m.first = next_;
    m.remote_address = message.remote_address;
    m.swap_or_add = message.swap_or_add;
    m.compare = message.compare;
    m.id = message.id;
    m.length = message.length;
    m.packets = static_cast<uint32_t>(
        std::max<uint64_t>((uint64_t{message.length} + config_.path_mtu - 1) >> mtu_shift_, 1));
    m.rkey = message.rkey;
    m.imm = message.imm;
    m.operation = message.operation;
    m.solicited = message.solicited;
    m.fence = message.fence;
    if (response_ == tail_) {
        if (has_response(m.operation)) {
            response_next_ = m.first;
        } else {
            ++response_;
        }
    }
    next_ += m.packets;
    ++tail_;
}

RcRequester::Index RcRequester::find(Sequence sequence) const {
    Index low = done_;
    Index high = tail_;
    while (high - low > 1) {
        const Index middle = low + (high - low) / 2;
        if (at(middle).first <= sequence) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

RcRequester::Unit RcRequester::unit(const Outstanding& m, Sequence sequence) const {
    if (m.operation != Operation::Read) {
        return {sequence, sequence + 1};
    }
    const uint64_t chunk = (sequence - m.first) & ~uint64_t{kReadChunkPackets - 1};
    return {m.first + chunk, std::min(m.first + chunk + kReadChunkPackets, m.end())};
}

bool RcRequester::complete(Index i) const {
    const Outstanding& m = at(i);
    if (has_response(m.operation)) {
        return response_ - done_ > i - done_;
    }
    return m.end() <= acked_;
}

Sequence RcRequester::window_base() const {
    const Sequence base = std::min(window_.base(), acked_);
    return response_ != tail_ ? std::min(base, response_next_) : base;
}

uint32_t RcRequester::window_limit() const {
    return config_.peer == PeerKind::Vrdma ? kWindowPackets : kStandardWindowPackets;
}

bool RcRequester::room() const {
    return config_.peer == PeerKind::Standard || beyond_window_ ||
           window_.span() < swift_.window() || window_.in_flight() < swift_.window();
}

bool RcRequester::poll_transmit(Instant now, PacketPlan& plan) {
    if (phase_ == Phase::Failed) {
        return false;
    }
    if (cnp_.due()) [[unlikely]] {
        plan_cnp(now, plan);
        return true;
    }
    if (now < rnr_until_ || !room()) {
        return false;
    }
    if (pacer_.on()) [[unlikely]] {
        if (dcqcn_.advance(now)) {
            set_pace();
        }
        pacing_blocked_ = !pacer_.ready(now) && !beyond_window_;
        if (pacing_blocked_) {
            return false;
        }
    }
    if (!(window_.any_lost() ? transmit_again(now, plan) : transmit_new(now, plan))) {
        return false;
    }
    beyond_window_ = false;
    last_sent_ = now;
    plan.fields.ack_request |= !room() && plan.source == PayloadSource::Message;
    charge(plan, now);
    return true;
}

void RcRequester::charge(const PacketPlan& plan, Instant now) {
    if (!pacer_.on()) [[likely]] {
        return;
    }
    // A READ is paid for by what it asks to be sent.
    const bool read = plan.fields.opcode == wire::Opcode::RcReadRequest;
    const uint32_t bytes = kPacedHeaderBytes + (read ? plan.fields.reth.length : plan.length);
    pacer_.sent(bytes, now);
    dcqcn_.on_sent(bytes);
}

void RcRequester::plan_cnp(Instant now, PacketPlan& plan) {
    cnp_.sent(now);
    plan.fields.opcode = wire::Opcode::Cnp;
    plan.fields.becn = true;
    plan.fields.dqpn = config_.destination_qpn;
}

void RcRequester::set_pace() {
    if (config_.peer == PeerKind::Vrdma) {
        // What the timer would send again anyway need not wait longer than the timer.
        const Duration gap = std::min(swift_.gap(rtt_.smoothed()), rtt_.timeout());
        if (gap.ns != 0) {
            pacer_.set_gap(gap);
            return;
        }
    } else if (dcqcn_.limiting()) {
        pacer_.set_rate(dcqcn_.rate());
        return;
    }
    pacer_.off();
    pacing_blocked_ = false;
}

bool RcRequester::transmit_again(Instant now, PacketPlan& plan) {
    const Sequence lost = window_.first_lost();
    const Index i = find(lost);
    if (i - done_ >= fence_of_fault() - done_) {
        return false;
    }
    const Outstanding& m = at(i);
    const Unit whole = unit(m, lost);
    Unit part = whole;
    if (acked_ > whole.begin) {
        // The request was executed: what is missing are responses. A standard responder is always
        // asked for all from the first missing one on: soft-RoCE forgets what is below.
        part.begin = lost;
        if (config_.peer == PeerKind::Vrdma) {
            part.end = window_.lost_run(lost, whole.end);
        }
    }
    window_.send_again(part.begin, part.end, now);
    ++statistics_.retransmitted_packets;
    timer_start_ = std::max(timer_start_, now);
    fill(m, part.begin, part.end, plan);
    plan.retransmission = true;
    plan.fields.ack_request |= !has_response(m.operation) && !window_.any_lost();
    return true;
}

bool RcRequester::transmit_new(Instant now, PacketPlan& plan) {
    if (send_ - done_ >= fence_of_fault() - done_) {
        return false;
    }
    const Outstanding& m = at(send_);
    const Sequence from = window_.sent();
    const Unit part = unit(m, from);
    if (m.fence && from == m.first && response_ - done_ < send_ - done_) {
        return false;  // IBA 10.8.3.3
    }
    if (has_response(m.operation) && reads_exhausted()) {
        return false;
    }
    const auto span = static_cast<uint32_t>(part.end - window_base());
    if (span > window_limit()) {
        return false;
    }
    if (!unfinished()) {
        timer_start_ = progress_at_ = now;
    }
    window_.send(part.end, now);
    if (part.end == m.end()) {
        ++send_;
    }
    fill(m, part.begin, part.end, plan);
    plan.fields.ack_request |= !has_response(m.operation) && span == window_limit();
    return true;
}

bool RcRequester::reads_exhausted() const {
    const Sequence sent = window_.sent();
    uint32_t count = 0;
    for (Index i = response_; i - done_ <= send_ - done_ && i != tail_; ++i) {
        const Outstanding& m = at(i);
        if (!has_response(m.operation)) {
            continue;
        }
        if (is_atomic(m.operation)) {
            // Until its answer was taken in order: the peer keeps only the newest results.
            count += m.first < sent && m.first >= response_next_ ? 1U : 0U;
        } else {
            for (Sequence at = m.first; at < m.end() && at < sent;) {
                const Unit part = unit(m, at);
                // What is before the window has arrived; its places belong to others now.
                const Sequence open = std::max(part.begin, window_.base());
                count += open >= part.end || window_.all_delivered(open, part.end) ? 0U : 1U;
                at = part.end;
            }
        }
        if (count >= config_.max_rd_atomic) {
            return true;
        }
    }
    return false;
}

void RcRequester::fill(const Outstanding& m, Sequence from, Sequence to, PacketPlan& plan) const {
    plan.message_id = m.id;
    wire::HeaderFields& fields = plan.fields;
    fields.dqpn = config_.destination_qpn;
    fields.psn = psn_of(from).value;
    const auto packet = static_cast<uint32_t>(from - m.first);
    const uint32_t offset = packet << mtu_shift_;
    const uint32_t length =
        std::min(m.length - offset, static_cast<uint32_t>(to - from) << mtu_shift_);
    const bool first = packet == 0;
    const bool last = to == m.end();
    const Opcodes choice = opcodes(m.operation);
    fields.opcode = first  ? (last ? choice.only : choice.first)
                    : last ? choice.last
                           : choice.middle;
    if (m.operation == Operation::Read) {
        fields.reth = {m.remote_address + offset, m.rkey, length};
        return;
    }
    if (is_atomic(m.operation)) {
        fields.atomic_eth = {m.remote_address, m.rkey, m.swap_or_add, m.compare};
        return;
    }
    if (first && is_write(m.operation)) {
        fields.reth = {m.remote_address, m.rkey, m.length};
    }
    if (last) {
        fields.imm = m.imm;
        fields.invalidate_rkey = m.rkey;
        fields.solicited = m.solicited;
    }
    fields.ack_request = last || (from & (kAckRequestPackets - 1)) == 0;
    plan.source = length > 0 ? PayloadSource::Message : PayloadSource::None;
    plan.offset = offset;
    plan.length = length;
}

void RcRequester::set_fault(Index message, CompletionStatus status) {
    if (phase_ == Phase::Failed ||
        (phase_ == Phase::Failing && fault_ - done_ <= message - done_)) {
        return;
    }
    phase_ = Phase::Failing;
    fault_ = message;
    fault_status_ = status;
}

void RcRequester::fail_message(uint32_t id, CompletionStatus status) {
    for (Index i = done_; i != tail_; ++i) {
        if (at(i).id == id) {
            set_fault(i, status);
            return;
        }
    }
}

void RcRequester::fail(CompletionStatus first) {
    if (phase_ != Phase::Failed) {
        phase_ = Phase::Failed;
        fault_status_ = first;
    }
}

std::optional<Completion> RcRequester::poll_completion() {
    if (phase_ == Phase::Failing && done_ == fault_) {
        phase_ = Phase::Failed;
    }
    if (done_ == tail_) {
        return std::nullopt;
    }
    const uint32_t id = at(done_).id;
    if (phase_ == Phase::Failed) {
        ++done_;
        const Completion result{id, fault_status_};
        fault_status_ = CompletionStatus::Flushed;
        return result;
    }
    if (!complete(done_)) {
        return std::nullopt;
    }
    ++done_;
    return Completion{id, CompletionStatus::Success};
}

bool RcRequester::unfinished() const {
    return window_.outstanding() || acked_ != window_.sent();
}

bool RcRequester::drained() const {
    return done_ == tail_;
}

bool RcRequester::failed() const {
    return phase_ != Phase::Running;
}

}  // namespace vrdma::transport
