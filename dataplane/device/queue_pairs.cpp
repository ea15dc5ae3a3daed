// The first failure of a queue pair is completed with its own status, everything posted behind it
// is flushed in order, and what a tenant posts later to a queue pair in the error state is flushed
// when its doorbell is seen. `in_error` in the queue header tells the tenant to ring for receives
// too.
//
// Indices in shared memory are only believed up to the size of the ring: a producer index further
// away than that is the tenant's fault and costs it this queue pair.
#include "dataplane/device/queue_pairs.h"

#include <atomic>
#include <cstring>

namespace vrdma {

uint8_t completion_opcode(uint8_t wqe_opcode) {
    switch (wqe_opcode) {
        case VRDMA_WQE_RDMA_WRITE:
        case VRDMA_WQE_RDMA_WRITE_WITH_IMM:
            return VRDMA_WC_RDMA_WRITE;
        case VRDMA_WQE_RDMA_READ:
            return VRDMA_WC_RDMA_READ;
        case VRDMA_WQE_ATOMIC_CMP_AND_SWP:
            return VRDMA_WC_COMP_SWAP;
        case VRDMA_WQE_ATOMIC_FETCH_AND_ADD:
            return VRDMA_WC_FETCH_ADD;
        case VRDMA_WQE_BIND_MW:
            return VRDMA_WC_BIND_MW;
        case VRDMA_WQE_LOCAL_INV:
            return VRDMA_WC_LOCAL_INV;
        default:
            return VRDMA_WC_SEND;
    }
}

void QueuePairs::complete_send(uint32_t slot, vrdma_wc_status status, vrdma_reason reason) {
    Qp& qp = state_.qps[slot];
    const vrdma_send_wqe& wqe = qp.entry();
    qp.phase = SendPhase::Idle;
    const uint32_t index = qp.sq_consumer;
    ++qp.sq_consumer;
    std::atomic_ref(state_.qp_runtime[slot].header->sq_consumer)
        .store(qp.sq_consumer, std::memory_order_relaxed);
    if (status == VRDMA_WC_SUCCESS && !qp.signal_all && (wqe.flags & VRDMA_WQE_SIGNALED) == 0) {
        return;
    }
    completions_.write(qp.send_cq, Completion{
                                       .wr_id = wqe.wr_id,
                                       .byte_len = qp.length,
                                       .imm_data = 0,
                                       .qpn = qp.qpn,
                                       .src_qpn_or_index = index,
                                       .status = static_cast<uint8_t>(status),
                                       .opcode = completion_opcode(wqe.opcode),
                                       .flags = 0,
                                       .vendor_err = static_cast<uint8_t>(reason),
                                       .solicited = false,
                                   });
}

void QueuePairs::fail_send(uint32_t slot, vrdma_wc_status status, vrdma_reason reason) {
    Qp& qp = state_.qps[slot];
    state_.counters_of(qp).fail(reason);
    qp.error_index = qp.sq_consumer;
    complete_send(slot, status, reason);
    if (qp.state == VRDMA_QPS_ERR) {
        flush(slot);
        return;
    }
    if (is_reliable(qp.type)) {
        enter_error(slot, reason, std::nullopt);
        return;
    }
    qp.state = VRDMA_QPS_SQE;
    qp.error_reason = static_cast<uint8_t>(reason);
    flush_sends(slot, kFlushedPerVisit);
}

void QueuePairs::finish_local(uint32_t slot, const std::optional<EntryFault>& fault) {
    if (fault) {
        fail_send(slot, fault->status, fault->reason);
        return;
    }
    ++state_.qps[slot].sends;
    complete_send(slot, VRDMA_WC_SUCCESS, VRDMA_REASON_NONE);
}

void QueuePairs::fail_receive(uint32_t slot, vrdma_wc_status status, vrdma_reason reason) {
    Qp& qp = state_.qps[slot];
    state_.counters_of(qp).fail(reason);
    if (qp.receiving) {
        complete_receive(slot, Completion{
                                   .wr_id = qp.receive_wr_id,
                                   .byte_len = 0,
                                   .imm_data = 0,
                                   .qpn = qp.qpn,
                                   .src_qpn_or_index = 0,
                                   .status = static_cast<uint8_t>(status),
                                   .opcode = VRDMA_WC_RECV,
                                   .flags = 0,
                                   .vendor_err = static_cast<uint8_t>(reason),
                                   .solicited = false,
                               });
    }
    enter_error(slot, reason, std::nullopt);
}

void QueuePairs::enter_error(uint32_t slot, vrdma_reason reason,
                             std::optional<vrdma_event_type> event) {
    Qp& qp = state_.qps[slot];
    if (qp.state == VRDMA_QPS_ERR || qp.state == VRDMA_QPS_RESET) {
        return;
    }
    qp.state = VRDMA_QPS_ERR;
    qp.error_reason = static_cast<uint8_t>(reason);
    state_.deadlines.clear(slot);
    state_.counters_of(qp).add(Counter::QpErrors);
    std::atomic_ref(state_.qp_runtime[slot].header->in_error).store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // before the rings are looked at
    if (event) {
        state_.raise(qp, *event);
    }
    flush(slot);
    if (qp.srq != kNone && qp.type != VRDMA_QPT_XRC_RECV) {
        state_.raise(qp, VRDMA_EVENT_QP_LAST_WQE_REACHED);
    }
}

void QueuePairs::flush(uint32_t slot) {
    flush_sends(slot, kFlushedPerVisit);
    if (state_.qps[slot].state == VRDMA_QPS_ERR) {
        flush_receives(slot);
    }
}

void QueuePairs::flush_sends(uint32_t slot, uint32_t most) {
    Qp& qp = state_.qps[slot];
    if (qp.sq_entries == 0) {
        return;
    }
    if (qp.phase == SendPhase::InFlight) {
        return;  // its answer comes first; then this runs again
    }
    qp.phase = SendPhase::Idle;
    const QpRuntime& runtime = state_.qp_runtime[slot];
    const uint32_t producer =
        std::atomic_ref(runtime.header->sq_producer).load(std::memory_order_acquire);
    if (producer - qp.sq_consumer > qp.sq_entries) {
        return;
    }
    for (uint32_t n = 0; qp.sq_consumer != producer; ++n) {
        if (n == most) {
            state_.run(slot);  // the rest at its next visit
            return;
        }
        std::memcpy(qp.wqe.data(),
                    runtime.send_ring + size_t{qp.sq_consumer & (qp.sq_entries - 1)} * qp.sq_stride,
                    sizeof(vrdma_send_wqe));
        qp.length = 0;
        state_.counters_of(qp).add(Counter::Flushed);
        complete_send(slot, VRDMA_WC_WR_FLUSH_ERR, VRDMA_REASON_FLUSHED);
    }
}

void QueuePairs::flush_receives(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    const auto flush_one = [&] {
        state_.counters_of(qp).add(Counter::Flushed);
        complete_receive(slot, Completion{
                                   .wr_id = qp.receive_wr_id,
                                   .byte_len = 0,
                                   .imm_data = 0,
                                   .qpn = qp.qpn,
                                   .src_qpn_or_index = 0,
                                   .status = VRDMA_WC_WR_FLUSH_ERR,
                                   .opcode = VRDMA_WC_RECV,
                                   .flags = 0,
                                   .vendor_err = VRDMA_REASON_FLUSHED,
                                   .solicited = false,
                               });
    };
    // The SRQ of a target may be gone.
    if (qp.receiving && (qp.type != VRDMA_QPT_XRC_RECV || state_.srq_is_bound(qp))) {
        flush_one();
    }
    qp.receiving = false;
    if (qp.srq != kNone || qp.type == VRDMA_QPT_XRC_RECV) {
        return;
    }
    for (uint32_t n = 0; n < kFlushedPerVisit; ++n) {
        if (take_receive(slot).has_value()) {
            return;
        }
        flush_one();
    }
    state_.run(slot);  // the rest at its next visit
}

void QueuePairs::peer_died(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.phase == SendPhase::InFlight) {
        qp.peer_lost = true;  // when the answer is there; it may have been executed before
        return;
    }
    qp.peer_lost = false;
    state_.counters_of(qp).add(Counter::PeersLost);
    if (qp.phase != SendPhase::Idle) {
        fail_send(slot, VRDMA_WC_RETRY_EXC_ERR, VRDMA_REASON_PEER_DEAD);
        return;
    }
    enter_error(slot, VRDMA_REASON_PEER_DEAD, VRDMA_EVENT_QP_FATAL);
}

void QueuePairs::reset(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    state_.deadlines.clear(slot);
    qp.phase = SendPhase::Idle;
    qp.halted = false;
    qp.peer_lost = false;
    qp.receiving = false;
    qp.established = false;
    qp.drained_notify = false;
    qp.sq_consumer = 0;
    qp.rq_consumer = 0;
    qp.position = 0;
    qp.length = 0;
    qp.error_reason = VRDMA_REASON_NONE;
    qp.vnic_epoch = 0;
    qp.attributes = vrdma_qp_attributes{};
    vrdma_qp_header& header = *state_.qp_runtime[slot].header;
    std::atomic_ref(header.in_error).store(0, std::memory_order_relaxed);
    std::atomic_ref(header.sq_consumer).store(0, std::memory_order_relaxed);
    std::atomic_ref(header.rq_consumer).store(0, std::memory_order_relaxed);
}

void QueuePairs::finish_flushing_sends(uint32_t slot) {
    flush_sends(slot, UINT32_MAX);
}

void QueuePairs::fail_overflowed() {
    const uint32_t cq_index = state_.overflowed_cqs.back();
    Cq& cq = state_.cqs[cq_index];
    // Its queue pairs are of its own context, whose doorbell bits name them.
    const uint32_t* slots = state_.doorbell_slots_of(cq.context);
    const uint32_t end = state_.contexts[cq.context].doorbells;
    uint32_t failed = 0;
    for (; cq.failing < end && failed < kFailedPerTurn; ++cq.failing) {
        if (slots[cq.failing] == 0) {
            continue;
        }
        const uint32_t slot = slots[cq.failing] - 1;
        const Qp& qp = state_.qps[slot];
        if (qp.send_cq == cq_index || qp.recv_cq == cq_index) {
            enter_error(slot, VRDMA_REASON_CQ_OVERFLOW, VRDMA_EVENT_QP_FATAL);
            ++failed;
        }
    }
    if (cq.failing >= end) {
        std::erase(state_.overflowed_cqs, cq_index);
    }
}

bool QueuePairs::load_receive(Qp& qp, const std::byte* entry, uint32_t max_sge) {
    vrdma_recv_wqe wqe;
    std::memcpy(&wqe, entry, sizeof wqe);
    qp.receiving = true;
    qp.receive_wr_id = wqe.wr_id;
    qp.receive_position = 0;
    qp.receive_capacity = 0;
    qp.receive_sge_count = 0;
    if (wqe.sge_count > max_sge) {
        return false;
    }
    qp.receive_sge_count = wqe.sge_count;
    std::memcpy(qp.receive_sges.data(), entry + sizeof wqe, wqe.sge_count * sizeof(vrdma_sge));
    uint64_t capacity = 0;
    for (uint32_t i = 0; i < wqe.sge_count; ++i) {
        capacity += qp.receive_sges[i].length;
    }
    qp.receive_capacity = static_cast<uint32_t>(std::min<uint64_t>(capacity, UINT32_MAX));
    return true;
}

std::optional<QueuePairs::NoReceive> QueuePairs::take_receive(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.srq != kNone) {
        return take_shared(slot);
    }
    if (qp.rq_entries == 0) {
        return NoReceive::Empty;
    }
    const QpRuntime& runtime = state_.qp_runtime[slot];
    const uint32_t producer =
        std::atomic_ref(runtime.header->rq_producer).load(std::memory_order_acquire);
    if (producer == qp.rq_consumer) {
        return NoReceive::Empty;
    }
    if (producer - qp.rq_consumer > qp.rq_entries) {
        enter_error(slot, VRDMA_REASON_RQ_INDEX, VRDMA_EVENT_QP_FATAL);
        return NoReceive::Broken;
    }
    const std::byte* entry =
        runtime.receive_ring + size_t{qp.rq_consumer & (qp.rq_entries - 1)} * qp.rq_stride;
    ++qp.rq_consumer;
    std::atomic_ref(runtime.header->rq_consumer).store(qp.rq_consumer, std::memory_order_relaxed);
    if (!load_receive(qp, entry, qp.max_recv_sge)) {
        if (qp.state != VRDMA_QPS_ERR) {
            fail_receive(slot, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_RECV_SGE_COUNT);
            return NoReceive::Broken;
        }
    }
    return std::nullopt;
}

std::optional<QueuePairs::NoReceive> QueuePairs::take_shared(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    Srq& srq = state_.srqs[qp.srq];
    const SrqRuntime& runtime = state_.srq_runtime[qp.srq];
    if (srq.broken) {
        enter_error(slot, VRDMA_REASON_SRQ_ERROR, VRDMA_EVENT_QP_FATAL);
        return NoReceive::Broken;
    }
    const uint32_t producer =
        std::atomic_ref(runtime.header->producer).load(std::memory_order_acquire);
    if (producer == srq.consumer) {
        return NoReceive::Empty;
    }
    if (producer - srq.consumer > srq.mask + 1) {
        srq.broken = true;
        state_.raise(srq.context, VRDMA_EVENT_SRQ_ERR, srq.cookie);
        enter_error(slot, VRDMA_REASON_SRQ_ERROR, VRDMA_EVENT_QP_FATAL);
        return NoReceive::Broken;
    }
    const std::byte* entry = runtime.ring + size_t{srq.consumer & srq.mask} * srq.stride;
    const bool loaded = load_receive(qp, entry, srq.max_sge);
    ++srq.consumer;
    std::atomic_ref(runtime.header->consumer).store(srq.consumer, std::memory_order_release);
    if (srq.limit != 0 && producer - srq.consumer < srq.limit) {
        srq.limit = 0;
        state_.raise(srq.context, VRDMA_EVENT_SRQ_LIMIT_REACHED, srq.cookie);
    }
    if (!loaded) {
        fail_receive(slot, VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_RECV_SGE_COUNT);
        return NoReceive::Broken;
    }
    return std::nullopt;
}

void QueuePairs::complete_receive(uint32_t slot, const Completion& completion) {
    Qp& qp = state_.qps[slot];
    qp.receiving = false;
    Completion marked = completion;
    if (qp.srq != kNone) {
        marked.flags |= VRDMA_CQE_SRQ;
    }
    completions_.write(qp.recv_cq, marked);
}

}  // namespace vrdma
