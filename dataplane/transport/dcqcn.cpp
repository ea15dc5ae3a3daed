// The constants are the paper's, except where a comment names ConnectX, whose defaults are the
// better known ones for what the paper leaves open. Rates are integers of bytes per second, alpha a
// fraction of 2^16.
#include "dataplane/transport/dcqcn.h"

#include <algorithm>

namespace vrdma::transport {
namespace {

constexpr int kGainShift = 8;                                      // g = 1/256
constexpr Duration kAlphaPeriod = Duration::microseconds(55);      // K
constexpr Duration kIncreasePeriod = Duration::microseconds(300);  // ConnectX rpg_time_reset
constexpr uint64_t kIncreaseBytes = 10'000'000;                    // B
constexpr uint32_t kFastRecoveries = 5;                            // F
constexpr Rate kAdditiveIncrease = 40'000'000 / 8;                 // R_AI, 40 Mb/s
constexpr Rate kHyperIncrease = 10 * kAdditiveIncrease;            // ConnectX: rpg_hai = 10 rpg_ai
constexpr Rate kMinRate = 1'000'000 / 8;                           // ConnectX rpg_min_rate, 1 Mb/s
constexpr Duration kCnpPeriod = Duration::microseconds(50);        // N
// Without a CNP for so long nothing is left to recover from.
constexpr Duration kForget = Duration::milliseconds(1000);

}  // namespace

void Dcqcn::on_cnp(Instant now) {
    advance(now);
    target_ = current_;
    // current (1 - alpha / 2); alpha begins at one, so the first one halves (paper, 5.1).
    current_ = std::max(current_ - ((current_ * alpha_) >> 17), kMinRate);
    alpha_ = alpha_ - (alpha_ >> kGainShift) + (kAlphaOne >> kGainShift);
    alpha_at_ = now + kAlphaPeriod;
    increase_at_ = now + kIncreasePeriod;
    bytes_ = 0;
    time_stage_ = byte_stage_ = 0;
}

void Dcqcn::on_sent(uint32_t bytes) {
    if (!limiting()) {
        return;
    }
    bytes_ += bytes;
    if (bytes_ >= kIncreaseBytes) {
        bytes_ = 0;
        ++byte_stage_;
        increase();
    }
}

bool Dcqcn::advance(Instant now) {
    if (!limiting()) {
        return false;
    }
    const Rate before = current_;
    if (now - increase_at_ > kForget) {
        *this = Dcqcn(line_);
        return true;
    }
    while (alpha_at_ <= now) {
        alpha_ -= alpha_ >> kGainShift;
        alpha_at_ = alpha_at_ + kAlphaPeriod;
    }
    while (increase_at_ <= now && limiting()) {
        ++time_stage_;
        increase();
        increase_at_ = increase_at_ + kIncreasePeriod;
    }
    return current_ != before;
}

void Dcqcn::increase() {
    if (std::min(time_stage_, byte_stage_) > kFastRecoveries) {
        target_ += kHyperIncrease;
    } else if (std::max(time_stage_, byte_stage_) > kFastRecoveries) {
        target_ += kAdditiveIncrease;
    }
    target_ = std::min(target_, line_);
    // The last step would take for ever by halving.
    current_ = target_ - current_ <= kAdditiveIncrease ? target_ : (target_ + current_) / 2;
}

void CnpLimiter::on_marked(Instant now) {
    if (last_.ns == 0 || now - last_ >= kCnpPeriod) {
        due_ = true;
    }
}

}  // namespace vrdma::transport
