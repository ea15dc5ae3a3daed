// Which of a network's equal paths the packets of a queue pair take when they need not all take the
// same one. Switches choose the path by the UDP source port. Packets that follow each other closely
// (a flowlet) keep theirs; after a pause longer than paths differ in their delay, another one
// overtakes nothing (Vanini et al., "Let It Flow", NSDI 2017). What is overtaken nevertheless is
// held and put in order by a peer that acknowledges selectively, and only toward such a one may
// this be used.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/base/time.h"
#include "dataplane/transport/source_port.h"

namespace vrdma::transport {

// Longer than the paths of one data centre differ, queues included, and shorter than the pauses of
// a queue pair that waits for its program or its window.
inline constexpr Duration kFlowletGap = Duration::microseconds(50);

class Flowlets {
  public:
    Flowlets() = default;
    // `label`: of the queue pair, see source_port.h. The first flowlet has the port of that label.
    explicit Flowlets(uint32_t label) : label_(label) {}

    // A packet leaves. The source port from now on, if it begins a flowlet that is not the first.
    [[nodiscard]] std::optional<uint16_t> on_sent(Instant now) {
        const bool begins = last_.ns != 0 && now - last_ > kFlowletGap;
        last_ = now;
        if (!begins) [[likely]] {
            return std::nullopt;
        }
        ++count_;
        // Spread by a constant of Knuth's multiplicative hash; the upper bits are the mixed ones.
        return source_port((label_ * 0x85ebca6bU + count_ * 0x9e3779b1U) >> 12);
    }

  private:
    Instant last_{};
    uint32_t label_ = 0;
    uint32_t count_ = 0;
};

}  // namespace vrdma::transport
