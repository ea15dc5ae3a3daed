// When the next packet may leave: at a rate, or one in a while. Off unless told otherwise, and then
// free of cost.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::transport {

// Of a packet on the wire beside its payload.
inline constexpr uint32_t kPacedHeaderBytes = 66;

class Pacer {
  public:
    void off() { picoseconds_per_byte_ = 0, gap_ = {}; }
    // Bytes per second. Divides: call it when the rate changes, not for each packet.
    void set_rate(uint64_t rate) {
        picoseconds_per_byte_ = 1'000'000'000'000 / std::max<uint64_t>(rate, 1);
        gap_ = {};
    }
    void set_gap(Duration gap) { picoseconds_per_byte_ = 0, gap_ = gap; }
    [[nodiscard]] bool on() const { return picoseconds_per_byte_ != 0 || gap_.ns != 0; }

    [[nodiscard]] bool ready(Instant now) const { return !on() || next_ <= now; }
    [[nodiscard]] Instant next() const { return on() ? next_ : Instant{}; }
    void sent(uint32_t bytes, Instant now) {
        if (!on()) {
            return;
        }
        const Duration cost{static_cast<int64_t>(bytes * picoseconds_per_byte_ / 1000) + gap_.ns};
        // What was not used lately may be made up for, up to a burst: a worker comes once a turn.
        next_ = std::max(next_, Instant{now.ns - kBurst.ns}) + cost;
    }

  private:
    static constexpr Duration kBurst = Duration::microseconds(10);

    uint64_t picoseconds_per_byte_ = 0;
    Duration gap_{};
    Instant next_{};
};

}  // namespace vrdma::transport
