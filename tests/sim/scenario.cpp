// How a number becomes a scenario. Each axis has its own generator and is off in a good part of the
// runs, so that faults meet alone, in pairs and all together. Intensities are drawn by magnitude:
// rare faults find other bugs than frequent ones.
//
// Half of the runs begin so close to the PSN wrap that they cross it. Times stay in proportion: the
// retry timers are drawn from those that end a run within seconds of virtual time, which cost
// nothing.
#include "tests/sim/scenario.h"

#include <fmt/format.h>
#include <algorithm>

#include "dataplane/transport/psn.h"
#include "tests/sim/random.h"

namespace vrdma::sim {

namespace {

// One tag for each axis; the numbers are part of what a seed means.
enum class Axis : uint64_t {
    Peers = 1,
    Network,
    Loss,
    Burst,
    Duplicate,
    Reorder,
    Corrupt,
    Jitter,
    Mark,
    Queue,
    Outage,
    Pause,
    Restart,
    Shape,
    Psn,
    Mix,
    Scarce,
    Failing,
    Timers,
    Invalidate,
    Paths,
    Spray,
};

constexpr auto kInvalidate = static_cast<size_t>(transport::Operation::SendInvalidate);

// What a switch has for one port. A slow port without a limit would delay by seconds.
constexpr uint32_t kSwitchBuffer = 1'000'000;

class Drawer {
  public:
    explicit Drawer(uint64_t seed) : root_(seed) {}
    [[nodiscard]] Random axis(Axis axis, uint64_t part = 0) const {
        return root_.child(static_cast<uint64_t>(axis) * 64 + part);
    }

  private:
    Random root_;
};

void draw_peers(Scenario& scenario, Random random) {
    const uint64_t kind = random.below(8);
    if (kind < 3) {  // both as specified
        scenario.vrdma_from = {Instant::never(), Instant::never()};
    } else if (kind < 6) {
        scenario.vrdma_from = {Instant{0}, Instant{0}};
    } else {  // they find out while they talk, not at the same time
        for (Instant& from : scenario.vrdma_from) {
            from = Instant{static_cast<int64_t>(random.below(300'000))};
        }
    }
    scenario.v6 = random.chance(0.25);
}

void draw_network(Scenario& scenario, Random random) {
    const auto rate = static_cast<uint64_t>(random.magnitude(1.25e8, 1.25e10));
    const Duration delay{static_cast<int64_t>(random.magnitude(300, 50'000))};
    for (LinkConfig& link : scenario.link) {
        link.bytes_per_second = rate;
        link.bottleneck = random.chance(0.3) ? rate / random.between(2, 10) : rate;
        link.queue_bytes = link.bottleneck < rate ? kSwitchBuffer : 0;
        link.delay = delay;
    }
    for (HostConfig& host : scenario.host) {
        host.turn = Duration{static_cast<int64_t>(random.magnitude(50, 5'000))};
    }
}

void draw_paths(Scenario& scenario, Random random) {
    if (random.chance(0.25)) {
        for (LinkConfig& link : scenario.link) {
            link.paths = random.between(2, kMostPaths);
            link.skew = Duration{static_cast<int64_t>(random.magnitude(500, 200'000))};
        }
    }
}

void draw_faults(LinkConfig& link, const Drawer& drawer, uint64_t part, Instant faults_end) {
    Random loss = drawer.axis(Axis::Loss, part);
    if (loss.chance(0.4)) {
        link.loss = loss.magnitude(0.0005, 0.3);
    }
    Random burst = drawer.axis(Axis::Burst, part);
    if (burst.chance(0.15)) {
        link.burst = burst.magnitude(0.0005, 0.01);
        link.burst_frames = burst.between(2, 100);
    }
    Random duplicate = drawer.axis(Axis::Duplicate, part);
    if (duplicate.chance(0.25)) {
        link.duplicate = duplicate.magnitude(0.001, 0.5);
    }
    Random reorder = drawer.axis(Axis::Reorder, part);
    if (reorder.chance(0.3)) {
        link.reorder = reorder.magnitude(0.002, 1.0);
        link.reorder_frames = static_cast<uint32_t>(reorder.magnitude(1, 300));
    }
    Random corrupt = drawer.axis(Axis::Corrupt, part);
    if (corrupt.chance(0.2)) {
        link.corrupt = corrupt.magnitude(0.0005, 0.05);
    }
    Random jitter = drawer.axis(Axis::Jitter, part);
    if (jitter.chance(0.3)) {
        link.jitter = Duration{static_cast<int64_t>(jitter.magnitude(100, 2'000'000))};
    }
    Random mark = drawer.axis(Axis::Mark, part);
    if (mark.chance(0.2)) {
        link.mark = mark.magnitude(0.001, 1.0);
    }
    Random queue = drawer.axis(Axis::Queue, part);
    if (queue.chance(0.3)) {
        link.queue_bytes = static_cast<uint32_t>(queue.magnitude(20'000, 1'000'000));
    }
    if (queue.chance(0.4)) {
        link.mark_bytes = static_cast<uint32_t>(queue.magnitude(5'000, 500'000));
    }
    Random outage = drawer.axis(Axis::Outage, part);
    if (outage.chance(0.15)) {
        for (uint32_t i = outage.between(1, 3); i-- > 0;) {
            const Instant from{
                static_cast<int64_t>(outage.below(static_cast<uint64_t>(faults_end.ns)))};
            const auto length = static_cast<int64_t>(outage.magnitude(5'000, 50'000'000));
            link.outages.push_back({from, from + Duration{length}});
        }
    }
}

OperationMix draw_mix(Random random, Random invalidate, bool reliable) {
    OperationMix mix;
    for (size_t i = 0; i < mix.weight.size(); ++i) {
        Random& source = i == kInvalidate ? invalidate : random;
        mix.weight[i] = source.chance(0.5) ? source.between(1, 10) : 0;
    }
    mix.weight[random.below(4)] += 1;
    if (!reliable) {
        mix.weight[4] = mix.weight[5] = mix.weight[6] = mix.weight[kInvalidate] = 0;
    }
    mix.max_length = static_cast<uint32_t>(random.magnitude(1, 60'000));
    mix.fence = reliable && random.chance(0.3) ? random.magnitude(0.01, 0.5) : 0;
    mix.reread = random.chance(0.5) ? 0.5 : 0;
    return mix;
}

ConnectionConfig draw_connection(const Drawer& drawer, uint64_t part) {
    ConnectionConfig c;
    Random shape = drawer.axis(Axis::Shape, part);
    c.service = shape.chance(0.15) ? wire::Service::Uc : wire::Service::Rc;
    c.path_mtu = 256U << (shape.chance(0.7) ? shape.below(2) : shape.below(5));
    c.max_rd_atomic = static_cast<uint8_t>(shape.between(1, 16));
    const bool both = shape.chance(0.6);
    for (size_t side = 0; side < 2; ++side) {
        c.messages[side] = static_cast<uint32_t>(shape.magnitude(20, 800));
        c.queue_depth[side] = static_cast<uint32_t>(shape.magnitude(1, 128));
        c.mix[side] = draw_mix(drawer.axis(Axis::Mix, part * 2 + side),
                               drawer.axis(Axis::Invalidate, part * 2 + side),
                               c.service == wire::Service::Rc);
    }
    if (!both) {
        c.messages[shape.below(2)] = 0;
    }
    if (shape.chance(0.3)) {
        c.think = Duration{static_cast<int64_t>(shape.magnitude(1'000, 300'000))};
    }
    c.move = shape.chance(0.1);
    c.spray = drawer.axis(Axis::Spray, part).chance(0.4);
    c.receives = static_cast<uint32_t>(shape.magnitude(1, 200));
    Random scarce = drawer.axis(Axis::Scarce, part);
    if (scarce.chance(0.3)) {
        c.scarce = scarce.magnitude(0.01, 1.0);
        c.scarce_time = Duration{static_cast<int64_t>(scarce.magnitude(1'000, 3'000'000))};
    }
    Random failing = drawer.axis(Axis::Failing, part);
    if (failing.chance(0.25)) {
        for (OperationMix& mix : c.mix) {
            mix.failing = failing.magnitude(0.002, 0.1);
        }
    }
    Random psn = drawer.axis(Axis::Psn, part);
    const bool wrap = psn.coin();
    for (uint32_t& initial : c.initial_psn) {
        initial = transport::kPsnMask &
                  static_cast<uint32_t>(wrap ? uint64_t{0} - psn.between(0, 300) : psn.next());
    }
    Random timers = drawer.axis(Axis::Timers, part);
    c.timeout = static_cast<uint8_t>(timers.chance(0.1) ? 0 : timers.between(8, 15));
    c.retry_count = static_cast<uint8_t>(timers.between(1, 7));
    c.rnr_retry = timers.coin() ? 7 : static_cast<uint8_t>(timers.between(0, 6));
    c.rnr_timer = static_cast<uint8_t>(timers.between(1, 14));
    return c;
}

}  // namespace

bool Scenario::faulty() const {
    return !restarts.empty() || std::ranges::any_of(link, [](const LinkConfig& l) {
        return l.loss > 0 || l.burst > 0 || l.corrupt > 0 || l.reorder > 0 || l.duplicate > 0 ||
               l.queue_bytes > 0 || l.jitter.ns > 0 || !l.outages.empty() || !l.script.empty();
    }) || std::ranges::any_of(host, [](const HostConfig& h) { return h.pause > 0; });
}

Scenario draw_scenario(uint64_t seed) {
    const Drawer drawer(seed);
    Scenario s;
    s.seed = seed;
    draw_peers(s, drawer.axis(Axis::Peers));
    draw_network(s, drawer.axis(Axis::Network));
    draw_paths(s, drawer.axis(Axis::Paths));
    Random shape = drawer.axis(Axis::Shape, 63);
    s.faults_end = Instant{static_cast<int64_t>(shape.magnitude(1e6, 1e9))};
    s.management_delay = Duration{static_cast<int64_t>(shape.magnitude(1e4, 1e7))};
    for (uint64_t i = 0; i < 2; ++i) {
        draw_faults(s.link[i], drawer, i, s.faults_end);
        Random pause = drawer.axis(Axis::Pause, i);
        if (pause.chance(0.2)) {
            s.host[i].pause = pause.magnitude(0.0005, 0.05);
            s.host[i].pause_time = Duration{static_cast<int64_t>(pause.magnitude(1e4, 3e6))};
        }
    }
    Random restart = drawer.axis(Axis::Restart);
    if (restart.chance(0.1)) {
        for (uint32_t i = restart.between(1, 2); i-- > 0;) {
            s.restarts.push_back({static_cast<uint8_t>(restart.below(2)),
                                  Instant{static_cast<int64_t>(restart.magnitude(1e4, 1e8))},
                                  Duration{static_cast<int64_t>(restart.magnitude(1e3, 1e8))}});
        }
    }
    const uint32_t connections = shape.chance(0.6) ? 1 : shape.between(2, 4);
    for (uint32_t i = 0; i < connections; ++i) {
        s.connections.push_back(draw_connection(drawer, i));
    }
    return s;
}

std::string describe(const Scenario& s) {
    std::string text = fmt::format(
        "seed {} {} vrdma_from_ns {}/{} faults_end_ns {}\n", s.seed, s.v6 ? "IPv6" : "IPv4",
        s.vrdma_from[0] == Instant::never() ? -1 : s.vrdma_from[0].ns,
        s.vrdma_from[1] == Instant::never() ? -1 : s.vrdma_from[1].ns, s.faults_end.ns);
    for (size_t i = 0; i < 2; ++i) {
        const LinkConfig& l = s.link[i];
        text += fmt::format(
            "link {}: {:.2f} Gb/s, bottleneck {:.2f} Gb/s, delay {} ns, queue {} B, mark above {} "
            "B, "
            "loss {:.4f}, bursts {:.4f} of {}, duplicate {:.4f}, reorder {:.4f} by {}, corrupt "
            "{:.4f}, jitter {} ns, mark {:.4f}, outages {}, paths {} within {} ns\n",
            i, static_cast<double>(l.bytes_per_second) * 8e-9,
            static_cast<double>(l.bottleneck) * 8e-9, l.delay.ns, l.queue_bytes, l.mark_bytes,
            l.loss, l.burst, l.burst_frames, l.duplicate, l.reorder, l.reorder_frames, l.corrupt,
            l.jitter.ns, l.mark, l.outages.size(), l.paths, l.skew.ns);
        text += fmt::format("host {}: turn {} ns, pause {:.4f} of {} ns\n", i, s.host[i].turn.ns,
                            s.host[i].pause, s.host[i].pause_time.ns);
    }
    for (const Restart& r : s.restarts) {
        text += fmt::format("restart of host {} at {} ns, down for {} ns\n", r.host, r.at.ns,
                            r.down.ns);
    }
    for (const ConnectionConfig& c : s.connections) {
        text += fmt::format(
            "connection {}: mtu {}, psn {:#x}/{:#x}, messages {}/{}, depth {}/{}, timeout {}, "
            "retry "
            "{}, rnr {} timer {}, rd_atomic {}, receives {}, scarce {:.3f} of {} ns, failing "
            "{:.4f}, max length {}/{}{}\n",
            c.service == wire::Service::Rc ? "RC" : "UC", c.path_mtu, c.initial_psn[0],
            c.initial_psn[1], c.messages[0], c.messages[1], c.queue_depth[0], c.queue_depth[1],
            c.timeout, c.retry_count, c.rnr_retry, c.rnr_timer, c.max_rd_atomic, c.receives,
            c.scarce, c.scarce_time.ns, c.mix[0].failing, c.mix[0].max_length, c.mix[1].max_length,
            c.spray ? ", sprayed" : "");
    }
    return text;
}

}  // namespace vrdma::sim
