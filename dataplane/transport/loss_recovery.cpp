// The rules of RFC 8985 6.2, for a window of bits. Times of sending are compared first, sequence
// numbers break ties (all responses of a READ have the time of its request).
//
// The reordering window begins at a quarter of the minimum round trip and doubles with every
// packet that was taken for lost without need. It shrinks again after a calm while. The caller
// knows what was needless by the second copy that arrives (RFC 8985 learns it from D-SACK).
#include "dataplane/transport/loss_recovery.h"

#include <algorithm>

namespace vrdma::transport {
namespace {

constexpr uint8_t kFirstWindowQuarters = 1;
constexpr uint8_t kMaxWindowQuarters = 128;
// The window never exceeds a smoothed round trip (RFC 8985 6.2.1), or this where round trips are
// shorter than what a network reorders by: 64 packets of 4 KiB at 20 Gb/s.
constexpr Duration kMaxShortWindow = Duration::microseconds(100);
constexpr uint32_t kCalmDeliveries = 16 * kWindowPackets;  // RFC 8985: 16 recoveries

}  // namespace

Duration LossRecovery::reorder_window(const RttEstimator& rtt) const {
    if (!rtt.known()) {
        return kInitialTimeout;
    }
    return {std::min(rtt.minimum().ns / 4 * window_quarters_,
                     std::max(rtt.smoothed().ns, kMaxShortWindow.ns))};
}

void LossRecovery::on_response(SendWindow& window, Sequence sequence, Instant now) {
    if (!window.retransmitted(sequence) && sequence > in_order_) {
        window.overtake(std::max(in_order_, window.base()), sequence, now);
        in_order_ = sequence;
    }
}

void LossRecovery::on_delivered(const SendWindow& window, Sequence sequence,
                                const RttEstimator& rtt, Instant now) {
    const Stamp sent = window.sent_at(sequence);
    if (++calm_ >= kCalmDeliveries) {
        calm_ = 0;
        window_quarters_ =
            std::max<uint8_t>(static_cast<uint8_t>(window_quarters_ / 2), kFirstWindowQuarters);
    }
    // The time of an answer to what had waited says nothing, and what came sooner than it can was
    // sent earlier (RFC 8985 6.2, step 2).
    if (!window.retransmitted(sequence) ? !window.timed(sequence)
                                        : sent.age(now) < rtt.minimum() && rtt.known()) {
        return;
    }
    const int32_t later = any_ ? sent.compare(newest_sent_) : 1;
    if (later > 0 || (later == 0 && sequence > newest_)) {
        any_ = true;
        newest_ = sequence;
        newest_sent_ = sent;
        newest_rtt_ = sent.age(now);
    }
}

void LossRecovery::on_needless(const RttEstimator& rtt, Instant now) {
    calm_ = 0;
    if (needless_at_.ns != 0 && now - needless_at_ < rtt.minimum()) {
        return;
    }
    needless_at_ = now;
    if (window_quarters_ < kMaxWindowQuarters) {
        window_quarters_ = static_cast<uint8_t>(window_quarters_ * 2);
    }
}

WindowBits LossRecovery::detect(SendWindow& window, Sequence from, Sequence end,
                                const RttEstimator& rtt, Instant now) {
    deadline_ = Instant::never();
    WindowBits lost;
    if ((!any_ && in_order_ == 0) || from >= end) {
        return lost;
    }
    // The time of the newest alone may be that of an answer that had its turn early.
    const Duration patience{std::max(newest_rtt_.ns, rtt.smoothed().ns) + reorder_window(rtt).ns};
    const auto judge = [&](Sequence s, Duration age, Duration limit) {
        if (age >= limit) {
            window.lose(s, s + 1);
            lost.set(s);
        } else {
            deadline_ = std::min(deadline_, now + Duration{limit.ns - age.ns + Stamp::kTick.ns});
        }
    };
    const Duration overtaken_patience = reorder_window(rtt);
    window.each_flying(from, end, [&](Sequence s) {
        const Stamp sent = window.sent_at(s);
        if (window.overtaken(s)) {
            judge(s, sent.age(now), overtaken_patience);
            return;
        }
        const int32_t later = sent.compare(newest_sent_);
        if (!any_ || later > 0 || (later == 0 && s > newest_) || window.waiting(s)) {
            return;
        }
        judge(s, sent.age(now), patience);
    });
    return lost;
}

void LossRecovery::on_timeout() {
    any_ = false;
    deadline_ = Instant::never();
}

}  // namespace vrdma::transport
