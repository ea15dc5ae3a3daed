// The sequence field is stored last, with release, so an entry is either whole or not there.
// Overflow is noticed against the tenant's consumer index, which is read only when the cached one
// says "full": a tenant that lies about it can only overwrite entries of its own.
//
// Arming is a handshake without a lock: the tenant stores `arm`, fences, and polls once more; we
// store entries, fence once a turn, and read `arm` of the queues we wrote. Whoever comes second
// sees the other. Each arm value gets one event (IBA 11.4.2.2).
#include "dataplane/device/completion_queues.h"

#include <algorithm>
#include <atomic>

namespace vrdma {

void CompletionQueues::write(uint32_t cq_index, const Completion& completion) {
    Cq& cq = state_.cqs[cq_index];
    CqRuntime& runtime = state_.cq_runtime[cq_index];
    if (cq.overflowed) [[unlikely]] {
        return;
    }
    if (cq.producer - cq.consumer_seen > cq.mask) [[unlikely]] {
        cq.consumer_seen =
            std::atomic_ref(runtime.header->consumer).load(std::memory_order_acquire);
        if (cq.producer - cq.consumer_seen > cq.mask) {
            overflow(cq_index);
            return;
        }
    }
    vrdma_cqe& entry = runtime.ring[cq.producer & cq.mask];
    entry.wr_id = completion.wr_id;
    entry.byte_len = completion.byte_len;
    entry.imm_data = completion.imm_data;
    entry.qpn = completion.qpn;
    entry.src_qpn_or_index = completion.src_qpn_or_index;
    entry.status = completion.status;
    entry.opcode = completion.opcode;
    entry.flags = completion.flags;
    entry.vendor_err = completion.vendor_err;
    if (runtime.timestamps != nullptr) [[unlikely]] {
        runtime.timestamps[cq.producer & cq.mask] = static_cast<uint64_t>(state_.clock.now().ns);
    }
    std::atomic_ref(entry.sequence).store(++cq.producer, std::memory_order_release);
    state_.counters[state_.contexts[cq.context].vnic].add(Counter::CompletionsWritten);
    if (cq.channel != kNone) {
        cq.solicited |= completion.solicited || completion.status != VRDMA_WC_SUCCESS;
        if (!cq.dirty) {
            cq.dirty = true;
            state_.dirty_cqs.push_back(cq_index);
        }
    }
}

void CompletionQueues::overflow(uint32_t cq_index) {
    Cq& cq = state_.cqs[cq_index];
    cq.overflowed = true;
    std::atomic_ref(state_.cq_runtime[cq_index].header->in_error)
        .store(1, std::memory_order_release);
    state_.counters[state_.contexts[cq.context].vnic].add(Counter::CqOverflows);
    state_.raise(cq.context, VRDMA_EVENT_CQ_ERR, cq.cookie);
    state_.overflowed_cqs.push_back(cq_index);
}

bool CompletionQueues::notify(uint32_t cq_index) {
    Cq& cq = state_.cqs[cq_index];
    const uint32_t arm =
        std::atomic_ref(state_.cq_runtime[cq_index].header->arm).load(std::memory_order_relaxed);
    const uint32_t type = arm & VRDMA_ARM_TYPE_MASK;
    if (arm == cq.arm_seen || type == VRDMA_ARM_NONE ||
        (type == VRDMA_ARM_SOLICITED && !cq.solicited)) {
        return true;
    }
    Counters& counters = state_.counters[state_.contexts[cq.context].vnic];
    if (!state_.notifier.completion(state_.channel_runtime[cq.channel].file, cq.cookie)) {
        counters.add(Counter::CompletionEventsDelayed);
        return false;
    }
    cq.arm_seen = arm;
    std::atomic_ref(state_.cq_runtime[cq_index].header->events)
        .store(++cq.events, std::memory_order_release);
    counters.add(Counter::CompletionEvents);
    return true;
}

bool CompletionQueues::send_events() {
    if (state_.dirty_cqs.empty() && state_.delayed_cqs.empty()) [[likely]] {
        return false;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (const uint32_t cq_index : state_.dirty_cqs) {
        Cq& cq = state_.cqs[cq_index];
        cq.dirty = false;
        if (notify(cq_index)) {
            cq.solicited = false;
        } else if (!cq.delayed) {
            cq.delayed = true;
            state_.delayed_cqs.push_back(cq_index);
        }
    }
    state_.dirty_cqs.clear();
    retry_delayed();
    return !state_.delayed_cqs.empty();
}

void CompletionQueues::retry_delayed() {
    std::vector<uint32_t>& waiting = state_.delayed_cqs;
    if (waiting.empty() || state_.now < next_retry_) {
        return;
    }
    next_retry_ = state_.now + kDelayedEventRetry;
    const auto tried = waiting.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(
                                             waiting.size(), kDelayedEventsPerTry));
    const auto stuck = std::remove_if(waiting.begin(), tried, [this](uint32_t cq_index) {
        Cq& cq = state_.cqs[cq_index];
        if (!notify(cq_index)) {
            return false;
        }
        cq.solicited = false;
        cq.delayed = false;
        return true;
    });
    const auto untried = waiting.erase(stuck, tried);
    std::rotate(waiting.begin(), untried, waiting.end());  // next time those that were not tried
}

CompletionQueues::Moved CompletionQueues::move(uint32_t cq_index, const CqRuntime& to,
                                               uint32_t new_entries) {
    Cq& cq = state_.cqs[cq_index];
    const CqRuntime& from = state_.cq_runtime[cq_index];
    if (!cq.moving) {
        cq.move_from = std::atomic_ref(from.header->consumer).load(std::memory_order_acquire);
        cq.move_next = cq.move_from;
    }
    const uint32_t unread = cq.producer - cq.move_from;
    cq.moving = unread <= cq.mask + 1 && unread <= new_entries;
    if (!cq.moving) {
        return Moved::DoesNotFit;
    }
    for (uint32_t n = 0; n < kEntriesMovedPerTurn && cq.move_next != cq.producer; ++n) {
        to.ring[cq.move_next & (new_entries - 1)] = from.ring[cq.move_next & cq.mask];
        if (cq.timestamps) {
            to.timestamps[cq.move_next & (new_entries - 1)] =
                from.timestamps[cq.move_next & cq.mask];
        }
        ++cq.move_next;
    }
    if (cq.move_next != cq.producer) {
        return Moved::Partly;
    }
    cq.moving = false;
    std::atomic_ref(to.header->consumer).store(cq.move_from, std::memory_order_relaxed);
    std::atomic_ref(to.header->arm)
        .store(std::atomic_ref(from.header->arm).load(std::memory_order_relaxed),
               std::memory_order_relaxed);
    std::atomic_ref(to.header->events).store(cq.events, std::memory_order_relaxed);
    std::atomic_ref(to.header->in_error).store(cq.overflowed ? 1 : 0, std::memory_order_relaxed);
    cq.mask = new_entries - 1;
    cq.consumer_seen = cq.move_from;
    state_.cq_runtime[cq_index] = to;
    return Moved::Whole;
}

void CompletionQueues::forget(uint32_t cq_index) {
    std::erase(state_.dirty_cqs, cq_index);
    std::erase(state_.delayed_cqs, cq_index);
    std::erase(state_.overflowed_cqs, cq_index);
}

}  // namespace vrdma
