// One side of a connection: an end, and the host that does what it says.
#pragma once

#include <memory>
#include <optional>

#include "dataplane/transport/flowlets.h"
#include "dataplane/wire/build.h"
#include "dataplane/wire/packet.h"
#include "tests/sim/direction.h"
#include "tests/sim/end.h"
#include "tests/sim/frame_pool.h"
#include "tests/sim/link.h"
#include "tests/sim/trace.h"

namespace vrdma::sim {

// What all sides of a host share.
struct HostContext {
    FramePool& frames;
    Link& out;
    Judge& judge;
    Trace* trace = nullptr;  // null: no trace
    // A frame is on its way to the other host.
    void (*launch)(void* world, uint8_t from, const Passage& passage) = nullptr;
    void* world = nullptr;
    uint8_t host = 0;
    uint64_t timers = 0;  // that fired
};

class Side {
  public:
    enum class State : uint8_t { Up, Error, Down };

    Side(const ConnectionConfig& config, std::unique_ptr<End> end, HostContext& host,
         Direction& own, Direction& served, Random random)
        : config_(config),
          end_(std::move(end)),
          host_(host),
          own_(own),
          served_(served),
          random_(random) {}

    // A new queue pair, ready to send.
    void connect(const EndConfig& config, const wire::Flow& flow, uint32_t qpn, Instant now);
    // What the peer speaks has been found out.
    void set_peer(transport::PeerKind peer, Instant now);

    // A packet for this queue pair from its peer; `frame` stays the caller's.
    void receive(const wire::Packet& packet, FrameIndex frame, Instant now);
    // Timers, completions, posts, packets. Afterwards next_turn() is right.
    void turn(Instant now);
    [[nodiscard]] Instant next_turn() const { return next_turn_; }

    // The connection's manager says that the other side is in error.
    void fail();
    // The host dies: nothing is reported any more.
    void die();
    // Gives back all frames it holds.
    void discard();

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] uint32_t qpn() const { return qpn_; }
    // In error, and everything was reported.
    [[nodiscard]] bool silent() const { return state_ != State::Up; }
    // The other side may be unreachable or in error.
    void set_peer_trouble(bool trouble) { peer_trouble_ = trouble; }
    [[nodiscard]] const End& end() const { return *end_; }

  private:
    void receive_request(const wire::Packet& packet, FrameIndex frame, Instant now);
    void receive_answer(const wire::Packet& packet, FrameIndex frame, Instant now);
    void give_back(FrameIndex frame);
    bool complete(Instant now);
    bool post(Instant now);
    bool transmit_answers(Instant now);
    bool transmit_requests(Instant now);
    bool gather(const transport::PacketPlan& plan, const std::byte*& payload);
    void send(const transport::PacketPlan& plan, const std::byte* payload, Instant now);
    void notice_failure();
    [[nodiscard]] bool room(Instant now) const { return host_.out.room_at() <= now; }

    const ConnectionConfig& config_;
    std::unique_ptr<End> end_;
    HostContext& host_;
    Direction& own_;
    Direction& served_;
    Random random_;
    wire::FlowTemplate flow_;
    transport::Flowlets flowlets_;
    transport::PeerKind peer_ = transport::PeerKind::Standard;
    State state_ = State::Down;
    uint32_t qpn_ = 0;
    uint32_t in_batch_ = 0;
    Instant think_until_{0};
    Instant next_turn_ = Instant::never();
    bool error_completed_ = false;  // a completion had an error
    bool failed_by_host_ = false;
    bool peer_trouble_ = false;
};

}  // namespace vrdma::sim
