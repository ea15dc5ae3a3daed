// The timers of an RC requester.
//
// Toward a standard peer there is one, the queue pair's `timeout`, and `retry_count` of them
// without progress end the connection (IBA 9.7.6.1.3). Toward a vRDMA peer the timers follow the
// measured round trip: a probe of the tail first, then everything again, at growing intervals; the
// same product only bounds the time without progress. The time that a receiver asked for by RNR NAK
// stops them all.
#include <algorithm>

#include "dataplane/transport/rc_requester.h"

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

}  // namespace

void RcRequester::set_peer(PeerKind peer, Instant now) {
    if (config_.peer == PeerKind::Vrdma && peer == PeerKind::Standard) {
        renege();
    }
    config_.peer = peer;
    set_pace();
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
    if (config_.peer != PeerKind::Vrdma || probed_ || !rtt_.known() || !unfinished()) {
        return Instant::never();
    }
    return last_sent_ + Duration{2 * rtt_.smoothed().ns + kProbeSlack.ns};
}

Instant RcRequester::next_deadline() const {
    if (phase_ == Phase::Failed) {
        return Instant::never();
    }
    Instant timers = std::min(timer_deadline(), recovery_deadline());
    if (pacing_blocked_) {
        timers = std::min(timers, pacer_.next());
    }
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
    if (pacing_blocked_ && pacer_.next() <= now) {
        pacing_blocked_ = false;
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
        swift_.on_loss({.now = now,
                        .smoothed_rtt = rtt_.smoothed(),
                        .packets = window_.in_flight(),
                        .timeout = true});
        set_pace();
        beyond_window_ = true;  // the timer is pace enough for the first one
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
    if (window_.any_lost()) {
        return;  // it waits for room, and what flies may be lost, too
    }
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
