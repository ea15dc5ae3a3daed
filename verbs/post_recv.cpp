// Posting receives to a queue pair. No doorbell: the device looks at the producer index when a
// message arrives. Only a queue pair that is in the error state has nothing arriving, so then the
// doorbell is rung and the device flushes the entry. The fence orders our index before our look at
// in_error, as the device orders its flag before its last look at the index (docs/device.md).
#include <algorithm>
#include <cerrno>
#include <iterator>
#include <mutex>

#include "verbs/context.h"
#include "verbs/qp.h"

namespace vrdma::verbs {

int write_receive(const ibv_recv_wr& wr, std::uint32_t max_sge, vrdma_recv_wqe& wqe) {
    if (static_cast<unsigned>(wr.num_sge) > max_sge) {
        return EINVAL;
    }
    auto* to = reinterpret_cast<vrdma_sge*>(&wqe + 1);
    std::uint8_t written = 0;
    for (int i = 0; i < wr.num_sge; ++i) {
        const ibv_sge& sge = wr.sg_list[i];
        if (sge.length != 0) {
            to[written] = {.address = sge.addr, .length = sge.length, .lkey = sge.lkey};
            ++written;
        }
    }
    wqe.wr_id = wr.wr_id;
    wqe.sge_count = written;
    std::fill(std::begin(wqe.reserved), std::end(wqe.reserved), std::uint8_t{0});
    return 0;
}

int post_recv(ibv_qp* ibqp, ibv_recv_wr* wr, ibv_recv_wr** bad_wr) {
    Qp& qp = *Qp::of(ibqp);
    ReceiveQueue& rq = qp.rq;
    rq.lock.lock();
    if (!rq.postable) [[unlikely]] {
        rq.lock.unlock();
        *bad_wr = wr;
        return EINVAL;
    }
    const std::uint32_t begin = rq.head.load(std::memory_order_relaxed);
    const std::uint32_t end = rq.tail.load(std::memory_order_acquire) + rq.entries;
    std::uint32_t head = begin;
    int error = 0;
    for (; wr != nullptr; wr = wr->next) {
        if (head == end) [[unlikely]] {
            error = ENOMEM;
            break;
        }
        error = write_receive(*wr, rq.max_sge, *rq.slot(head));
        if (error != 0) [[unlikely]] {
            break;
        }
        ++head;
    }
    if (head != begin) {
        rq.publish(head);
    }
    rq.lock.unlock();
    if (head != begin) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (std::atomic_ref(qp.header->in_error).load(std::memory_order_relaxed) != 0)
            [[unlikely]] {
            qp.ring_doorbell();
        }
    }
    if (error != 0) [[unlikely]] {
        *bad_wr = wr;
    }
    return error;
}

}  // namespace vrdma::verbs
