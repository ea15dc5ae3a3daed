// What happens to a queue pair as a whole: errors, flushing, states, resets.
#pragma once

#include <optional>

#include "dataplane/device/completion_queues.h"
#include "dataplane/device/send_entry.h"
#include "dataplane/device/state.h"

namespace vrdma {

class QueuePairs {
  public:
    QueuePairs(DeviceState& state, CompletionQueues& completions)
        : state_(state), completions_(completions) {}

    // Completes the current send entry. Success only when the entry asked for it.
    void complete_send(uint32_t slot, vrdma_wc_status status, vrdma_reason reason);
    // The current send entry failed: completes it with `status`, then RC goes to ERR, UC and UD to
    // SQE (IBA 10.3.1.7), everything behind is flushed.
    void fail_send(uint32_t slot, vrdma_wc_status status, vrdma_reason reason);
    // The current send entry, which concerned the device alone, was executed, or refused.
    void finish_local(uint32_t slot, const std::optional<EntryFault>& fault);
    // The taken receive entry failed on the responder side; the queue pair goes to ERR.
    void fail_receive(uint32_t slot, vrdma_wc_status status, vrdma_reason reason);
    // To ERR, with flushing (IBA 10.3.1.6). `event`: tell the tenant asynchronously.
    void enter_error(uint32_t slot, vrdma_reason reason, std::optional<vrdma_event_type> event);
    // Flushes what was posted to a queue pair in ERR or, send queue only, SQE: a piece of it, the
    // rest at its next visits.
    void flush(uint32_t slot);
    // All that is left of it, before the send queue works again.
    void finish_flushing_sends(uint32_t slot);
    // The peer's process died: the current send entry fails, or the queue pair just goes to ERR.
    void peer_died(uint32_t slot);
    // Forgets all work, as in RESET.
    void reset(uint32_t slot);
    // Fails some of the queue pairs of a completion queue that overflowed.
    void fail_overflowed();

    // Takes the next receive entry into Qp::receive_*. nullopt: one was taken; else why not.
    enum class NoReceive : uint8_t { Empty, Broken };
    [[nodiscard]] std::optional<NoReceive> take_receive(uint32_t slot);
    // Completes the taken receive entry.
    void complete_receive(uint32_t slot, const Completion& completion);

  private:
    void flush_sends(uint32_t slot, uint32_t most);
    void flush_receives(uint32_t slot);
    [[nodiscard]] std::optional<NoReceive> take_shared(uint32_t slot);
    [[nodiscard]] bool load_receive(Qp& qp, const std::byte* entry, uint32_t max_sge);

    DeviceState& state_;
    CompletionQueues& completions_;
};

// Byte opcode of a completion for a send entry.
[[nodiscard]] uint8_t completion_opcode(uint8_t wqe_opcode);

}  // namespace vrdma
