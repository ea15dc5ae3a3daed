// Below the target delay the window grows by one packet a round trip; above it, it shrinks in
// proportion to the excess, at most once a round trip and at most by half. The target is the path's
// own recent minimum and a fixed allowance: receivers here are threads, which answer once a turn.
//
// A lost packet alone is no sign of congestion: this transport exists for networks that lose
// packets. It counts when a large share of a round is lost, or when the timer had to find it, and
// never makes the window as small as delay and marks do. When it turns out that nothing was lost,
// the window is again what it was (as RFC 4015 does for TCP): a network that turns packets around
// would otherwise begin with the smallest window, and grow it by a packet a round trip.
#include "dataplane/transport/swift.h"

#include <algorithm>

namespace vrdma::transport {
namespace {

// Half of what the receiver can hold: the other half is for going on while a loss is repaired.
constexpr double kMaxWindow = kWindowPackets / 2;
constexpr double kMinWindow = 0.01;        // Swift 3.4: 1 packet in 100 round trips
constexpr double kAdditiveIncrease = 1;    // packets a round trip (Swift, section 5: 1.0)
constexpr double kBeta = 0.8;              // Swift, section 5
constexpr double kMaxDecrease = 0.5;       // Swift, section 5: max_mdf
constexpr double kMarkGain = 1.0 / 16;     // DCTCP, RFC 8257 4.2: g
constexpr double kCongestiveLoss = 0.125;  // of a round
constexpr double kMinWindowByLoss = 8;
constexpr double kMinWindowByTimeout = 2;
// A needless repetition is known when its second copy is reported: a round trip and the queue that
// the repetitions made. Later it speaks of another loss.
constexpr int64_t kUndoRounds = 8;
// Queueing that is accepted: several turns of two busy workers and a full window of another queue
// pair at 40 Gb/s.
constexpr Duration kQueueAllowance = Duration::microseconds(150);

}  // namespace

Duration Swift::gap(Duration smoothed_rtt) const {
    if (window_ >= 1) {
        return {};
    }
    return {static_cast<int64_t>(static_cast<double>(smoothed_rtt.ns) / window_)};
}

bool Swift::may_decrease(Instant now, Duration rtt) const {
    return decreased_at_.ns == 0 || now - decreased_at_ >= rtt;
}

void Swift::decrease(double factor, Instant now) {
    window_ = std::max(window_ * factor, kMinWindow);
    decreased_at_ = now;
    starting_ = false;
    before_loss_ = 0;
}

void Swift::on_ack(const AckEvent& event) {
    received_ += event.received;
    marked_ += event.marked;
    delivered_ += event.delivered;
    if (event.marked > 0) {
        starting_ = false;
        before_loss_ = 0;
    }
    if (event.rtt.ns > 0) {
        const int64_t target = event.minimum_rtt.ns + kQueueAllowance.ns;
        if (event.rtt.ns > target && may_decrease(event.now, event.smoothed_rtt)) {
            const double excess =
                static_cast<double>(event.rtt.ns - target) / static_cast<double>(event.rtt.ns);
            decrease(std::max(1 - kBeta * excess, 1 - kMaxDecrease), event.now);
        }
    }
    if (starting_) {
        window_ = std::min(window_ + event.delivered, kMaxWindow);
    }
    if (event.now - round_began_ >= event.smoothed_rtt) {
        end_round(event);
    }
}

void Swift::end_round(const AckEvent& event) {
    if (received_ > 0) {
        const double share = static_cast<double>(marked_) / static_cast<double>(received_);
        marked_share_ += (std::min(share, 1.0) - marked_share_) * kMarkGain;
    }
    if (marked_ > 0 && may_decrease(event.now, event.smoothed_rtt)) {
        decrease(1 - marked_share_ / 2, event.now);  // RFC 8257 3.3
    } else if (!starting_ && decreased_at_ < round_began_) {
        // Once a round instead of ai/window at each packet: the same sum, without dividing.
        window_ =
            std::min(window_ + std::min(kAdditiveIncrease, double{1} * delivered_), kMaxWindow);
    }
    round_began_ = event.now;
    received_ = marked_ = delivered_ = lost_ = 0;
}

void Swift::on_loss(const LossEvent& event) {
    lost_ += event.packets;
    const double least = event.timeout ? kMinWindowByTimeout : kMinWindowByLoss;
    const bool many = lost_ > kCongestiveLoss * window_;
    if ((event.timeout || many) && window_ > least && may_decrease(event.now, event.smoothed_rtt)) {
        const double before = std::max(window_, before_loss_);
        const bool starting = starting_ || started_before_loss_;
        decrease(std::max(1 - kMaxDecrease, least / window_), event.now);
        before_loss_ = before;
        started_before_loss_ = starting;
    }
}

void Swift::on_needless(Instant now, Duration smoothed_rtt) {
    const bool fresh = now - decreased_at_ <= smoothed_rtt * kUndoRounds;
    if (fresh && before_loss_ > window_) {
        window_ = before_loss_;
        starting_ = started_before_loss_;
    }
    before_loss_ = 0;
    started_before_loss_ = false;
}

}  // namespace vrdma::transport
