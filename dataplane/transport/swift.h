// Congestion window from delay and ECN marks, between vRDMA peers: Swift (Kumar et al., "Swift:
// Delay is Simple and Effective for Congestion Control in the Datacenter", SIGCOMM 2020, section
// 3.1), with the marks weighed as in DCTCP (RFC 8257).
#pragma once

#include <cstdint>

#include "dataplane/transport/congestion.h"
#include "dataplane/transport/limits.h"

namespace vrdma::transport {

class Swift {
  public:
    void on_ack(const AckEvent& event);
    void on_loss(const LossEvent& event);
    // What on_loss() was told of had only been late: what it took from the window comes back.
    void on_needless(Instant now, Duration smoothed_rtt);

    // Packets that may be in flight; at least 1.
    [[nodiscard]] uint32_t window() const {
        return window_ < 1 ? 1 : static_cast<uint32_t>(window_);
    }
    // With a window below one packet: the time between two packets. Otherwise 0: the
    // acknowledgements are the clock.
    [[nodiscard]] Duration gap(Duration smoothed_rtt) const;
    [[nodiscard]] double exact_window() const { return window_; }

  private:
    [[nodiscard]] bool may_decrease(Instant now, Duration rtt) const;
    void decrease(double factor, Instant now);
    void end_round(const AckEvent& event);

    double window_ = kFirstWindow;
    double before_loss_ = 0;   // the window before the last decrease, if that was for a loss
    double marked_share_ = 0;  // of packets, smoothed over rounds (DCTCP's alpha)
    Instant decreased_at_{};
    Instant round_began_{};
    // Of the round that runs; a round is one smoothed round trip.
    uint32_t received_ = 0;
    uint32_t marked_ = 0;
    uint32_t delivered_ = 0;
    uint32_t lost_ = 0;
    bool started_before_loss_ = false;
    bool starting_ = true;  // doubling, until the path answers for the first time

    static constexpr double kFirstWindow = 32;
};

}  // namespace vrdma::transport
