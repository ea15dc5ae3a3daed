// The responder of one RC queue pair (IBA 9.7.4 - 9.7.5): request packets in, work for the caller
// out, answers to send. Sans-IO.
//
//     verdict = responder.receive(packet, now);
//     Execute, Reexecute: check and do it, then responder.executed(result), always and at once
//     Hold: responder.hold(verdict.sequence, handle), or drop the packet
//     while (auto handle = responder.next_held()) the same for the packet kept under it
//     once a turn: while (auto plan = responder.poll_transmit(now)) send(*plan);
//
// Answers are coalesced between two rounds of poll_transmit(). After a NAK that ends the connection
// (executed() with one, or an invalid request found here: see failed()) the queue pair is in the
// error state, but poll_transmit() must still be asked until the NAK is out.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "dataplane/base/time.h"
#include "dataplane/transport/dcqcn.h"
#include "dataplane/transport/inbound.h"
#include "dataplane/transport/limits.h"
#include "dataplane/transport/pacer.h"
#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/rc_requester.h"
#include "dataplane/transport/reorder_buffer.h"
#include "dataplane/wire/packet.h"
#include "dataplane/wire/syndrome.h"

namespace vrdma::transport {

struct RcResponderConfig {
    PeerKind peer = PeerKind::Standard;
    uint32_t destination_qpn = 0;
    Psn initial_psn;                      // rq_psn
    uint32_t path_mtu = 1024;             // bytes: 256, 512, 1024, 2048 or 4096
    uint8_t max_dest_rd_atomic = 1;       // at most kMaxRdAtomic; 0: READ and atomics are invalid
    uint64_t line_rate = 12'500'000'000;  // bytes per second of the port, where pacing begins
};

struct ResponderStatistics {
    uint32_t duplicates = 0;
    uint32_t out_of_order = 0;
    uint32_t sequence_naks = 0;
    uint32_t rnr_naks = 0;
    uint32_t congestion_notifications = 0;  // sent
};

class RcResponder {
  public:
    RcResponder() = default;  // all zero until reset(): for the arena
    void reset(const RcResponderConfig& config);

    // A request packet addressed to this queue pair from the one it is connected to.
    // The result is valid until the next call.
    [[nodiscard]] const Inbound& receive(const wire::Packet& packet, Instant now);
    void executed(const ExecuteResult& result);

    void hold(Sequence sequence, HeldPacket packet);
    // A held packet whose turn has come, to be given to receive() again, then released.
    [[nodiscard]] std::optional<HeldPacket> next_held();
    [[nodiscard]] bool holds() const { return !held_.empty(); }
    [[nodiscard]] std::optional<HeldPacket> discard_held() { return held_.discard(); }

    // ACK, NAK, SACK, CNP, READ response or ATOMIC ACK, in the order in which they must leave.
    [[nodiscard]] bool poll_transmit(Instant now, PacketPlan& plan);
    [[nodiscard]] std::optional<PacketPlan> poll_transmit(Instant now) {
        return polled([&](PacketPlan& plan) { return poll_transmit(now, plan); });
    }
    // The payload of the READ response just polled cannot be read: it becomes this NAK, and the
    // responder fails.
    void response_failed(ExecuteStatus status);

    // A CNP of the peer: its network cannot take READ responses at this rate.
    void on_congestion(Instant now);
    // When poll_transmit() has been asked until it had nothing, nothing is due before the next
    // receive() and this time, at which poll_transmit() goes on.
    [[nodiscard]] Instant next_deadline() const {
        return pacing_blocked_ ? pacer_.next() : Instant::never();
    }
    void on_deadline(Instant now) { pacing_blocked_ = pacing_blocked_ && pacer_.next() > now; }

    void set_peer(PeerKind peer) { config_.peer = peer; }
    // The queue pair goes to the error state from outside: nothing is taken or answered any more.
    void fail();
    // It sent or will send a NAK that ends the connection; why:
    [[nodiscard]] bool failed() const;
    [[nodiscard]] wire::NakCode failure() const;
    // There is something to poll.
    [[nodiscard]] bool has_output() const;
    [[nodiscard]] const ResponderStatistics& statistics() const { return statistics_; }

  private:
    // What the packets before left unfinished.
    enum class Progress : uint8_t { Between, InSend, InWrite };
    // A verdict that waits for executed().
    enum class Pending : uint8_t { Nothing, Request, Replay };
    // Running; Failing: a NAK that ends the connection goes out; Failed: by fail(), silent.
    enum class Phase : uint8_t { Running, Failing, Failed };
    enum class NakDue : uint8_t { None, Once, Terminal };

    // A READ or atomic that was executed, and its answer that is not all out.
    struct Response {
        Sequence begin = 0;
        uint64_t word = 0;  // READ: the address; atomic: the value before
        uint32_t rkey = 0;
        uint32_t length = 0;
        uint32_t packets = 0;
        uint32_t polled = 0;
        uint32_t msn = 0;
        uint32_t srqn = 0;  // XRC
        bool atomic = false;
        bool replay = false;
    };
    struct SavedAtomic {
        Sequence sequence = 0;  // 0: none
        uint64_t original = 0;
        uint32_t msn = 0;
    };
    static constexpr uint32_t kMaxResponses = 2 * kMaxRdAtomic;  // first answers and replays

    [[nodiscard]] const Inbound& accept(const wire::Packet& packet);
    [[nodiscard]] const Inbound& ahead(const wire::Packet& packet, Sequence sequence);
    [[nodiscard]] const Inbound& duplicate(const wire::Packet& packet, Sequence sequence);
    [[nodiscard]] const Inbound& replay_atomic(Sequence sequence);
    [[nodiscard]] bool begin_send(const wire::Packet& packet, Inbound& inbound);
    [[nodiscard]] bool begin_write(const wire::Packet& packet, Inbound& inbound);
    [[nodiscard]] bool begin_read(const wire::Packet& packet, Inbound& inbound);
    [[nodiscard]] bool begin_atomic(const wire::Packet& packet, Inbound& inbound);
    // Its bytes have the length that their place in a message asks for.
    [[nodiscard]] bool length_fits(const wire::Packet& packet) const;
    [[nodiscard]] const Inbound& refuse(wire::NakCode code);
    [[nodiscard]] const Inbound& drop(DropReason reason);
    void end_with(wire::NakCode code, Sequence sequence);
    [[nodiscard]] uint32_t read_packets(uint32_t length) const;
    [[nodiscard]] uint32_t responses(bool replays) const;
    void answer(const Response& response);

    // Its pace does not allow a response yet.
    [[nodiscard]] bool held_back(Instant now);
    void set_pace();
    void plan_cnp(Instant now, PacketPlan& plan);
    void plan_response(PacketPlan& plan);
    void plan_acknowledge(uint8_t syndrome, Sequence sequence, Instant now, PacketPlan& plan);

    RcResponderConfig config_;
    uint8_t mtu_shift_ = 0;
    Phase phase_ = Phase::Running;
    wire::NakCode failure_ = wire::NakCode::PsnSequenceError;
    NakDue nak_due_ = NakDue::None;
    uint8_t nak_syndrome_ = 0;
    bool ack_due_ = false;
    bool gap_reported_ = false;  // the NAK for what is missing is out, or due
    bool rnr_ = false;           // what is missing was refused with RNR
    Progress progress_ = Progress::Between;

    Sequence expected_ = 0;
    Sequence nak_sequence_ = 0;
    Sequence last_response_ = 0;  // polled last
    uint32_t msn_ = 0;
    uint32_t unasked_ = 0;  // packets since the last acknowledgement

    // The message in progress.
    uint64_t address_ = 0;
    uint32_t rkey_ = 0;
    uint32_t total_ = 0;  // WRITE
    uint32_t offset_ = 0;

    Pending pending_ = Pending::Nothing;
    bool pending_ack_request_ = false;
    Sequence pending_begin_ = 0;
    Sequence pending_end_ = 0;
    Inbound inbound_;        // what receive() returned last; while pending_, what is executed
    Sequence hold_end_ = 0;  // of the packet that was offered for holding

    // For the SACK.
    uint32_t received_ = 0;
    uint32_t ce_marked_ = 0;
    Psn echo_psn_;
    bool echo_valid_ = false;
    Instant echo_at_{};

    // Toward a standard peer.
    CnpLimiter cnp_;
    Dcqcn dcqcn_;  // of READ responses
    Pacer pacer_;
    bool pacing_blocked_ = false;  // poll_transmit() was asked too early

    // [response_head_, response_tail_), free-running.
    uint32_t response_head_ = 0;
    uint32_t response_tail_ = 0;
    std::array<Response, kMaxResponses> responses_{};
    uint32_t atomic_tail_ = 0;
    std::array<SavedAtomic, kMaxRdAtomic> atomics_{};
    ResponderStatistics statistics_;
    ReorderBuffer held_;
};
static_assert(std::is_trivially_copyable_v<RcResponder>, "lives in the arena");
static_assert(sizeof(RcResponder) <= 3392, "what a remote queue pair costs");

}  // namespace vrdma::transport
