// The sending side of a queue pair: the same-host path, and the way to the wire.
#pragma once

#include "dataplane/device/multicast.h"
#include "dataplane/device/responder.h"
#include "dataplane/device/send_entry.h"
#include "dataplane/device/wire_path.h"

namespace vrdma {

class Requester {
  public:
    Requester(DeviceState& state, QueuePairs& queue_pairs, Responder& responder,
              Multicast& multicast, WirePath& wire)
        : state_(state),
          queue_pairs_(queue_pairs),
          responder_(responder),
          multicast_(multicast),
          wire_(wire) {}

    // Gives a queue pair its share of the turn. It is put on the run queue again when work is left.
    void visit(uint32_t slot);
    // Its timer fired: the same slice is tried again.
    void on_deadline(uint32_t slot);
    // Another shard answered.
    void on_response(const Message& message);

  private:
    // Takes the next entry; false: there is none. What concerns the device alone is done with it.
    [[nodiscard]] bool start(uint32_t slot);
    // One slice. Returns the bytes moved.
    uint32_t step(uint32_t slot);
    // A few copies of a datagram to a group. Returns what they count in the turn.
    uint32_t step_group(uint32_t slot);
    // Gives the slice to another shard, which answers with on_response(). False: not now, or its
    // memory is refused.
    [[nodiscard]] bool hand_over(uint32_t slot, uint32_t shard, Message message);
    // Some members have their copies; `next` is the one to go on with.
    void on_copies(uint32_t slot, uint32_t next, const Reply& reply);
    [[nodiscard]] bool fill(uint32_t slot, const vrdma_send_wqe& wqe, Slice& slice);
    void on_reply(uint32_t slot, uint32_t length, bool last, const Reply& reply);
    void settle(uint32_t slot, uint32_t length, bool last, const Reply& reply);
    void wait(uint32_t slot, SendPhase phase, Duration delay);

    DeviceState& state_;
    QueuePairs& queue_pairs_;
    Responder& responder_;
    Multicast& multicast_;
    WirePath& wire_;
};

}  // namespace vrdma
