// Polling: the program's side of a completion queue, and one half of the latency of every
// operation.
//
// An entry is ours once its sequence says so (acquire: the other fields and the data it announces
// come with it). The consumer index is published once for each call. A completion also says which
// slots of its queue are free again: a send's index frees every entry up to it, signaled or not;
// receives complete one by one. Shared receive queues tell by themselves
// (vrdma_srq_header.consumer).
//
// A poller that finds nothing calls again at once; poll_pacer.h decides when it lets others run.
#include "driver/abi/status.h"
#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/dead_device.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

static_assert(static_cast<int>(VRDMA_WC_RECV) == static_cast<int>(IBV_WC_RECV));
static_assert(static_cast<int>(VRDMA_WC_RECV_RDMA_WITH_IMM) ==
              static_cast<int>(IBV_WC_RECV_RDMA_WITH_IMM));
static_assert(static_cast<int>(VRDMA_WC_FETCH_ADD) == static_cast<int>(IBV_WC_FETCH_ADD));
static_assert(static_cast<int>(VRDMA_WC_BIND_MW) == static_cast<int>(IBV_WC_BIND_MW));
static_assert(static_cast<int>(VRDMA_WC_LOCAL_INV) == static_cast<int>(IBV_WC_LOCAL_INV));
static_assert(static_cast<int>(VRDMA_WC_MW_BIND_ERR) == static_cast<int>(IBV_WC_MW_BIND_ERR));
static_assert(static_cast<int>(VRDMA_WC_GENERAL_ERR) == static_cast<int>(IBV_WC_GENERAL_ERR));

bool is_receive(const vrdma_cqe& cqe) {
    return (cqe.opcode & VRDMA_WC_RECV) != 0;
}

void translate(const vrdma_cqe& cqe, ibv_wc& wc) {
    wc.wr_id = cqe.wr_id;
    wc.status = static_cast<ibv_wc_status>(cqe.status);
    wc.opcode = static_cast<ibv_wc_opcode>(cqe.opcode);
    wc.vendor_err = cqe.vendor_err;
    wc.byte_len = cqe.byte_len;
    wc.imm_data = cqe.imm_data;
    wc.qp_num = cqe.qpn;
    wc.src_qp = is_receive(cqe) ? cqe.src_qpn_or_index : 0;
    wc.wc_flags = wc_flags_of(cqe);
    wc.pkey_index = 0;
    wc.slid = 0;
    wc.sl = service_level_of(cqe);
    wc.dlid_path_bits = 0;
}

// Under the lock: what the device has written.
[[gnu::always_inline]] inline int take_written(Cq& cq, int count, ibv_wc* wc) {
    int found = 0;
    cq.polled.store(true, std::memory_order_relaxed);
    while (found < count) {
        const vrdma_cqe* cqe = cq.entry(cq.consumer);
        if (cqe == nullptr) {
            break;
        }
        translate(*cqe, wc[found]);
        retire(cq, *cqe);
        ++cq.consumer;
        ++found;
    }
    if (found > 0) {
        cq.publish_consumer();
    }
    return found;
}

[[gnu::noinline]] int poll_dead(Cq& cq, int count, ibv_wc* wc) {
    if (cq.context->abandoned) {
        return -1;  // a child after fork has no device
    }
    const CqGuard guard(cq);
    // Once more: the device's last words may have come between our look and the news of its death.
    int found = take_written(cq, count, wc);
    vrdma_cqe cqe;
    while (found < count && make_up_completion(cq, cqe)) {
        translate(cqe, wc[found]);
        ++found;
    }
    return found;
}

}  // namespace

void retire(Cq& cq, const vrdma_cqe& cqe) {
    if (is_receive(cqe) && (cqe.flags & VRDMA_CQE_SRQ) != 0) {
        return;  // an SRQ tells by itself; an XRC target may be another process's
    }
    if (cqe.qpn != cq.cached_qpn) {
        cq.cached_qp = cq.context->qp_table.find(cqe.qpn);
        cq.cached_qpn = cqe.qpn;
    }
    Qp* qp = cq.cached_qp;
    if (qp == nullptr) [[unlikely]] {
        return;
    }
    if (!is_receive(cqe)) {
        qp->sq.tail.store(cqe.src_qpn_or_index + 1, std::memory_order_release);
    } else {
        const std::uint32_t tail = qp->rq.tail.load(std::memory_order_relaxed);
        qp->rq.tail.store(tail + 1, std::memory_order_release);
    }
}

int poll_cq(ibv_cq* ibcq, int count, ibv_wc* wc) {
    Cq& cq = *Cq::of(ibcq);
    cq.acquire();
    const int found = take_written(cq, count, wc);
    if (found > 0) {
        cq.pacer.reset();
        cq.release();
        return found;
    }
    const bool yield = cq.pacer.note_empty();
    cq.release();
    if (cq.context->dead()) [[unlikely]] {
        return poll_dead(cq, count, wc);
    }
    if (yield) [[unlikely]] {
        cq.pacer.yield();
    }
    return 0;
}

}  // namespace vrdma::verbs
