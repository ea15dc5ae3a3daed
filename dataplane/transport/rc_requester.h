// The requester of one RC queue pair (IBA 9.7): work requests in, packets out, answers in,
// completions out. Sans-IO: time comes as an argument, memory is the caller's.
//
//     while (more and requester.can_post()) requester.post(message);
//     while (auto plan = requester.poll_transmit(now)) send(*plan);
//     for each packet of this queue pair that is a response, a CNP or a SACK:
//         verdict = requester.receive(packet, now); do what it says
//         while (auto handle = requester.next_held()) the same for the packet kept under it
//     while (auto completion = requester.poll_completion()) report(*completion);
//     at next_deadline(): requester.on_deadline(now);
//
// Every call may make other calls useful: after receive() and on_deadline() look at
// poll_completion() and poll_transmit(). All state is inside; copying it moves the queue pair.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataplane/base/time.h"
#include "dataplane/transport/drop_reason.h"
#include "dataplane/transport/limits.h"
#include "dataplane/transport/message.h"
#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/psn.h"
#include "dataplane/transport/reorder_buffer.h"
#include "dataplane/transport/window_bits.h"
#include "dataplane/wire/packet.h"

namespace vrdma::transport {

// What the other side speaks.
enum class PeerKind : uint8_t {
    Standard,  // RoCEv2 as specified
    Vrdma,     // and SACK: selective repeat, measured timers, delay-based congestion control
};

struct RcRequesterConfig {
    PeerKind peer = PeerKind::Standard;
    uint32_t destination_qpn = 0;
    Psn initial_psn;           // sq_psn
    uint32_t path_mtu = 1024;  // bytes: 256, 512, 1024, 2048 or 4096
    uint8_t timeout = 14;      // 4.096 us * 2^timeout; 0: no limit (IBA 9.7.6.1.3)
    uint8_t retry_count = 7;
    uint8_t rnr_retry = 7;                // 7: no limit
    uint8_t max_rd_atomic = 1;            // 1 to kMaxRdAtomic where READ or atomics are posted
    uint64_t line_rate = 12'500'000'000;  // bytes per second of the port, where pacing begins
};

// What a received packet asks of the caller.
struct Answer {
    enum class Action : uint8_t {
        Nothing,   // consumed
        Place,     // copy the payload to [offset, offset + length) of the message's memory
        Original,  // write `original` to the atomic's memory
        Hold,      // out of order: call hold(sequence, handle) and keep the packet, or drop it
        Drop,
    };
    Action action = Action::Nothing;
    DropReason reason = DropReason::None;
    uint32_t message_id = 0;
    uint32_t offset = 0;
    uint32_t length = 0;
    uint64_t original = 0;
    Sequence sequence = 0;
};

// Events since the beginning, for counters and `vrdmactl qp show`; they wrap.
struct RequesterStatistics {
    uint32_t retransmitted_packets = 0;
    uint32_t timeouts = 0;
    uint32_t tail_probes = 0;
    uint32_t sequence_naks = 0;
    uint32_t rnr_naks = 0;
    uint32_t implied_naks = 0;
    uint32_t congestion_notifications = 0;
    uint32_t spurious_retransmissions = 0;
};

class RcRequester {
  public:
    RcRequester() = default;  // all zero until reset(): for the arena
    void reset(const RcRequesterConfig& config, Instant now);

    // There is room for one more. False too once failed().
    [[nodiscard]] bool can_post() const;
    // can_post() holds, and the message is valid for RC (length, 8 bytes for atomics).
    void post(const Message& message);

    // The next packet, or nothing to send now: wait for receive() or next_deadline().
    // The caller that cannot read the payload calls fail_message() and drops the plan.
    [[nodiscard]] std::optional<PacketPlan> poll_transmit(Instant now);

    // A packet addressed to this queue pair from the one it is connected to, and not a request.
    // Place and Original: when the local memory is gone, call fail_message(); the state has moved
    // on already, so nothing else is due.
    [[nodiscard]] Answer receive(const wire::Packet& packet, Instant now);
    // Answer::Hold: keeps it under `packet`.
    void hold(Sequence sequence, HeldPacket packet);
    // A held packet whose turn has come, to be given to receive() again, then released. Ask after
    // each receive().
    [[nodiscard]] std::optional<HeldPacket> next_held();
    // Before reset() or when the queue pair goes: all that is still held, one at a time.
    [[nodiscard]] std::optional<HeldPacket> discard_held() { return held_.discard(); }

    // The message can go no further here: it completes with this status once all before it have,
    // and everything behind it is flushed.
    void fail_message(uint32_t id, CompletionStatus status);
    // The queue pair goes to the error state: all that is posted is flushed at once, the oldest
    // with `first`. Held packets stay until discard_held().
    void fail(CompletionStatus first = CompletionStatus::Flushed);

    // In the order of post().
    [[nodiscard]] std::optional<Completion> poll_completion();

    [[nodiscard]] Instant next_deadline() const;
    void on_deadline(Instant now);

    // The host pair has learnt what it speaks.
    void set_peer(PeerKind peer, Instant now);

    // Nothing posted is incomplete: the send queue is drained (IBA 10.3.1.3).
    [[nodiscard]] bool drained() const;
    // A completion with an error was or will be given; nothing is sent any more.
    [[nodiscard]] bool failed() const;
    [[nodiscard]] const RequesterStatistics& statistics() const { return statistics_; }
    [[nodiscard]] PeerKind peer() const { return config_.peer; }

  private:
    RcRequesterConfig config_;
    ReorderBuffer held_;
    RequesterStatistics statistics_;
};

}  // namespace vrdma::transport
