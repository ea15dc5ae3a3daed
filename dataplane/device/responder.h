// The receiving side of a queue pair on the same-host path.
#pragma once

#include <tl/expected.hpp>

#include "dataplane/device/queue_pairs.h"

namespace vrdma {

class Responder {
  public:
    Responder(DeviceState& state, QueuePairs& queue_pairs)
        : state_(state), queue_pairs_(queue_pairs) {}

    // Executes one slice addressed to (vnic, qpn). Slices of one message come in order.
    [[nodiscard]] Reply receive(uint32_t vnic, uint32_t qpn, Slice& slice);

    // The same for a slice that is known to come from the queue pair's peer. Not READ: its payload
    // goes the other way.
    [[nodiscard]] Reply receive_connected(uint32_t slot, Slice& slice);
    // A datagram for a queue pair in RTR or RTS; `grh` is what stands in front of it.
    using Grh = std::array<std::byte, kGrhBytes>;
    [[nodiscard]] Reply receive_datagram(uint32_t slot, Slice& slice, const Grh& grh);
    // The memory that the peer may read this from; without MR for no bytes, which need none. The
    // queue pair fails if it may not.
    struct ReadAccess {
        uint32_t rkey;
        uint32_t srqn;  // for an XRC target
        uint64_t address;
        uint64_t length;
    };
    [[nodiscard]] tl::expected<RemoteTarget, Reply> check_read(uint32_t slot,
                                                               const ReadAccess& access);
    // The first packet of its peer, whatever it asks for: COMM_EST in RTR (IBA 11.6.3.2).
    void note_contact(uint32_t slot);
    // Its memory is gone while it is being read.
    [[nodiscard]] Reply refuse_read(uint32_t slot);
    // There is such a queue pair of this vNIC, and it takes datagrams.
    [[nodiscard]] std::optional<uint32_t> datagram_receiver(uint32_t vnic, uint32_t qpn);

  private:
    [[nodiscard]] Reply send(uint32_t slot, Slice& slice);
    [[nodiscard]] Reply write(uint32_t slot, Slice& slice);
    [[nodiscard]] Reply read(uint32_t slot, Slice& slice);
    [[nodiscard]] Reply atomic(uint32_t slot, Slice& slice);

    // Refuses: the responder's queue pair fails too on RC (IBA 9.9.3), the message is dropped on
    // UC.
    [[nodiscard]] Reply refuse(uint32_t slot, vrdma_wc_status status, vrdma_reason reason,
                               vrdma_event_type event);
    // What a request for an XRC target names counts for it (DeviceState::bind_srq). The queue pair
    // fails if there is no such SRQ, or its completions have no room.
    [[nodiscard]] std::optional<Reply> bind_target(uint32_t slot, uint32_t srqn, bool first);
    [[nodiscard]] Reply refuse_srq(uint32_t slot);
    [[nodiscard]] Reply refuse_receive(uint32_t slot, vrdma_wc_status local_status,
                                       vrdma_reason local_reason, vrdma_wc_status remote_status,
                                       vrdma_reason remote_reason);
    // Longer than the receive entry. RC: both sides fail. UC and UD: dropped, and the entry waits
    // for the next message, so that a peer cannot stop the queue pair.
    [[nodiscard]] Reply refuse_length(uint32_t slot);
    // Takes a receive entry when none is taken. nullopt: there is one now.
    [[nodiscard]] std::optional<Reply> need_receive(uint32_t slot);
    // Copies the slice's payload into the taken receive entry at `offset`.
    [[nodiscard]] std::optional<vrdma_reason> scatter(Qp& qp, Slice& slice, uint32_t offset);
    [[nodiscard]] Transferred place(std::span<const MemorySpan> to, const Slice& slice);
    // Spans of `length` bytes of an MR; fewer bytes when the table of spans is full.
    [[nodiscard]] uint64_t gather(const Mr& mr, uint64_t address, uint64_t length,
                                  std::span<MemorySpan> spans, size_t& count) const;
    void finish_receive(uint32_t slot, const Slice& slice, uint8_t opcode, uint32_t byte_len,
                        uint8_t flags);

    DeviceState& state_;
    QueuePairs& queue_pairs_;
};

// What stands in front of a datagram of this host: the header that it would have had on a wire.
[[nodiscard]] Responder::Grh make_grh(const Slice& slice, const Vnic& source);

}  // namespace vrdma
