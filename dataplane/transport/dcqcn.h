// DCQCN toward standard peers (Zhu et al., "Congestion Control for Large-Scale RDMA Deployments",
// SIGCOMM 2015): the reaction point slows the sender down at each CNP, the notification point says
// when a receiver of marked packets sends one.
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::transport {

// Bytes per second.
using Rate = uint64_t;

// The reaction point. Its timers are caught up with whenever it is asked.
class Dcqcn {
  public:
    Dcqcn() = default;
    explicit Dcqcn(Rate line_rate)
        : line_(line_rate), current_(line_rate), target_(line_rate), alpha_(kAlphaOne) {}

    void on_cnp(Instant now);
    void on_sent(uint32_t bytes);
    // Lets the time pass. True: rate() is another one.
    bool advance(Instant now);

    [[nodiscard]] Rate rate() const { return current_; }
    // False: nothing is held back.
    [[nodiscard]] bool limiting() const { return current_ < line_; }

  private:
    static constexpr uint32_t kAlphaOne = 1U << 16;

    void increase();

    Rate line_ = 0;
    Rate current_ = 0;
    Rate target_ = 0;
    Instant alpha_at_{};     // next decay of alpha
    Instant increase_at_{};  // next increase by time
    uint64_t bytes_ = 0;     // since the last increase by bytes
    uint32_t alpha_ = 0;     // estimate of congestion, of kAlphaOne
    uint32_t time_stage_ = 0;
    uint32_t byte_stage_ = 0;
};

// The notification point: one CNP in a while, if anything marked came.
class CnpLimiter {
  public:
    void on_marked(Instant now);
    [[nodiscard]] bool due() const { return due_; }
    void sent(Instant now) {
        due_ = false;
        last_ = now;
    }

  private:
    Instant last_{};
    bool due_ = false;
};

}  // namespace vrdma::transport
