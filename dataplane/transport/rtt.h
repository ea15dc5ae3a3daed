// Round-trip time of one path: smoothed, its variation, its recent minimum, and the retransmission
// timeout that follows (RFC 6298).
#pragma once

#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::transport {

// Before the first sample: a data centre's path, with room for a receiver that slept.
inline constexpr Duration kInitialTimeout = Duration::milliseconds(1);
// A receiver is a thread of some host: it answers once a turn, and may be scheduled away. A lost
// tail does not wait for this: a probe finds it.
inline constexpr Duration kMinTimeout = Duration::milliseconds(1);
inline constexpr Duration kMaxTimeout = Duration::milliseconds(100);

class RttEstimator {
  public:
    void sample(Duration rtt);

    [[nodiscard]] bool known() const { return smoothed_.ns != 0; }
    [[nodiscard]] Duration smoothed() const { return smoothed_; }
    // Of the last one or two thousand samples.
    [[nodiscard]] Duration minimum() const {
        return minimum_ < next_minimum_ ? minimum_ : next_minimum_;
    }
    // Without backoff.
    [[nodiscard]] Duration timeout() const;

  private:
    static constexpr uint32_t kMinimumSamples = 1024;
    static constexpr Duration kUnknown{INT64_MAX};

    Duration smoothed_{};
    Duration variation_{};
    Duration minimum_ = kUnknown;
    Duration next_minimum_ = kUnknown;
    uint32_t samples_ = 0;
};

}  // namespace vrdma::transport
