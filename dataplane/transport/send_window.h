// What was sent and what became of it: every sequence number between the oldest unfinished and the
// newest sent is flying, lost (to be sent again) or delivered; and when it was sent last.
//
// A number of a READ stands for one response, and is delivered when the response is here.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "dataplane/base/time.h"
#include "dataplane/transport/limits.h"
#include "dataplane/transport/psn.h"
#include "dataplane/transport/window_bits.h"

namespace vrdma::transport {

// Time in 32 bits, to compare with times of the last two minutes.
class Stamp {
  public:
    // An age is short of the truth by less than this.
    static constexpr Duration kTick{32};

    Stamp() = default;
    explicit Stamp(Instant at) : ticks_(static_cast<uint32_t>(at.ns >> kTickBits)) {}
    [[nodiscard]] Duration age(Instant now) const {
        const uint32_t ticks = static_cast<uint32_t>(now.ns >> kTickBits) - ticks_;
        return Duration{int64_t{ticks} << kTickBits};
    }
    // Negative: this one is the earlier.
    [[nodiscard]] int32_t compare(Stamp other) const {
        return static_cast<int32_t>(ticks_ - other.ticks_);
    }

  private:
    static constexpr int kTickBits = 5;  // wraps after 137 s
    static_assert(kTick.ns == 1 << kTickBits);
    uint32_t ticks_ = 0;
};

class SendWindow {
  public:
    void reset(Sequence first) {
        *this = SendWindow{};
        base_ = sent_ = first;
    }

    // The oldest that is not delivered; sent() when there is none.
    [[nodiscard]] Sequence base() const { return base_; }
    // The next that was never sent.
    [[nodiscard]] Sequence sent() const { return sent_; }
    [[nodiscard]] bool outstanding() const { return base_ != sent_; }
    // No fewer than in_flight(), and cheaper to have.
    [[nodiscard]] uint64_t span() const { return sent_ - base_; }
    [[nodiscard]] uint32_t in_flight() const { return flying_.count(); }

    // [sent(), end) leaves for the first time.
    void send(Sequence end, Instant now) {
        flying_.set_range(sent_, end);
        retransmitted_.clear_range(sent_, end);
        forget_delay(sent_, end);
        stamp(sent_, end, now);
        sent_ = end;
    }
    // [from, end) leaves again.
    void send_again(Sequence from, Sequence end, Instant now) {
        lost_.clear_range(from, end);
        flying_.set_range(from, end);
        retransmitted_.set_range(from, end);
        forget_delay(from, end);
        stamp(from, end, now);
    }
    void deliver(Sequence from, Sequence end) {
        flying_.clear_range(from, end);
        lost_.clear_range(from, end);
        if (from <= base_) {
            base_ = std::min(flying_.first_set(base_, sent_), lost_.first_set(base_, sent_));
        }
    }
    // What still flies of [from, end) must be sent again.
    void lose(Sequence from, Sequence end) { flying_.move_range(from, end, lost_); }
    // [from, end), delivered or not, must be sent again.
    void lose_again(Sequence from, Sequence end) {
        flying_.clear_range(from, end);
        forget_delay(from, end);
        lost_.set_range(from, end);
        base_ = std::min(base_, from);
    }
    // The peer has the request, out of order: it will be executed, but not yet.
    void wait(Sequence from, Sequence end) {
        lost_.move_range(from, end, flying_);
        waiting_.set_range(from, end);
    }
    // They are executed now: from here on their answers are on the way.
    void stop_waiting(Sequence from, Sequence end, Instant now) {
        waiting_.each_set(from, end, [this, now](Sequence s) { stamps_[index(s)] = Stamp(now); });
        waiting_.move_range(from, end, waited_);
    }
    // What was asked for once of [from, end) and still flies has been overtaken, now; its stamp
    // says so from here on.
    void overtake(Sequence from, Sequence end, Instant now) {
        flying_.each_set(from, end, [this, now](Sequence s) {
            if (!retransmitted_.test(s) && !overtaken_.test(s)) {
                overtaken_.set(s);
                stamps_[index(s)] = Stamp(now);
            }
        });
    }

    [[nodiscard]] bool any_lost() const { return !lost_.empty(); }
    [[nodiscard]] Sequence first_lost() const { return lost_.first_set(base_, sent_); }
    // The end of the run of lost ones that begins at `from`, at most `end`.
    [[nodiscard]] Sequence lost_run(Sequence from, Sequence end) const {
        return lost_.first_clear(from, end);
    }

    [[nodiscard]] bool flying(Sequence at) const { return flying_.test(at); }
    [[nodiscard]] bool lost(Sequence at) const { return lost_.test(at); }
    [[nodiscard]] bool delivered(Sequence at) const {
        return at < base_ || (at < sent_ && !flying_.test(at) && !lost_.test(at));
    }
    [[nodiscard]] bool waiting(Sequence at) const { return waiting_.test(at); }
    [[nodiscard]] bool retransmitted(Sequence at) const { return retransmitted_.test(at); }
    [[nodiscard]] bool overtaken(Sequence at) const { return overtaken_.test(at); }
    // The time since sent_at() is that of one way to the peer and back.
    [[nodiscard]] bool timed(Sequence at) const {
        return !retransmitted_.test(at) && !waiting_.test(at) && !waited_.test(at) &&
               !overtaken_.test(at);
    }
    // Of one of the last kWindowPackets before sent().
    [[nodiscard]] Stamp sent_at(Sequence at) const { return stamps_[index(at)]; }
    [[nodiscard]] bool all_delivered(Sequence from, Sequence end) const {
        return flying_.first_set(from, end) == end && lost_.first_set(from, end) == end;
    }
    [[nodiscard]] bool any_lost(Sequence from, Sequence end) const {
        return lost_.first_set(from, end) != end;
    }
    template <class F>
    void each_flying(Sequence from, Sequence end, F visit) const {
        flying_.each_set(from, end, visit);
    }

  private:
    static constexpr uint32_t index(Sequence at) {
        return static_cast<uint32_t>(at) & (kWindowPackets - 1);
    }
    void forget_delay(Sequence from, Sequence end) {
        waiting_.clear_range(from, end);
        waited_.clear_range(from, end);
        overtaken_.clear_range(from, end);
    }
    void stamp(Sequence from, Sequence end, Instant now) {
        for (Sequence s = from; s != end; ++s) {
            stamps_[index(s)] = Stamp(now);
        }
    }

    Sequence base_ = 0;
    Sequence sent_ = 0;
    WindowBits flying_;
    WindowBits lost_;
    WindowBits retransmitted_;
    WindowBits waiting_;    // at the peer, for what was sent before
    WindowBits waited_;     // there
    WindowBits overtaken_;  // by a later answer
    std::array<Stamp, kWindowPackets> stamps_{};
};

}  // namespace vrdma::transport
