// Posting, sending, completing, and the timers of an RC requester; what comes back is in
// rc_answers.cpp.
//
// Every packet has its number from the moment its message is posted. Numbers are sent once in order
// (send_, SendWindow::sent()); what is found lost is sent again before anything new. Go-back-N and
// selective repeat differ only in what they find lost: everything from a point on, or the holes.
//
// Two frontiers move forward: acked_ (the peer has executed everything before it) and
// response_next_ (the oldest response that is missing). A message is complete when the one that
// concerns it has passed it, and completes in the order of posting. A READ is sent as requests of
// kReadChunkPackets responses; each of them is one of the max_rd_atomic.
//
// Toward a standard peer there is one timer, the queue pair's `timeout`, and `retry_count` of them
// without progress end the connection (IBA 9.7.6.1.3). Toward a vRDMA peer the timers follow the
// measured round trip, and the same product only bounds the time without progress.
#include "dataplane/transport/rc_requester.h"

#include <algorithm>
#include <bit>

#include "dataplane/base/check.h"

namespace vrdma::transport {
namespace {

constexpr int64_t kAckTimeoutUnitNs = 4096;  // IBA 9.7.6.1.3
// A shorter timeout than a software peer can answer would only repeat; hardware has such a floor,
// too.
constexpr Duration kMinAckTimeout = Duration::microseconds(500);
// timeout 0 means that the connection never ends for silence, not that a loss is never repaired.
constexpr Duration kUnboundedRetry = Duration::milliseconds(100);
constexpr uint8_t kMaxBackoff = 6;
// RFC 8985 7.2: two round trips, and what a receiver may take to come around to answering.
constexpr Duration kProbeSlack = Duration::microseconds(50);

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
             config.path_mtu <= kMaxPathMtu && config.max_rd_atomic <= kMaxRdAtomic);
    *this = RcRequester{};
    config_ = config;
    mtu_shift_ = static_cast<uint8_t>(std::countr_zero(config.path_mtu));
    retries_left_ = config.retry_count;
    rnr_left_ = config.rnr_retry;
    next_ = acked_ = response_next_ = first_sequence(config.initial_psn);
    window_.reset(next_);
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

std::optional<PacketPlan> RcRequester::poll_transmit(Instant now) {
    if (phase_ == Phase::Failed || now < rnr_until_) {
        return std::nullopt;
    }
    std::optional<PacketPlan> plan = window_.any_lost() ? transmit_again(now) : transmit_new(now);
    if (plan) {
        beyond_window_ = false;
        last_sent_ = now;
    }
    return plan;
}

std::optional<PacketPlan> RcRequester::transmit_again(Instant now) {
    const Sequence lost = window_.first_lost();
    const Index i = find(lost);
    if (i - done_ >= fence_of_fault() - done_) {
        return std::nullopt;
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
    PacketPlan result = plan(m, part.begin, part.end);
    result.retransmission = true;
    result.fields.ack_request |= !has_response(m.operation) && !window_.any_lost();
    return result;
}

std::optional<PacketPlan> RcRequester::transmit_new(Instant now) {
    if (send_ - done_ >= fence_of_fault() - done_) {
        return std::nullopt;
    }
    const Outstanding& m = at(send_);
    const Sequence from = window_.sent();
    const Unit part = unit(m, from);
    if (m.fence && from == m.first && response_ - done_ < send_ - done_) {
        return std::nullopt;  // IBA 10.8.3.3
    }
    if (has_response(m.operation) && reads_outstanding_ >= config_.max_rd_atomic) {
        return std::nullopt;
    }
    const auto span = static_cast<uint32_t>(part.end - window_base());
    if (span > window_limit()) {
        return std::nullopt;
    }
    if (!unfinished()) {
        timer_start_ = progress_at_ = now;
    }
    window_.send(part.end, now);
    if (has_response(m.operation)) {
        ++reads_outstanding_;
    }
    if (part.end == m.end()) {
        ++send_;
    }
    PacketPlan result = plan(m, part.begin, part.end);
    result.fields.ack_request |= !has_response(m.operation) && span == window_limit();
    return result;
}

PacketPlan RcRequester::plan(const Outstanding& m, Sequence from, Sequence to) const {
    PacketPlan result;
    result.message_id = m.id;
    wire::HeaderFields& fields = result.fields;
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
        return result;
    }
    if (is_atomic(m.operation)) {
        fields.atomic_eth = {m.remote_address, m.rkey, m.swap_or_add, m.compare};
        return result;
    }
    if (first && is_write(m.operation)) {
        fields.reth = {m.remote_address, m.rkey, m.length};
    }
    if (last) {
        fields.imm = m.imm;
        fields.solicited = m.solicited;
    }
    fields.ack_request = last || (from & (kAckRequestPackets - 1)) == 0;
    result.source = length > 0 ? PayloadSource::Message : PayloadSource::None;
    result.offset = offset;
    result.length = length;
    return result;
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

void RcRequester::set_peer(PeerKind peer, Instant now) {
    config_.peer = peer;
    timer_start_ = std::max(timer_start_, now);
}

Duration RcRequester::ack_timeout() const {
    return std::max(Duration::nanoseconds(kAckTimeoutUnitNs << config_.timeout), kMinAckTimeout);
}

Instant RcRequester::timer_deadline() const {
    if (!unfinished()) {
        return Instant::never();
    }
    if (config_.peer == PeerKind::Standard) {
        return timer_start_ + (unbounded() ? kUnboundedRetry : ack_timeout());
    }
    const Duration measured{std::min(rtt_.timeout().ns << backoff_, kMaxTimeout.ns)};
    if (unbounded()) {
        return timer_start_ + measured;
    }
    return std::min(timer_start_ + std::min(measured, ack_timeout()),
                    progress_at_ + ack_timeout() * (config_.retry_count + 1));
}

Instant RcRequester::probe_deadline() const {
    if (config_.peer != PeerKind::Vrdma || probed_ || !rtt_.known() || !unfinished() ||
        window_.any_lost()) {
        return Instant::never();
    }
    return last_sent_ + Duration{2 * rtt_.smoothed().ns + kProbeSlack.ns};
}

Instant RcRequester::next_deadline() const {
    if (phase_ == Phase::Failed) {
        return Instant::never();
    }
    const Instant timers = std::min(timer_deadline(), recovery_deadline());
    if (rnr_until_.ns != 0) {
        return std::min(timers, rnr_until_);
    }
    return std::min(timers, probe_deadline());
}

void RcRequester::on_deadline(Instant now) {
    if (phase_ == Phase::Failed) {
        return;
    }
    if (rnr_until_.ns != 0) {
        if (now < rnr_until_) {
            return;
        }
        rnr_until_ = {};  // poll_transmit() goes on
    }
    if (recovery_deadline() <= now) {
        detect_losses(now);
    }
    if (timer_deadline() <= now) {
        on_timeout(now);
    } else if (probe_deadline() <= now) {
        on_probe();
    }
}

void RcRequester::on_timeout(Instant now) {
    ++statistics_.timeouts;
    if (!unbounded()) {
        const bool exhausted =
            config_.peer == PeerKind::Standard
                ? retries_left_ == 0
                : now - progress_at_ >= ack_timeout() * (config_.retry_count + 1);
        if (exhausted) {
            set_fault(done_, CompletionStatus::RetryExceeded);
            return;
        }
        if (retries_left_ > 0) {
            --retries_left_;
        }
    }
    if (config_.peer == PeerKind::Vrdma) {
        backoff_ = std::min<uint8_t>(static_cast<uint8_t>(backoff_ + 1), kMaxBackoff);
        requests_.on_timeout();
        responses_.on_timeout();
        renege();
    }
    implied_for_ = 0;
    go_back(window_.base());
    timer_start_ = now;
}

void RcRequester::renege() {
    // What the peer only held it may have lost by now.
    for (Index i = ack_; i != tail_ && at(i).first < window_.sent(); ++i) {
        if (!has_response(at(i).operation)) {
            window_.lose_again(std::max(acked_, at(i).first),
                               std::min(window_.sent(), at(i).end()));
        }
    }
}

void RcRequester::on_probe() {
    // The newest of what flies: its answer tells about all before it (RFC 8985 7.3).
    probed_ = true;
    beyond_window_ = true;
    ++statistics_.tail_probes;
    Sequence newest = window_.sent();
    window_.each_flying(window_.base(), window_.sent(), [&](Sequence s) {
        if (!window_.waiting(s)) {
            newest = s;
        }
    });
    if (newest != window_.sent()) {
        window_.lose(newest, newest + 1);
    } else if (acked_ != window_.sent() && !window_.flying(newest - 1)) {
        // All is over there, but the last acknowledgement was lost.
        window_.lose_again(newest - 1, newest);
    }
}

}  // namespace vrdma::transport
