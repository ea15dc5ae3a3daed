// What a run is accused of. The first violation counts: what follows it is often its consequence.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace vrdma::sim {

enum class Check : uint8_t {
    ExactlyOnce,      // something was executed or placed again, or was never asked for
    InOrder,          // something was executed or placed before its turn
    RightBytes,       // memory, or an atomic's result, differs from what it must be
    RightStatus,      // a completion's status is not one that the circumstances allow
    CompletionOrder,  // a completion is not that of the oldest work request
    DataFirst,        // a success was reported before the data was there
    Receive,          // a receive completion with a wrong length, immediate or solicited bit
    Fence,            // a fenced message left before the READs and atomics ahead of it were done
    Liveness,         // no progress, although the network is whole again
    Frames,           // a held packet was given back twice, or never
    RdAtomic,         // more READs and atomics were under way than max_rd_atomic
    Bounds,           // a packet takes or brings bytes that its message does not have
};

[[nodiscard]] constexpr std::string_view check_name(Check check) {
    switch (check) {
        case Check::ExactlyOnce:
            return "exactly once";
        case Check::InOrder:
            return "in order";
        case Check::RightBytes:
            return "right bytes";
        case Check::RightStatus:
            return "right status";
        case Check::CompletionOrder:
            return "completion order";
        case Check::DataFirst:
            return "data before completion";
        case Check::Receive:
            return "right receive completion";
        case Check::Fence:
            return "fence";
        case Check::Liveness:
            return "liveness";
        case Check::Frames:
            return "held frames";
        case Check::RdAtomic:
            return "max_rd_atomic";
        case Check::Bounds:
            return "bounds";
    }
    return "?";
}

struct Violation {
    Check check = Check::ExactlyOnce;
    std::string text;
};

class Judge {
  public:
    // Only these count from here on.
    void heed(std::initializer_list<Check> checks) {
        heeded_ = 0;
        for (const Check check : checks) {
            heeded_ |= bit(check);
        }
    }
    void accuse(Check check, std::string text) {
        if (!violation_ && (heeded_ & bit(check)) != 0) {
            violation_ = Violation{check, std::move(text)};
        }
    }
    [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }

  private:
    static constexpr uint32_t bit(Check check) { return 1U << static_cast<uint32_t>(check); }

    std::optional<Violation> violation_;
    uint32_t heeded_ = ~0U;
};

}  // namespace vrdma::sim
