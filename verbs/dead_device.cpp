// A program learns of the loss of its device by IBV_EVENT_DEVICE_FATAL, but many only poll. They
// must not wait forever, so polling goes on to answer: first what the device had still written into
// the ring, then IBV_WC_WR_FLUSH_ERR for each send and receive entry that is still in a ring of
// ours, signaled or not, in order, as a queue pair in the error state would. After that the CQ is
// empty.
//
// Entries of shared receive queues are not flushed: they belong to no queue pair (IBA 10.2.9.4).
#include "verbs/dead_device.h"

#include <mutex>

#include "driver/abi/status.h"
#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

std::uint8_t completion_opcode(std::uint8_t wqe_opcode) {
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

template <typename Queue>
bool is_outstanding(const Queue& queue) {
    return queue.tail.load(std::memory_order_relaxed) != queue.head.load(std::memory_order_acquire);
}

vrdma_cqe flushed(const Qp& qp, std::uint64_t wr_id, std::uint8_t opcode) {
    vrdma_cqe cqe{};
    cqe.wr_id = wr_id;
    cqe.qpn = qp.base.qp.qp_num;
    cqe.status = VRDMA_WC_WR_FLUSH_ERR;
    cqe.opcode = opcode;
    cqe.vendor_err = VRDMA_REASON_DEVICE_FATAL;
    return cqe;
}

}  // namespace

bool make_up_completion(Cq& cq, vrdma_cqe& cqe) {
    const std::lock_guard lock(cq.context->qp_list_lock);
    for (Qp* qp = cq.context->qp_list; qp != nullptr; qp = qp->next) {
        if (qp->send_cq == &cq && is_outstanding(qp->sq)) {
            const std::uint32_t index = qp->sq.tail.load(std::memory_order_relaxed);
            const vrdma_send_wqe& wqe = *qp->sq.slot(index);
            cqe = flushed(*qp, wqe.wr_id, completion_opcode(wqe.opcode));
            qp->sq.tail.store(index + 1, std::memory_order_release);
            return true;
        }
        if (qp->recv_cq == &cq && is_outstanding(qp->rq)) {
            const std::uint32_t index = qp->rq.tail.load(std::memory_order_relaxed);
            cqe = flushed(*qp, qp->rq.slot(index)->wr_id, VRDMA_WC_RECV);
            qp->rq.tail.store(index + 1, std::memory_order_release);
            return true;
        }
    }
    return false;
}

bool has_outstanding_requests(Cq& cq) {
    const CqGuard guard(cq);
    const std::lock_guard lock(cq.context->qp_list_lock);
    for (Qp* qp = cq.context->qp_list; qp != nullptr; qp = qp->next) {
        if ((qp->send_cq == &cq && is_outstanding(qp->sq)) ||
            (qp->recv_cq == &cq && is_outstanding(qp->rq))) {
            return true;
        }
    }
    return false;
}

}  // namespace vrdma::verbs
