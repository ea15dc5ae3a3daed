// Two hosts, a cable, some queue pairs between them, and virtual time: one run of a scenario.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/direction.h"
#include "tests/sim/end.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/frame_pool.h"
#include "tests/sim/judge.h"
#include "tests/sim/link.h"
#include "tests/sim/scenario.h"
#include "tests/sim/side.h"
#include "tests/sim/trace.h"

namespace vrdma::sim {

struct Report {
    std::optional<Violation> violation;
    uint64_t events = 0;  // frames handled, and timers
    Instant end{0};       // the last completion
    uint64_t messages = 0;
    uint64_t succeeded = 0;
    uint64_t connections = 0;  // made, reconnections included
    std::array<LinkStatistics, 2> link;
    // With Scenario::record_departures: when each frame was sent.
    std::array<std::vector<Instant>, 2> departures;
    uint64_t retransmitted = 0;  // packets, of the last incarnation of each queue pair
};

class World {
  public:
    explicit World(const Scenario& scenario, EndFactory factory = make_end, Trace* trace = nullptr);
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // To the end: all messages are complete and the cable is empty, or something is wrong.
    [[nodiscard]] Report run();

  private:
    struct Connection {
        const ConnectionConfig* config = nullptr;
        std::array<std::unique_ptr<Direction>, 2> direction;  // by requester
        std::array<std::unique_ptr<Side>, 2> side;
        std::array<Instant, 2> fail_at = {Instant::never(), Instant::never()};
        Instant connect_at{0};
        uint32_t incarnation = 0;

        [[nodiscard]] bool done() const { return direction[0]->done() && direction[1]->done(); }
    };
    struct Host {
        std::deque<FrameIndex> received;
        Instant turn_at = Instant::never();
        Instant up_at{0};
        bool learnt = false;  // set_peer() was called
        size_t first = 0;     // connection to serve first
    };

    static void launch(void* world, uint8_t from, const Passage& passage);
    void make_connections(EndFactory factory);
    void connect(Connection& connection, Instant now);
    void manage(Connection& connection, Instant now);
    void learn(uint8_t host, Instant now);
    void restart(uint8_t host, Instant now);
    void turn(uint8_t host, Instant now);
    void handle(uint8_t host, FrameIndex frame, Instant now);
    [[nodiscard]] Side* find(uint8_t host, const wire::Packet& packet);
    void schedule(uint8_t host, Instant at);
    [[nodiscard]] Instant next_turn(uint8_t host, Instant now) const;
    [[nodiscard]] bool done() const;
    void check_progress(Instant now);
    void check_frames();
    [[nodiscard]] bool trouble(const Connection& connection, size_t side, Instant now) const;
    [[nodiscard]] wire::Flow flow(uint8_t from) const;
    [[nodiscard]] Report report() const;

    Scenario scenario_;
    Random random_;
    Trace* trace_;
    Judge judge_;
    FramePool frames_;
    std::array<Link, 2> links_;
    std::array<HostContext, 2> contexts_;
    std::array<Host, 2> hosts_;
    std::vector<Connection> connections_;
    EventQueue events_;
    uint64_t in_flight_ = 0;
    uint64_t handled_ = 0;
    uint64_t made_ = 0;
    std::array<std::vector<Instant>, 2> departures_;
    Instant now_{0};
};

}  // namespace vrdma::sim
