// Which packets are lost, toward a peer that says what it has: by time, not by count (RFC 8985,
// "RACK-TLP").
//
// A packet is lost when one that was sent later has arrived and the packet itself has had a round
// trip and the reordering window to arrive. So nothing is repeated more than once per round trip,
// and a network that reorders costs nothing once the window has learnt how much it does.
//
// Responses need no round trip to judge by: those that were asked for once leave the peer in the
// order of their numbers, so one is lost the reordering window after a later one overtook it.
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"
#include "dataplane/transport/rtt.h"
#include "dataplane/transport/send_window.h"

namespace vrdma::transport {

class LossRecovery {
  public:
    // `sequence` arrived at the peer (a response: here). Before SendWindow::deliver().
    void on_delivered(const SendWindow& window, Sequence sequence, const RttEstimator& rtt,
                      Instant now);
    // A response arrived: the peer sends those it was asked for once in the order of their numbers.
    // Before on_delivered().
    void on_response(SendWindow& window, Sequence sequence, Instant now);
    // A packet that was taken for lost had only been late. Many of one round trip count as one.
    void on_needless(const RttEstimator& rtt, Instant now);
    // Marks what is lost of [from, end) of the window; returns which.
    WindowBits detect(SendWindow& window, Sequence from, Sequence end, const RttEstimator& rtt,
                      Instant now);
    // When to call detect() again without news.
    [[nodiscard]] Instant deadline() const { return deadline_; }
    // The timer ran out: what was learnt about order before is void.
    void on_timeout();

    [[nodiscard]] Duration reorder_window(const RttEstimator& rtt) const;

  private:
    Instant deadline_ = Instant::never();
    Instant needless_at_{};
    Sequence in_order_ = 0;  // the newest answer to what was asked for once
    // The packet sent last among those that arrived.
    Sequence newest_ = 0;
    Stamp newest_sent_;
    Duration newest_rtt_{};
    uint32_t calm_ = 0;            // deliveries since the last needless retransmission
    uint8_t window_quarters_ = 1;  // of the minimum round trip
    bool any_ = false;
};

}  // namespace vrdma::transport
