// All that a run is made of: the axes, each drawn by itself from the seed.
//
// A scenario is data: a test fills one in by hand, draw_scenario() makes one from a number.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/transport/message.h"
#include "dataplane/transport/rc_requester.h"
#include "dataplane/wire/opcode.h"

namespace vrdma::sim {

inline constexpr size_t kOperations = 8;
static_assert(static_cast<size_t>(transport::Operation::SendInvalidate) + 1 == kOperations);

// What happens to one frame of a link, named by its place among all frames sent there. Nothing
// after Scenario::faults_end.
struct ScriptedFate {
    enum class Kind : uint8_t {
        Drop,
        Duplicate,
        DelayUntil,
        Delay,
        Corrupt,  // bits flip on the way; the ICRC tells
        Mark,     // ECN
        // A copy with other bytes under a right ICRC arrives beside the frame, or instead of it:
        // what somebody on the path can do. Only in a scenario that is hostile.
        ForgeBeside,
        ForgeInstead,
    };
    uint64_t ordinal = 0;  // 0: the first frame
    Kind kind = Kind::Drop;
    Instant until;       // DelayUntil
    Duration delay{};    // Delay; Duplicate: of the second copy, 0: any
    uint32_t at = 0;     // Forge: byte of the transport headers, or behind them
    uint32_t flips = 0;  // Forge: changes in the four bytes from there, the first in the low bits
};

struct Outage {
    Instant from;
    Instant to;
};

inline constexpr uint32_t kMostPaths = 8;

// One direction of the cable between the two hosts.
struct LinkConfig {
    uint64_t bytes_per_second = 3'125'000'000;  // of the sender's port
    uint64_t bottleneck = 3'125'000'000;        // bytes per second of the switch behind it
    Duration delay = Duration::microseconds(2);
    // Behind the switch: equal paths but for their delay, chosen by the UDP source port.
    uint32_t paths = 1;        // at most kMostPaths
    Duration skew{};           // between the fastest and the slowest
    uint32_t queue_bytes = 0;  // of the switch; 0: no limit
    uint32_t mark_bytes = 0;   // ECN threshold of the switch; 0: never
    // Faults, which end at Scenario::faults_end.
    double loss = 0;
    double burst = 0;           // probability that a frame begins a burst of loss
    uint32_t burst_frames = 0;  // its mean length
    double duplicate = 0;
    double reorder = 0;           // probability that a frame is overtaken
    uint32_t reorder_frames = 0;  // by at most so many
    double corrupt = 0;
    Duration jitter{};  // added to the delay, without changing the order
    double mark = 0;    // probability that a frame is marked, whatever the queue
    std::vector<Outage> outages;
    std::vector<ScriptedFate> script;
};

struct HostConfig {
    Duration turn{200};     // from a reason to run until the worker runs
    double pause = 0;       // probability that a turn comes late ...
    Duration pause_time{};  // ... by up to this
};

// One message that a program posts.
struct ScriptedMessage {
    transport::Operation operation = transport::Operation::Send;
    uint32_t length = 0;
    bool fence = false;
    bool solicited = false;
    bool failing = false;  // in one of the ways in which it can
    Duration pause{};      // before the next one is posted
};

// Relative weights of the operations.
struct OperationMix {
    // In the order of transport::Operation.
    std::array<uint32_t, kOperations> weight = {1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t max_length = 4096;
    double empty = 0.03;  // messages of no bytes
    double fence = 0;     // share of messages with a fence
    double failing = 0;   // share of messages that must fail
    bool whole = false;   // every message has max_length
    double reread = 0;    // share of READs that read what the message before wrote
    // The first messages; those behind are drawn.
    std::vector<ScriptedMessage> script;
};

struct ConnectionConfig {
    wire::Service service = wire::Service::Rc;
    uint32_t path_mtu = 1024;
    uint8_t timeout = 14;
    uint8_t retry_count = 7;
    uint8_t rnr_retry = 7;
    uint8_t rnr_timer = 1;
    uint8_t max_rd_atomic = 4;
    std::array<uint32_t, 2> initial_psn = {0, 0};   // of host 0's requester, of host 1's
    std::array<uint32_t, 2> messages = {100, 100};  // that each side posts in all
    std::array<uint32_t, 2> queue_depth = {16, 16};
    std::array<OperationMix, 2> mix;
    uint32_t receives = 16;  // receive entries of each side
    double scarce = 0;       // share of receive entries that come back late ...
    Duration scarce_time{};  // ... by up to this
    Duration think{};        // between two batches of work requests
    bool move = false;       // the state is copied elsewhere now and then
    bool spray = false;      // RC between vRDMA hosts: flowlets
};

struct Restart {
    uint8_t host = 0;
    Instant at;
    Duration down;
};

struct Scenario {
    uint64_t seed = 0;
    bool v6 = false;
    // What the hosts speak, and when each of them learns that both are vRDMA (never: Standard).
    std::array<Instant, 2> vrdma_from = {Instant{0}, Instant{0}};
    std::array<LinkConfig, 2> link;  // [0]: from host 0 to host 1
    std::array<HostConfig, 2> host;
    std::vector<ConnectionConfig> connections;
    std::vector<Restart> restarts;
    Instant faults_end = Instant::never();
    Duration management_delay = Duration::microseconds(300);  // news of an error to the other side
    // After the faults, and without progress for this long, a connection is stuck.
    Duration patience = Duration::milliseconds(20'000);
    uint64_t event_limit = 20'000'000;  // a run that needs more does not end
    bool record_departures = false;
    // Packets are forged. What they make both sides believe is not judged: only that every message
    // ends, once and in order, and that nobody leaves his memory.
    bool hostile = false;
    Instant give_up = Instant::never();  // end of the run, whatever was reached

    [[nodiscard]] bool vrdma() const {
        return vrdma_from[0] != Instant::never() && vrdma_from[1] != Instant::never();
    }
    [[nodiscard]] bool faulty() const;
};

[[nodiscard]] Scenario draw_scenario(uint64_t seed);
// Several lines for people.
[[nodiscard]] std::string describe(const Scenario& scenario);

}  // namespace vrdma::sim
