// Requests that a program must not post, and the errno of each. Nothing of them reaches the queue.
#include <vector>

#include "pair.h"

namespace vrdma::extended {
namespace {

void sends(Host& host) {
    Pair pair(host);
    ibv_sge part = host.sge(0, 64);
    std::vector<ibv_sge> many(64, part);
    ibv_send_wr wr = request(1, IBV_WR_SEND, many.data());
    wr.num_sge = static_cast<int>(many.size());
    refused(pair.post(wr), ENOMEM, "too many SGEs");
    wr = request(1, IBV_WR_SEND, &part);
    wr.send_flags = IBV_SEND_IP_CSUM;
    refused(pair.post(wr), EINVAL, "a flag of other hardware");
    wr = request(1, IBV_WR_TSO, &part);
    refused(pair.post(wr), EINVAL, "an opcode of other hardware");
    ibv_sge large = host.sge(0, 4096);
    wr = request(1, IBV_WR_SEND, &large);
    wr.send_flags = IBV_SEND_INLINE;
    refused(pair.post(wr), ENOMEM, "more inline data than max_inline_data");
    wr = request(1, IBV_WR_RDMA_READ, &part);
    wr.send_flags = IBV_SEND_INLINE;
    refused(pair.post(wr), EINVAL, "an inline READ");
    wr = request(1, IBV_WR_ATOMIC_FETCH_AND_ADD, &part);
    refused(pair.post(wr), EINVAL, "an atomic of 64 bytes");

    // A list: what stands before the mistake is posted, bad_wr names it.
    ibv_send_wr last = request(4, IBV_WR_SEND, &part);
    ibv_send_wr wrong = request(3, IBV_WR_TSO, &part);
    wrong.next = &last;
    ibv_send_wr good = request(2, IBV_WR_RDMA_WRITE, &part);
    good.send_flags = IBV_SEND_SIGNALED;
    good.wr.rdma = {.remote_addr = host.address(4096), .rkey = host.mr->rkey};
    good.next = &wrong;
    ibv_send_wr* bad = nullptr;
    refused(ibv_post_send(pair.left, &good, &bad), EINVAL, "a list with a mistake");
    require(bad == &wrong, "bad_wr names another request");
    pair.expect(pair.left, 2);

    // Unaligned: the peer refuses it (IBA 9.4.5).
    ibv_sge word = host.sge(0, 8);
    wr = request(5, IBV_WR_ATOMIC_FETCH_AND_ADD, &word);
    wr.wr.atomic = {
        .remote_addr = host.address(4), .compare_add = 1, .swap = 0, .rkey = host.mr->rkey};
    done(pair.post(wr), "an unaligned atomic");
    pair.expect(pair.left, 5, IBV_WC_REM_INV_REQ_ERR);
}

void states(Host& host) {
    Pair pair(host, {.connected = false});
    refused(pair.post(request(1, IBV_WR_SEND)), EINVAL, "a send in RESET");
    ibv_recv_wr receive{};
    ibv_recv_wr* bad = nullptr;
    refused(ibv_post_recv(pair.left, &receive, &bad), EINVAL, "a receive in RESET");
    require(bad == &receive, "bad_wr names another receive");
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_RTS;
    refused(ibv_modify_qp(pair.left, &attr, IBV_QP_STATE), EINVAL, "RESET to RTS");
}

void creation(Host& host) {
    const ibv_device_attr& limits = host.device().attributes();
    refused(ibv_create_cq(host.context(), limits.max_cqe + 1, nullptr, nullptr, 0), EINVAL,
            "more completions than max_cqe");
    refused(ibv_create_cq(host.context(), 4, nullptr, nullptr, 1), EINVAL, "a vector too far");
    ibv_srq_init_attr srq{};
    srq.attr.max_wr = static_cast<std::uint32_t>(limits.max_srq_wr) + 1;
    refused(ibv_create_srq(host.pd, &srq), EINVAL, "more entries than max_srq_wr");
    ibv_ah_attr ah{};
    ah.port_num = 1;
    refused(ibv_create_ah(host.pd, &ah), EINVAL, "an address without a GRH");
    ah.is_global = 1;
    ah.grh.sgid_index = 2;
    refused(ibv_create_ah(host.pd, &ah), EINVAL, "an empty GID as the source");
    refused(ibv_reg_mr(host.pd, host.memory(), 64, IBV_ACCESS_REMOTE_WRITE), EINVAL,
            "remote write without local write");
    ibv_cq_init_attr_ex cq{};
    cq.cqe = 4;
    cq.wc_flags = IBV_WC_EX_WITH_CVLAN;
    refused(ibv_create_cq_ex(host.context(), &cq), EOPNOTSUPP, "a wc_flag of other hardware");
    ibv_qp_init_attr_ex qp{};
    qp.qp_type = IBV_QPT_XRC_SEND;
    qp.comp_mask = IBV_QP_INIT_ATTR_PD;
    qp.pd = host.pd;
    refused(ibv_create_qp_ex(host.context(), &qp), EINVAL, "an XRC initiator without a CQ");
    qp.qp_type = IBV_QPT_XRC_RECV;
    refused(ibv_create_qp_ex(host.context(), &qp), EINVAL, "an XRC target without a domain");
}

// More completions than the queue holds: it dies, and its queue pairs with it.
void overrun(Host& host) {
    ibv_cq* cq = made(ibv_create_cq(host.context(), 2, nullptr, nullptr, 0), "ibv_create_cq");
    {
        Pair pair(host, {.cq = cq});
        ibv_sge part = host.sge(0, 8);
        ibv_send_wr wr = request(1, IBV_WR_RDMA_WRITE, &part);
        wr.wr.rdma = {.remote_addr = host.address(4096), .rkey = host.mr->rkey};
        for (int i = 0; i <= cq->cqe; ++i) {
            done(pair.post(wr), "posting a WRITE");
        }
        ibv_async_event event{};
        done(ibv_get_async_event(host.context(), &event), "ibv_get_async_event");
        require_equal(event.event_type, IBV_EVENT_CQ_ERR, "the first event");
        require(event.element.cq == cq, "the event names another queue");
        ibv_ack_async_event(&event);
        for (int i = 0; i < 2; ++i) {
            done(ibv_get_async_event(host.context(), &event), "ibv_get_async_event");
            require_equal(event.event_type, IBV_EVENT_QP_FATAL, "the event of a queue pair");
            ibv_ack_async_event(&event);
        }
    }
    done(ibv_destroy_cq(cq), "ibv_destroy_cq");
}

}  // namespace

void arguments(Host& host) {
    sends(host);
    states(host);
    creation(host);
    overrun(host);
}

}  // namespace vrdma::extended
