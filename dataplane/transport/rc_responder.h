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

#include "dataplane/base/time.h"
#include "dataplane/transport/inbound.h"
#include "dataplane/transport/limits.h"
#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/rc_requester.h"
#include "dataplane/transport/reorder_buffer.h"
#include "dataplane/wire/packet.h"
#include "dataplane/wire/syndrome.h"

namespace vrdma::transport {

struct RcResponderConfig {
    PeerKind peer = PeerKind::Standard;
    uint32_t destination_qpn = 0;
    Psn initial_psn;                 // rq_psn
    uint32_t path_mtu = 1024;        // bytes: 256, 512, 1024, 2048 or 4096
    uint8_t max_dest_rd_atomic = 1;  // at most kMaxRdAtomic; 0: READ and atomics are invalid
};

struct ResponderStatistics {
    uint32_t duplicates = 0;
    uint32_t out_of_order = 0;
    uint32_t sequence_naks = 0;
    uint32_t rnr_naks = 0;
    uint32_t congestion_notifications = 0;
};

class RcResponder {
  public:
    RcResponder() = default;  // all zero until reset(): for the arena
    void reset(const RcResponderConfig& config, Instant now);

    // A request packet addressed to this queue pair from the one it is connected to.
    [[nodiscard]] Inbound receive(const wire::Packet& packet, Instant now);
    void executed(const ExecuteResult& result);

    void hold(Sequence sequence, HeldPacket packet);
    // A held packet whose turn has come, to be given to receive() again, then released.
    [[nodiscard]] std::optional<HeldPacket> next_held();
    [[nodiscard]] std::optional<HeldPacket> discard_held() { return held_.discard(); }

    // ACK, NAK, SACK, CNP, READ response or ATOMIC ACK, in the order in which they must leave.
    [[nodiscard]] std::optional<PacketPlan> poll_transmit(Instant now);
    // The payload of the READ response just polled cannot be read: it becomes this NAK, and the
    // responder fails.
    void response_failed(ExecuteStatus status);

    // Nothing here needs a timer; when poll_transmit() has been asked until it had nothing, nothing
    // is due before the next receive().

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
    RcResponderConfig config_;
    ReorderBuffer held_;
    ResponderStatistics statistics_;
};

}  // namespace vrdma::transport
