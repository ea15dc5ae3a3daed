// Writing completions, noticing overflow, sending completion events.
#pragma once

#include "dataplane/device/state.h"

namespace vrdma {

struct Completion {
    uint64_t wr_id;
    uint32_t byte_len;
    uint32_t imm_data;
    uint32_t qpn;
    uint32_t src_qpn_or_index;
    uint8_t status;
    uint8_t opcode;
    uint8_t flags;
    uint8_t vendor_err;
    bool solicited;
};

class CompletionQueues {
  public:
    explicit CompletionQueues(DeviceState& state) : state_(state) {}

    // Appends one entry; the payload it announces is already visible. A full queue overflows: it is
    // dead, and its queue pairs are failed at the end of the turn.
    void write(uint32_t cq_index, const Completion& completion);

    // Once a turn: events for the queues that were written and are armed. Returns true while an
    // event waits for room in its channel.
    [[nodiscard]] bool send_events();

    // Moves unread entries to a new ring, a piece of them at each call until it is not Partly; the
    // tenant does not poll meanwhile.
    enum class Moved : uint8_t { Whole, Partly, DoesNotFit };
    [[nodiscard]] Moved move(uint32_t cq_index, const CqRuntime& to, uint32_t new_entries);

    // A queue that goes away is forgotten here.
    void forget(uint32_t cq_index);

  private:
    void overflow(uint32_t cq_index);
    [[nodiscard]] bool notify(uint32_t cq_index);
    void retry_delayed();

    DeviceState& state_;
    Instant next_retry_;  // of events that found their channel full
};

}  // namespace vrdma
