// Runs a scenario. Events are arrivals of frames, turns of hosts and restarts; a host's turn is
// scheduled when a frame arrives or a timer of one of its queue pairs is due, and handles all that
// has come by then, as a worker's loop does.
//
// The world also plays the connection managers of the programs: the news of an error reaches the
// other side after a while, and when both sides are in error they connect anew, with other numbers,
// as programs do. So a run goes on after errors, and its liveness can be judged at the end.
#include "tests/sim/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "dataplane/transport/psn.h"
#include "dataplane/wire/parse.h"

namespace vrdma::sim {

namespace {

constexpr uint32_t kBurst = 32;           // frames that a host handles in a turn
constexpr uint64_t kProgressEvery = 256;  // events between two looks at liveness
// How long after the last fault a retry counter may still run out because of it.
constexpr Duration kAftermath = Duration::milliseconds(10'000);

void accuse_standstill(Direction& direction, Instant since) {
    Ledger& ledger = direction.ledger;
    ledger.accuse(
        Check::Liveness,
        fmt::format("no progress since {} ns: {} posted, {} executed, {} completed of {}", since.ns,
                    ledger.posted(), ledger.executed(), ledger.completed(), direction.messages));
}

}  // namespace

World::World(const Scenario& scenario, EndFactory factory, Trace* trace)
    : scenario_(scenario),
      random_(Random(scenario.seed).child(0x776f726c64)),
      trace_(trace),
      links_{Link(scenario_.link[0], scenario_.faults_end, random_.child(1), frames_),
             Link(scenario_.link[1], scenario_.faults_end, random_.child(2), frames_)},
      contexts_{HostContext{.frames = frames_,
                            .out = links_[0],
                            .judge = judge_,
                            .trace = trace,
                            .launch = &World::launch,
                            .world = this,
                            .host = 0},
                HostContext{.frames = frames_,
                            .out = links_[1],
                            .judge = judge_,
                            .trace = trace,
                            .launch = &World::launch,
                            .world = this,
                            .host = 1}} {
    if (scenario_.hostile) {
        judge_.heed({Check::CompletionOrder, Check::Liveness, Check::Frames, Check::Bounds});
    }
    make_connections(factory);
    for (const Restart& restart : scenario_.restarts) {
        events_.push({.at = restart.at, .host = restart.host, .kind = Event::Kind::Restart});
    }
    for (uint8_t host = 0; host < 2; ++host) {
        schedule(host, Instant{0});
    }
}

void World::make_connections(EndFactory factory) {
    for (size_t i = 0; i < scenario_.connections.size(); ++i) {
        const ConnectionConfig& config = scenario_.connections[i];
        Connection c;
        c.config = &config;
        const Random random = random_.child(16 + i);
        for (size_t side = 0; side < 2; ++side) {
            c.direction[side] = std::make_unique<Direction>(
                config, side, judge_, fmt::format("connection {} host {}", i, side),
                random.child(side));
        }
        for (size_t side = 0; side < 2; ++side) {
            c.side[side] = std::make_unique<Side>(config, factory(config.service, side),
                                                  contexts_[side], *c.direction[side],
                                                  *c.direction[1 - side], random.child(2 + side));
        }
        connections_.push_back(std::move(c));
    }
}

wire::Flow World::flow(uint8_t from) const {
    wire::Flow flow;
    flow.source_mac = {{2, 0, 0, 0, 0, from}};
    flow.destination_mac = {{2, 0, 0, 0, 0, static_cast<uint8_t>(1 - from)}};
    const auto address = [this](uint8_t host) {
        if (!scenario_.v6) {
            return wire::Address::v4(10, 0, 0, static_cast<uint8_t>(host + 1));
        }
        wire::Address v6;
        v6.bytes[0] = 0xfd;
        v6.bytes[15] = static_cast<uint8_t>(host + 1);
        return v6;
    };
    flow.source = address(from);
    flow.destination = address(static_cast<uint8_t>(1 - from));
    flow.ecn = wire::Ecn::Capable0;
    return flow;
}

void World::connect(Connection& c, Instant now) {
    const uint32_t index = static_cast<uint32_t>(&c - connections_.data());
    const std::array<uint32_t, 2> qpn = {2 + index + 256 * c.incarnation,
                                         0x800000 + index + 256 * c.incarnation};
    std::array<transport::Psn, 2> psn;
    for (size_t side = 0; side < 2; ++side) {
        const auto near = static_cast<uint32_t>(uint64_t{0} - random_.below(200));
        const auto any = static_cast<uint32_t>(random_.next());
        psn[side] = transport::Psn::of(c.incarnation == 0 ? c.config->initial_psn[side]
                                       : random_.coin()   ? near
                                                          : any);
    }
    for (uint8_t side = 0; side < 2; ++side) {
        const size_t other = 1U - side;
        if (c.incarnation > 0) {
            c.side[side]->discard();
            c.direction[side]->ledger.abandon();
        }
        const bool vrdma = now >= scenario_.vrdma_from[side];
        const EndConfig config = {
            .service = c.config->service,
            .peer = vrdma ? transport::PeerKind::Vrdma : transport::PeerKind::Standard,
            .destination_qpn = qpn[other],
            .send_psn = psn[side],
            .receive_psn = psn[other],
            .path_mtu = c.config->path_mtu,
            .timeout = c.config->timeout,
            .retry_count = c.config->retry_count,
            .rnr_retry = c.config->rnr_retry,
            .max_rd_atomic = c.config->max_rd_atomic,
            .line_rate = scenario_.link[side].bytes_per_second};
        c.side[side]->connect(config, flow(side), qpn[side], now);
        c.direction[side]->last_progress = now;
        c.fail_at[side] = Instant::never();
    }
    ++c.incarnation;
    ++made_;
    c.connect_at = Instant::never();
    if (trace_ != nullptr) {
        trace_->note(now, fmt::format("connection {} is made: qpn {:x} psn {:06x}, qpn {:x} psn "
                                      "{:06x}",
                                      index, qpn[0], psn[0].value, qpn[1], psn[1].value));
    }
}

bool World::trouble(const Connection& c, size_t side, Instant now) const {
    return c.side[1 - side]->state() != Side::State::Up ||
           (scenario_.faulty() &&
            (scenario_.faults_end == Instant::never() || now - scenario_.faults_end < kAftermath));
}

void World::manage(Connection& c, Instant now) {
    for (size_t side = 0; side < 2; ++side) {
        const bool up = c.side[side]->state() == Side::State::Up;
        const bool other_up = c.side[1 - side]->state() == Side::State::Up;
        if (up && c.fail_at[side] <= now) {
            c.fail_at[side] = Instant::never();
            c.side[side]->fail();
        } else if (up && !other_up && c.fail_at[side] == Instant::never() && c.incarnation > 0) {
            c.fail_at[side] = now + scenario_.management_delay;
        }
        c.side[side]->set_peer_trouble(trouble(c, side, now));
    }
    const bool both_silent = c.side[0]->silent() && c.side[1]->silent();
    if (both_silent && !c.done() && c.connect_at == Instant::never()) {
        const Instant soonest = now + scenario_.management_delay;
        c.connect_at = std::max({soonest, hosts_[0].up_at, hosts_[1].up_at});
    }
    if (both_silent && c.connect_at <= now) {
        connect(c, now);
    }
}

void World::schedule(uint8_t host, Instant at) {
    Host& h = hosts_[host];
    if (at >= h.turn_at) {
        return;
    }
    h.turn_at = at;
    events_.push({.at = at, .host = host, .kind = Event::Kind::Turn});
}

void World::launch(void* world, uint8_t from, const Passage& passage) {
    auto& self = *static_cast<World*>(world);
    if (self.scenario_.record_departures) {
        self.departures_[from].push_back(self.now_);
    }
    for (uint32_t i = 0; i < passage.count; ++i) {
        self.events_.push({.at = passage.arrivals[i].at,
                           .frame = passage.arrivals[i].frame,
                           .host = static_cast<uint8_t>(1 - from),
                           .kind = Event::Kind::Arrival});
        ++self.in_flight_;
    }
}

Side* World::find(uint8_t host, const wire::Packet& packet) {
    const wire::Flow expected = flow(static_cast<uint8_t>(1 - host));
    if (packet.network.source != expected.source ||
        packet.network.destination != expected.destination) {
        return nullptr;
    }
    for (Connection& c : connections_) {
        if (c.side[host]->qpn() == packet.bth.dqpn) {
            return c.side[host].get();
        }
    }
    return nullptr;
}

void World::handle(uint8_t host, FrameIndex frame, Instant now) {
    ++handled_;
    const auto packet = wire::parse(frames_.at(frame).view());
    if (!packet) {
        if (trace_ != nullptr) {
            trace_->dropped(now, host, wire::drop_reason_name(packet.error()));
        }
    } else if (Side* side = find(host, *packet); side == nullptr) {
        if (trace_ != nullptr) {
            trace_->dropped(now, host, "unknown queue pair");
        }
    } else {
        if (trace_ != nullptr) {
            trace_->arrived(now, host, *packet);
        }
        side->receive(*packet, frame, now);
    }
    frames_.release(frame);
}

void World::learn(uint8_t host, Instant now) {
    if (!hosts_[host].learnt && now >= scenario_.vrdma_from[host]) {
        hosts_[host].learnt = true;
        for (Connection& c : connections_) {
            c.side[host]->set_peer(transport::PeerKind::Vrdma, now);
        }
    }
}

Instant World::next_turn(uint8_t host, Instant now) const {
    const Host& h = hosts_[host];
    Instant next = h.received.empty() ? Instant::never() : now;
    for (const Connection& c : connections_) {
        next = std::min({next, c.side[host]->next_turn(), c.fail_at[host], c.connect_at});
    }
    if (!h.learnt) {
        next = std::min(next, scenario_.vrdma_from[host]);
    }
    return next;
}

void World::turn(uint8_t host, Instant now) {
    Host& h = hosts_[host];
    h.turn_at = Instant::never();
    if (now < h.up_at) {
        schedule(host, h.up_at);
        return;
    }
    for (Connection& c : connections_) {
        manage(c, now);
    }
    learn(host, now);
    for (uint32_t i = 0; i < kBurst && !h.received.empty(); ++i) {
        const FrameIndex frame = h.received.front();
        h.received.pop_front();
        handle(host, frame, now);
    }
    h.first = (h.first + 1) % connections_.size();
    for (size_t i = 0; i < connections_.size(); ++i) {
        Connection& c = connections_[(h.first + i) % connections_.size()];
        c.side[host]->turn(now);
    }
    for (Connection& c : connections_) {
        manage(c, now);
    }
    for (uint8_t any = 0; any < 2; ++any) {  // managing may concern the other host, too
        const Instant next = next_turn(any, now);
        if (next != Instant::never()) {
            schedule(any, std::max(next, now + scenario_.host[any].turn));
        }
    }
}

void World::restart(uint8_t host, Instant now) {
    Host& h = hosts_[host];
    for (const Restart& restart : scenario_.restarts) {
        if (restart.host == host && restart.at == now) {
            h.up_at = now + restart.down;
        }
    }
    if (trace_ != nullptr) {
        trace_->note(now, fmt::format("host {} restarts, up at {} ns", host, h.up_at.ns));
    }
    for (const FrameIndex frame : h.received) {
        frames_.release(frame);
    }
    h.received.clear();
    for (Connection& c : connections_) {
        c.side[host]->die();
        manage(c, now);
    }
    for (uint8_t any = 0; any < 2; ++any) {
        schedule(any, std::max(now, hosts_[any].up_at));
    }
}

bool World::done() const {
    return std::ranges::all_of(connections_, [](const Connection& c) { return c.done(); });
}

void World::check_progress(Instant now) {
    if (scenario_.faults_end == Instant::never() ? !scenario_.faulty()
                                                 : now > scenario_.faults_end) {
        const Instant since = scenario_.faulty() ? scenario_.faults_end : Instant{0};
        for (const Connection& c : connections_) {
            for (const auto& direction : c.direction) {
                const Instant last = std::max(since, direction->last_progress);
                if (!direction->done() && now - last > scenario_.patience) {
                    accuse_standstill(*direction, last);
                }
            }
        }
    }
    if (handled_ + contexts_[0].timers + contexts_[1].timers > scenario_.event_limit) {
        judge_.accuse(Check::Liveness, fmt::format("more than {} events", scenario_.event_limit));
    }
}

void World::check_frames() {
    for (Connection& c : connections_) {
        for (const auto& side : c.side) {
            side->discard();
        }
    }
    if (frames_.live() != 0) {
        judge_.accuse(Check::Frames,
                      fmt::format("{} frames were never given back", frames_.live()));
    }
}

Report World::run() {
    Instant now{0};
    uint64_t next_check = kProgressEvery;
    uint64_t steps = 0;
    while (!judge_.violation() && !(done() && in_flight_ == 0)) {
        if (events_.empty()) {
            for (const Connection& c : connections_) {
                for (const auto& direction : c.direction) {
                    if (!direction->done()) {
                        accuse_standstill(*direction, now);
                    }
                }
            }
            break;
        }
        const Event event = events_.pop();
        now = now_ = event.at;
        if (now > scenario_.give_up) {
            break;
        }
        switch (event.kind) {
            case Event::Kind::Arrival:
                --in_flight_;
                if (now < hosts_[event.host].up_at) {
                    frames_.release(event.frame);
                    break;
                }
                hosts_[event.host].received.push_back(event.frame);
                if (hosts_[event.host].turn_at > now + scenario_.host[event.host].turn) {
                    const HostConfig& host = scenario_.host[event.host];
                    Instant at = now + host.turn;
                    if (now < scenario_.faults_end && random_.chance(host.pause)) {
                        at = at + random_.between(Duration{0}, host.pause_time);
                    }
                    schedule(event.host, at);
                }
                break;
            case Event::Kind::Turn:
                if (hosts_[event.host].turn_at == now) {
                    turn(event.host, now);
                }
                break;
            case Event::Kind::Restart:
                restart(event.host, now);
                break;
        }
        if (++steps >= next_check) {
            next_check = steps + kProgressEvery;
            check_progress(now);
        }
    }
    for (Host& host : hosts_) {
        for (const FrameIndex frame : host.received) {
            frames_.release(frame);
        }
        host.received.clear();
    }
    if (!judge_.violation() && in_flight_ == 0) {
        check_frames();
    }
    return report();
}

Report World::report() const {
    Report r;
    r.violation = judge_.violation();
    r.events = handled_ + contexts_[0].timers + contexts_[1].timers;
    r.connections = made_;
    r.departures = departures_;
    for (size_t i = 0; i < 2; ++i) {
        r.link[i] = links_[i].statistics();
        for (const Connection& c : connections_) {
            r.messages += c.direction[i]->ledger.completed();
            r.succeeded += c.direction[i]->ledger.succeeded();
            r.end = std::max(r.end, c.direction[i]->last_progress);
            r.retransmitted += c.side[i]->end().statistics().retransmitted_packets;
        }
    }
    return r;
}

}  // namespace vrdma::sim
