// One direction of the cable: a port that sends at its rate, a switch with a queue, and all that
// can happen to a frame.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "tests/sim/frame_pool.h"
#include "tests/sim/random.h"
#include "tests/sim/scenario.h"

namespace vrdma::sim {

struct LinkStatistics {
    uint64_t sent = 0;
    uint64_t lost = 0;  // loss, bursts, outages, script
    uint64_t overflowed = 0;
    uint64_t corrupted = 0;
    uint64_t duplicated = 0;
    uint64_t reordered = 0;
    uint64_t marked = 0;
    uint64_t forged = 0;
};

// What became of one frame: its arrivals, and words for the trace.
struct Passage {
    struct Arrival {
        Instant at;
        FrameIndex frame = 0;
    };
    std::array<Arrival, 3> arrivals;
    uint32_t count = 0;
    std::string_view fate = "";
};

class Link {
  public:
    Link(const LinkConfig& config, Instant faults_end, Random random, FramePool& frames)
        : config_(config), faults_end_(faults_end), random_(random), frames_(frames) {}

    // Takes the reference to the frame; the arrivals have one each.
    Passage send(FrameIndex frame, Instant now);
    // The port's ring has room from then on.
    [[nodiscard]] Instant room_at() const;
    // The earliest time at which nothing that was sent is under way any more.
    [[nodiscard]] Instant quiet_at() const { return quiet_; }
    [[nodiscard]] const LinkStatistics& statistics() const { return statistics_; }

  private:
    static constexpr uint32_t kRingBytes = 64 * 1024;

    // The switch: false when its queue is full.
    bool pass_switch(FrameIndex frame, Instant& at);
    // The path it takes, and how much longer that is than the fastest.
    [[nodiscard]] size_t path_of(const Frame& frame) const;
    [[nodiscard]] Duration detour(size_t path) const;
    bool lose(Instant now);
    const ScriptedFate* scripted(uint64_t ordinal) const;
    FrameIndex copy(FrameIndex frame);
    FrameIndex corrupt(FrameIndex frame);
    FrameIndex forge(FrameIndex frame, const ScriptedFate& fate);
    void mark(Frame& frame);

    LinkConfig config_;
    Instant faults_end_;
    Random random_;
    FramePool& frames_;
    LinkStatistics statistics_;
    Instant port_free_{0};
    Instant switch_free_{0};
    std::array<Instant, kMostPaths> last_arrival_{};
    Instant quiet_{0};
    uint32_t burst_left_ = 0;
};

// What a frame costs on the cable besides itself: preamble, FCS and gap.
inline constexpr uint32_t kWireOverhead = 24;

}  // namespace vrdma::sim
