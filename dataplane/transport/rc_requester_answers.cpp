// What comes back to an RC requester: ACK, NAK and RNR NAK, SACK, READ responses, ATOMIC ACK, CNP.
//
// An answer is believed if it concerns what was sent and is not finished; the rest is stale or a
// ghost and changes nothing. Each acknowledges everything before it (IBA 9.7.5.1.1). A READ or
// atomic is finished by its data only: when something later is answered first, a standard peer has
// answered it and the answer is lost (implied NAK, IBA 9.7.5.1.1), and it is asked for again, once
// for each missing response; another loss of the same is the timer's affair. Toward a vRDMA peer
// it may be late, so it is lost when LossRecovery says so, and answers that come before it are
// held.
#include <algorithm>
#include <bit>

#include "dataplane/transport/rc_requester.h"
#include "dataplane/wire/syndrome.h"

namespace vrdma::transport {
namespace {

constexpr uint8_t kInfiniteRnrRetry = 7;  // IBA 9.7.5.2.8

Answer drop(DropReason reason) {
    return {.action = Answer::Action::Drop, .reason = reason};
}

std::optional<CompletionStatus> status_of(wire::NakCode code) {
    switch (code) {
        case wire::NakCode::InvalidRequest:
            return CompletionStatus::RemoteInvalidRequest;
        case wire::NakCode::RemoteAccessError:
            return CompletionStatus::RemoteAccess;
        case wire::NakCode::RemoteOperationalError:
            return CompletionStatus::RemoteOperational;
        case wire::NakCode::PsnSequenceError:
        case wire::NakCode::InvalidRdRequest:
            break;
    }
    return std::nullopt;
}

}  // namespace

Answer RcRequester::receive(const wire::Packet& packet, Instant now) {
    const wire::OpcodeInfo& info = packet.info();
    if (info.service != wire::Service::Rc && info.service != wire::Service::Other) {
        return drop(DropReason::WrongService);
    }
    if (phase_ == Phase::Failed) {
        return drop(DropReason::Failed);
    }
    received_at_ = now;
    const uint32_t in_flight_before = window_.in_flight();
    Answer answer;
    switch (info.kind) {
        case wire::Kind::Acknowledge:
            answer = on_acknowledge(packet, now);
            break;
        case wire::Kind::Sack:
            if (packet.sack.echo_valid) {
                const Sequence echo = expand(Psn::of(packet.sack.echo_psn), acked_);
                if (echo < acked_) {
                    second_copy(echo, false);
                }
            }
            answer = on_acknowledge(packet, now);
            if (answer.reason == DropReason::StaleAcknowledge) {
                answer = {};
            }
            // As long as we take the peer for a standard one, the rest of it says nothing: what it
            // only holds it may still refuse, and go-back-N would not notice.
            if (answer.reason != DropReason::GhostAcknowledge && config_.peer == PeerKind::Vrdma) {
                take_sack(packet.sack, now);
            }
            break;
        case wire::Kind::ReadResponse:
        case wire::Kind::AtomicAcknowledge:
            answer = on_response(packet, now);
            break;
        case wire::Kind::Cnp:
            ++statistics_.congestion_notifications;
            if (config_.peer == PeerKind::Standard) {
                dcqcn_.on_cnp(now);
                set_pace();
            }
            break;
        case wire::Kind::Send:
        case wire::Kind::Write:
        case wire::Kind::ReadRequest:
        case wire::Kind::Atomic:
        case wire::Kind::Probe:
            return drop(DropReason::NotForRequester);
    }
    if (config_.peer == PeerKind::Vrdma) {
        tell_swift(in_flight_before, now);
    }
    detect_losses(now);
    return answer;
}

void RcRequester::second_copy(Sequence sequence, bool response) {
    if (config_.peer == PeerKind::Vrdma && sequence + kWindowPackets >= window_.sent() &&
        window_.retransmitted(sequence)) {
        ++statistics_.spurious_retransmissions;
        // Of a response: its request may have been the late one.
        requests_.on_needless(rtt_, received_at_);
        if (response) {
            responses_.on_needless(rtt_, received_at_);
        }
        swift_.on_needless(received_at_, rtt_.smoothed());
    }
}

void RcRequester::tell_swift(uint32_t in_flight_before, Instant now) {
    const uint32_t in_flight = window_.in_flight();
    if (in_flight < in_flight_before) {
        // The peer lives, if only behind a hole: the hole is LossRecovery's affair, not the
        // timer's.
        timer_start_ = std::max(timer_start_, now);
        backoff_ = 0;
        probed_ = false;
    }
    if (news_rtt_.ns > 0) {
        rtt_.sample(news_rtt_);
    }
    if (!rtt_.known()) {
        return;
    }
    swift_.on_ack({.now = now,
                   .rtt = news_rtt_,
                   .minimum_rtt = rtt_.minimum(),
                   .smoothed_rtt = rtt_.smoothed(),
                   .delivered = in_flight_before > in_flight ? in_flight_before - in_flight : 0,
                   .received = news_received_,
                   .marked = news_marked_});
    news_rtt_ = {};
    news_received_ = news_marked_ = 0;
    set_pace();
}

Answer RcRequester::on_acknowledge(const wire::Packet& packet, Instant now) {
    const uint8_t value = wire::aeth_value(packet.aeth.syndrome);
    const Sequence sequence = expand(Psn::of(packet.bth.psn), acked_);
    if (wire::aeth_kind(packet.aeth.syndrome) == wire::AethKind::Ack) {
        // Credits are not looked at: RNR NAKs do their work (IBA 9.7.7.2).
        if (sequence >= window_.sent()) {
            return drop(DropReason::GhostAcknowledge);
        }
        const bool news = sequence >= acked_;
        acknowledge(sequence + 1, now);
        if (!news) {
            return drop(DropReason::StaleAcknowledge);
        }
        if (response_ != tail_ && response_next_ < acked_ &&
            unit(at(response_), response_next_).end <= sequence) {
            implied_nak();
        }
        return {};
    }
    if (sequence < acked_) {
        return drop(DropReason::StaleAcknowledge);
    }
    if (sequence >= window_.sent()) {
        return drop(DropReason::GhostAcknowledge);
    }
    switch (wire::aeth_kind(packet.aeth.syndrome)) {
        case wire::AethKind::RnrNak:
            return on_rnr_nak(sequence, value, now);
        case wire::AethKind::Nak:
            return on_nak(sequence, value, now);
        case wire::AethKind::Ack:
        case wire::AethKind::Reserved:
            break;
    }
    return drop(DropReason::ReservedSyndrome);
}

Answer RcRequester::on_nak(Sequence sequence, uint8_t code, Instant now) {
    if (code == static_cast<uint8_t>(wire::NakCode::PsnSequenceError)) {
        acknowledge(sequence, now);
        if (now < rnr_until_) {
            return drop(DropReason::RnrWait);
        }
        ++statistics_.sequence_naks;
        go_back(window_.base());
        return {};
    }
    const std::optional<CompletionStatus> status = status_of(static_cast<wire::NakCode>(code));
    if (!status) {
        return drop(DropReason::ReservedSyndrome);
    }
    acknowledge(sequence, now);
    set_fault(find(sequence), *status);
    return {};
}

Answer RcRequester::on_rnr_nak(Sequence sequence, uint8_t timer_code, Instant now) {
    if (now < rnr_until_) {
        return drop(DropReason::RnrWait);
    }
    acknowledge(sequence, now);
    ++statistics_.rnr_naks;
    const Index i = find(sequence);
    if (rnr_left_ == 0) {
        set_fault(i, CompletionStatus::RnrRetryExceeded);
        return {};
    }
    if (config_.rnr_retry != kInfiniteRnrRetry) {
        --rnr_left_;
    }
    rnr_until_ = now + wire::rnr_delay(timer_code);
    timer_start_ = progress_at_ = rnr_until_;
    if (config_.peer == PeerKind::Vrdma) {
        const Unit part = unit(at(i), sequence);  // what came behind it is held over there
        window_.lose_again(part.begin, part.end);
    } else {
        go_back(window_.base());
    }
    return {};
}

void RcRequester::take_sack(const wire::SackEth& sack, Instant now) {
    if (sack.echo_valid) {
        const Sequence echo = expand(Psn::of(sack.echo_psn), window_.sent());
        if (echo < window_.sent() && echo + kWindowPackets >= window_.sent() &&
            window_.timed(echo)) {
            const Duration rtt{window_.sent_at(echo).age(now).ns - int64_t{sack.hold_ns}};
            if (rtt.ns > 0) {
                news_rtt_ = rtt;
            }
        }
    }
    if (static_cast<int32_t>(sack.received - peer_received_) < 0) {
        return;  // overtaken: what it lists may have been given up since
    }
    news_received_ += sack.received - peer_received_;
    news_marked_ += sack.ce_marked - peer_marked_;
    peer_received_ = sack.received;
    peer_marked_ = sack.ce_marked;
    const Sequence base = expand(Psn::of(sack.base_psn), acked_);
    // The peer had it, out of order, and refused it when its turn came: the RNR NAK is lost.
    if (base == acked_ && base < window_.sent() &&
        (window_.delivered(base) || window_.waiting(base))) {
        const Unit refused = unit(at(find(base)), base);
        window_.lose_again(refused.begin, refused.end);
    }
    for (size_t w = 0; w < sack.held.size(); ++w) {
        for (uint64_t bits = sack.held[w]; bits != 0; bits &= bits - 1) {
            const Sequence s = base + 1 + w * 64 + static_cast<uint32_t>(std::countr_zero(bits));
            if (s < acked_ || s >= window_.sent() || window_.delivered(s)) {
                continue;
            }
            arrived(s, s + 1, now, Source::Acknowledgement);
            if (has_response(at(find(s)).operation)) {
                window_.wait(s, s + 1);
            } else {
                window_.deliver(s, s + 1);
            }
        }
    }
}

void RcRequester::acknowledge(Sequence upto, Instant now, Source source) {
    if (upto <= acked_) {
        return;
    }
    while (acked_ != upto) {
        const Outstanding& m = at(ack_);
        const Sequence to = std::min(m.end(), upto);
        if (has_response(m.operation)) {
            arrived(acked_, to, now, source);
            window_.stop_waiting(acked_, to, now);
        } else {
            arrived(acked_, to, now, source);
            window_.deliver(acked_, to);
        }
        acked_ = to;
        if (to == m.end()) {
            ++ack_;
        }
    }
    progress(now);
}

void RcRequester::arrived(Sequence from, Sequence end, Instant now, Source source) {
    if (config_.peer == PeerKind::Vrdma) {
        if (window_.any_lost(from, end)) {
            requests_.on_needless(rtt_, now);
            swift_.on_needless(now, rtt_.smoothed());
        }
        // A response says that its request was executed, but not what else was there by then: those
        // behind it may have arrived long ago and have their answers in the queue behind this one.
        if (source == Source::Acknowledgement) {
            window_.each_flying(from, end, [this, now](Sequence s) {
                if (!window_.waiting(s)) {
                    requests_.on_delivered(window_, s, rtt_, now);
                }
            });
        }
    }
}

void RcRequester::answered(Sequence sequence, Instant now) {
    if (window_.delivered(sequence)) {
        return;  // it was held
    }
    if (config_.peer == PeerKind::Vrdma) {
        responses_.on_response(window_, sequence, now);
        if (window_.lost(sequence)) {
            responses_.on_needless(rtt_, now);
            swift_.on_needless(now, rtt_.smoothed());
        } else {
            responses_.on_delivered(window_, sequence, rtt_, now);
        }
        if (sequence == unit(at(find(sequence)), sequence).begin && window_.timed(sequence)) {
            news_rtt_ = window_.sent_at(sequence).age(now);
        }
    }
    window_.deliver(sequence, sequence + 1);
}

void RcRequester::progress(Instant now) {
    timer_start_ = progress_at_ = std::max(now, rnr_until_);
    retries_left_ = config_.retry_count;
    rnr_left_ = config_.rnr_retry;
    backoff_ = 0;
    probed_ = false;
}

void RcRequester::implied_nak() {
    if (config_.peer == PeerKind::Vrdma || implied_for_ == response_next_) {
        return;
    }
    implied_for_ = response_next_;
    ++statistics_.implied_naks;
    go_back(window_.base());
}

void RcRequester::go_back(Sequence from) {
    window_.lose(from, window_.sent());
}

void RcRequester::detect_losses(Instant now) {
    if (config_.peer == PeerKind::Vrdma) {
        // Before acked_ only responses can be missing, behind it only requests.
        uint32_t lost = responses_.detect(window_, window_.base(), acked_, rtt_, now).count();
        const WindowBits requests = requests_.detect(window_, acked_, window_.sent(), rtt_, now);
        for (Sequence s = requests.first_set(acked_, window_.sent()); s != window_.sent();
             s = requests.first_set(s, window_.sent())) {
            s = unit(at(find(s)), s).end;  // a READ is one packet
            ++lost;
        }
        if (lost > 0) {
            swift_.on_loss({.now = now, .smoothed_rtt = rtt_.smoothed(), .packets = lost});
            set_pace();
        }
    }
}

Answer RcRequester::on_response(const wire::Packet& packet, Instant now) {
    if (response_ == tail_) {
        return drop(DropReason::ResponseUnexpected);
    }
    const Sequence sequence = expand(Psn::of(packet.bth.psn), response_next_);
    if (sequence < response_next_) {
        second_copy(sequence, true);
        return drop(DropReason::Duplicate);
    }
    if (sequence >= window_.sent()) {
        return drop(DropReason::ResponseUnexpected);
    }
    const Outstanding& m = at(sequence == response_next_ ? response_ : find(sequence));
    const wire::OpcodeInfo& info = packet.info();
    if (!has_response(m.operation) ||
        is_atomic(m.operation) != (info.kind == wire::Kind::AtomicAcknowledge)) {
        return drop(DropReason::ResponseUnexpected);
    }
    if (info.has(wire::extension::kAeth) &&
        wire::aeth_kind(packet.aeth.syndrome) != wire::AethKind::Ack) {
        return drop(DropReason::ReservedSyndrome);
    }
    const Unit part = unit(m, sequence);
    if (m.operation == Operation::Read) {
        if (payload_of(m, sequence) != packet.payload.size()) {
            return drop(DropReason::ResponseLength);
        }
        // A standard peer is always asked for all up to the end of the unit; it may answer a
        // repeated request with a middle packet first (soft-RoCE does).
        if (config_.peer == PeerKind::Standard && info.ends() != (sequence + 1 == part.end)) {
            return drop(DropReason::ResponseOpcode);
        }
    }
    ++news_received_;
    if (packet.network.ecn == wire::Ecn::Experienced) {
        ++news_marked_;
        if (config_.peer == PeerKind::Standard) {
            cnp_.on_marked(now);
        }
    }
    acknowledge(part.end, now, Source::Response);
    if (sequence == response_next_) {
        return on_next_response(packet, now);
    }
    if (config_.peer == PeerKind::Standard) {
        implied_nak();
        return drop(DropReason::PsnAhead);
    }
    if (held_.holds(sequence)) {
        second_copy(sequence, true);
        return drop(DropReason::Duplicate);
    }
    return {.action = Answer::Action::Hold, .sequence = sequence};
}

uint32_t RcRequester::payload_of(const Outstanding& m, Sequence sequence) const {
    const uint32_t offset = static_cast<uint32_t>(sequence - m.first) << mtu_shift_;
    return std::min(m.length - offset, config_.path_mtu);
}

Answer RcRequester::on_next_response(const wire::Packet& packet, Instant now) {
    const Outstanding& m = at(response_);
    const Sequence sequence = response_next_;
    answered(sequence, now);
    held_.release(sequence, sequence + 1);
    progress(now);

    Answer answer;
    answer.message_id = m.id;
    if (m.operation == Operation::Read) {
        answer.action = Answer::Action::Place;
        answer.offset = static_cast<uint32_t>(sequence - m.first) << mtu_shift_;
        answer.length = payload_of(m, sequence);
    } else {
        answer.action = Answer::Action::Original;
        answer.length = 8;
        answer.original = packet.original;
    }

    ++response_next_;
    if (response_next_ == m.end()) {
        do {
            ++response_;
        } while (response_ != tail_ && !has_response(at(response_).operation));
        if (response_ != tail_) {
            response_next_ = at(response_).first;
        }
    }
    return answer;
}

void RcRequester::hold(Sequence sequence, HeldPacket packet) {
    const uint32_t in_flight_before = window_.in_flight();
    held_.hold(sequence, sequence + 1, packet);
    answered(sequence, received_at_);
    tell_swift(in_flight_before, received_at_);
    detect_losses(received_at_);
}

std::optional<HeldPacket> RcRequester::next_held() {
    return response_ == tail_ ? std::nullopt : held_.take(response_next_);
}

}  // namespace vrdma::transport
