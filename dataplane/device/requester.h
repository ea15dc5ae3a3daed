// The sending side of a queue pair on the same-host path.
#pragma once

#include "dataplane/device/responder.h"

namespace vrdma {

class Requester {
  public:
    Requester(DeviceState& state, QueuePairs& queue_pairs, Responder& responder)
        : state_(state), queue_pairs_(queue_pairs), responder_(responder) {}

    // Gives a queue pair its share of the turn. It is put on the run queue again when work is left.
    void visit(uint32_t slot);
    // Its timer fired: the same slice is tried again.
    void on_deadline(uint32_t slot);
    // Another shard answered.
    void on_response(const Message& message);

  private:
    [[nodiscard]] bool start(uint32_t slot);
    // One slice. Returns the bytes moved.
    uint32_t step(uint32_t slot);
    [[nodiscard]] bool fill(uint32_t slot, const vrdma_send_wqe& wqe, Slice& slice);
    [[nodiscard]] std::optional<vrdma_reason> gather(const Qp& qp, Slice& slice, size_t data_offset,
                                                     uint32_t sge_count, uint32_t rights,
                                                     uint32_t want);
    void on_reply(uint32_t slot, uint32_t length, bool last, const Reply& reply);
    void settle(uint32_t slot, uint32_t length, bool last, const Reply& reply);
    void account(Qp& qp, uint8_t opcode);
    void wait(uint32_t slot, SendPhase phase, Duration delay);

    DeviceState& state_;
    QueuePairs& queue_pairs_;
    Responder& responder_;
};

// What a tenant may not post, found in the private copy of an entry. nullopt: fine; `length` is
// set.
struct EntryFault {
    vrdma_wc_status status;
    vrdma_reason reason;
};
[[nodiscard]] std::optional<EntryFault> check_entry(const Qp& qp, uint32_t& length);

// RNR timer code to time (IBA 9.7.5.2.8, table 45).
[[nodiscard]] Duration rnr_delay(uint8_t code);

}  // namespace vrdma
