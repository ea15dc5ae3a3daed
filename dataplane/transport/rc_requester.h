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

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "dataplane/base/time.h"
#include "dataplane/transport/dcqcn.h"
#include "dataplane/transport/drop_reason.h"
#include "dataplane/transport/limits.h"
#include "dataplane/transport/loss_recovery.h"
#include "dataplane/transport/message.h"
#include "dataplane/transport/pacer.h"
#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/psn.h"
#include "dataplane/transport/reorder_buffer.h"
#include "dataplane/transport/rtt.h"
#include "dataplane/transport/send_window.h"
#include "dataplane/transport/swift.h"
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
    // can_post() holds, the message is valid for RC (length, 8 bytes for atomics), and no message
    // that is posted and incomplete has its id.
    void post(const Message& message);

    // Makes the next packet in `plan`, which is as PacketPlan{} is. False: nothing to send now,
    // wait for receive() or next_deadline().
    // The caller that cannot read the payload calls fail_message() and drops the plan.
    [[nodiscard]] bool poll_transmit(Instant now, PacketPlan& plan);
    [[nodiscard]] std::optional<PacketPlan> poll_transmit(Instant now) {
        return polled([&](PacketPlan& plan) { return poll_transmit(now, plan); });
    }

    // A packet addressed to this queue pair from the one it is connected to, and not a request.
    // Place and Original: when the local memory is gone, call fail_message(); the state has moved
    // on already, so nothing else is due.
    [[nodiscard]] Answer receive(const wire::Packet& packet, Instant now);
    // Answer::Hold: keeps it under `packet`.
    void hold(Sequence sequence, HeldPacket packet);
    // A held packet whose turn has come, to be given to receive() again, then released. Ask after
    // each receive().
    [[nodiscard]] std::optional<HeldPacket> next_held();
    [[nodiscard]] bool holds() const { return !held_.empty(); }
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
    // Free-running number of a posted message.
    using Index = uint32_t;

    struct Outstanding {
        Sequence first = 0;
        uint64_t remote_address = 0;
        uint64_t swap_or_add = 0;
        uint64_t compare = 0;
        uint32_t id = 0;
        uint32_t length = 0;
        uint32_t packets = 0;
        uint32_t rkey = 0;
        uint32_t imm = 0;
        Operation operation = Operation::Send;
        bool solicited = false;
        bool fence = false;
        [[nodiscard]] Sequence end() const { return first + packets; }
    };
    // Running: all is well. Failing: fault_ is known, what is before it goes on.
    // Failed: nothing is sent or taken; what is posted is flushed.
    enum class Phase : uint8_t { Running, Failing, Failed };

    [[nodiscard]] Outstanding& at(Index i) { return messages_[i & (kWindowMessages - 1)]; }
    [[nodiscard]] const Outstanding& at(Index i) const {
        return messages_[i & (kWindowMessages - 1)];
    }
    // The posted message that has this number; it is between the oldest incomplete and the newest.
    [[nodiscard]] Index find(Sequence sequence) const;
    // The packets that one request packet of the message stands for: [begin, end) around it.
    struct Unit {
        Sequence begin;
        Sequence end;
    };
    [[nodiscard]] Unit unit(const Outstanding& m, Sequence sequence) const;
    [[nodiscard]] bool complete(Index i) const;
    [[nodiscard]] Index fence_of_fault() const { return phase_ == Phase::Failing ? fault_ : tail_; }

    [[nodiscard]] bool transmit_again(Instant now, PacketPlan& plan);
    [[nodiscard]] bool transmit_new(Instant now, PacketPlan& plan);
    void fill(const Outstanding& m, Sequence from, Sequence to, PacketPlan& plan) const;
    // Requests of READs and atomics that were sent and are not fully answered: no more than
    // max_rd_atomic. Read off the window, so that it cannot drift from it.
    [[nodiscard]] bool reads_exhausted() const;
    [[nodiscard]] Sequence window_base() const;
    // Something was sent and is not finished, if only for want of an acknowledgement.
    [[nodiscard]] bool unfinished() const;
    [[nodiscard]] uint32_t window_limit() const;
    // Congestion control lets another packet go.
    [[nodiscard]] bool room() const;
    void charge(const PacketPlan& plan, Instant now);
    void plan_cnp(Instant now, PacketPlan& plan);

    [[nodiscard]] Answer on_acknowledge(const wire::Packet& packet, Instant now);
    [[nodiscard]] Answer on_nak(Sequence sequence, uint8_t code, Instant now);
    [[nodiscard]] Answer on_rnr_nak(Sequence sequence, uint8_t timer_code, Instant now);
    [[nodiscard]] Answer on_response(const wire::Packet& packet, Instant now);
    [[nodiscard]] Answer on_next_response(const wire::Packet& packet, Instant now);
    [[nodiscard]] uint32_t payload_of(const Outstanding& m, Sequence sequence) const;
    void take_sack(const wire::SackEth& sack, Instant now);
    // Everything before `upto` was executed by the peer.
    enum class Source : uint8_t { Acknowledgement, Response };
    void acknowledge(Sequence upto, Instant now, Source source = Source::Acknowledgement);
    // The peer has received the requests (it may only hold them); a response is here.
    void arrived(Sequence from, Sequence end, Instant now, Source source);
    void answered(Sequence sequence, Instant now);
    // It arrived, and had arrived before.
    void second_copy(Sequence sequence, bool response);
    void progress(Instant now);
    // The responses from response_next_ on are missing though later answers came.
    void implied_nak();
    void go_back(Sequence from);
    void detect_losses(Instant now);
    void tell_swift(uint32_t in_flight_before, Instant now);
    void set_pace();
    void set_fault(Index message, CompletionStatus status);

    [[nodiscard]] bool unbounded() const { return config_.timeout == 0; }
    [[nodiscard]] Duration ack_timeout() const;
    [[nodiscard]] Instant timer_deadline() const;
    [[nodiscard]] Instant probe_deadline() const;
    void on_timeout(Instant now);
    void on_probe();
    // Everything that was only held by the peer is taken back.
    void renege();
    [[nodiscard]] Instant recovery_deadline() const {
        return std::min(requests_.deadline(), responses_.deadline());
    }

    RcRequesterConfig config_;
    uint8_t mtu_shift_ = 0;
    Phase phase_ = Phase::Running;
    CompletionStatus fault_status_ = CompletionStatus::Success;
    uint8_t retries_left_ = 0;
    uint8_t rnr_left_ = 0;
    uint8_t backoff_ = 0;          // of the retransmission timeout, as a power of two
    bool probed_ = false;          // since the last progress
    bool pacing_blocked_ = false;  // poll_transmit() was asked too early
    bool beyond_window_ = false;   // the next packet is sent whatever the window says

    // tail_ - done_ messages are posted; [done_, send_) have been sent, send_ perhaps in part.
    Index done_ = 0;
    Index ack_ = 0;       // holds acked_
    Index response_ = 0;  // awaits response_next_; tail_ when no posted message awaits any
    Index send_ = 0;
    Index tail_ = 0;
    Index fault_ = 0;

    Sequence next_ = 0;   // of the next message to be posted
    Sequence acked_ = 0;  // the peer has executed everything before
    Sequence response_next_ =
        0;                      // the oldest missing response; meaningful while response_ != tail_
    Sequence implied_for_ = 0;  // response_next_ at the last implied NAK: one for each

    uint32_t peer_received_ = 0;  // packets, by its newest SACK
    uint32_t peer_marked_ = 0;
    // Since swift_ was told last.
    uint32_t news_received_ = 0;
    uint32_t news_marked_ = 0;
    Duration news_rtt_{};

    Instant rnr_until_{};
    Instant timer_start_{};
    Instant progress_at_{};
    Instant last_sent_{};
    Instant received_at_{};

    SendWindow window_;
    LossRecovery requests_;   // by what the peer says it received
    LossRecovery responses_;  // by what came back
    RttEstimator rtt_;
    Swift swift_;     // toward a vRDMA peer
    Dcqcn dcqcn_;     // toward a standard peer
    CnpLimiter cnp_;  // for marked READ responses
    Pacer pacer_;
    RequesterStatistics statistics_;
    std::array<Outstanding, kWindowMessages> messages_{};
    ReorderBuffer held_;
};
static_assert(std::is_trivially_copyable_v<RcRequester>, "lives in the arena");
static_assert(sizeof(RcRequester) <= 6464, "what a remote queue pair costs");

}  // namespace vrdma::transport
