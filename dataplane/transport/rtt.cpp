// Smoothing by shifts as in RFC 6298 (alpha 1/8, beta 1/4), timeout = smoothed + 4 variations. The
// minimum is kept in two halves, so that a path that became longer is believed after at most two
// halves; it is counted in samples, not in time, so that an idle path forgets nothing.
#include "dataplane/transport/rtt.h"

#include <algorithm>

namespace vrdma::transport {

void RttEstimator::sample(Duration rtt) {
    const int64_t ns = std::max<int64_t>(rtt.ns, 1);
    if (smoothed_.ns == 0) {
        smoothed_.ns = ns;
        variation_.ns = ns / 2;
    } else {
        const int64_t error = ns - smoothed_.ns;
        variation_.ns += ((error < 0 ? -error : error) - variation_.ns) / 4;
        smoothed_.ns = std::max<int64_t>(smoothed_.ns + error / 8, 1);
    }
    next_minimum_.ns = std::min(next_minimum_.ns, ns);
    if (++samples_ == kMinimumSamples) {
        samples_ = 0;
        minimum_ = next_minimum_;
        next_minimum_ = kUnknown;
    }
}

Duration RttEstimator::timeout() const {
    if (!known()) {
        return kInitialTimeout;
    }
    return {std::clamp(smoothed_.ns + 4 * variation_.ns, kMinTimeout.ns, kMaxTimeout.ns)};
}

}  // namespace vrdma::transport
