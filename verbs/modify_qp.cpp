// Changing and asking for the attributes of a queue pair.
//
// The device is the authority; the library checks the transition first (qp_transition.h) and then
// follows what the device answered. The state it assumes as the present one is, in this order: what
// the program says it is (IBV_QP_CUR_STATE), the error state when the shared header says so, and
// what the last change left.
//
// RESET returns both rings to empty: after the device's answer, because until then it reads them;
// from then until INIT it does not. Completions of the queue pair that the program has not polled
// vanish with it, as with hardware.
#include <cerrno>
#include <mutex>

#include "verbs/address.h"
#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/log.h"
#include "verbs/qp.h"
#include "verbs/qp_transition.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint32_t kUnsupportedMask =
    IBV_QP_ALT_PATH | IBV_QP_PATH_MIG_STATE | IBV_QP_CAP | IBV_QP_RATE_LIMIT;
constexpr std::uint32_t kSendStates =
    1U << IBV_QPS_RTS | 1U << IBV_QPS_SQD | 1U << IBV_QPS_SQE | 1U << IBV_QPS_ERR;

// What the other half of an XRC connection would need is dropped without a word, as the kernel
// does: programs such as perftest give both halves the attributes of RC.
std::uint32_t meant(ibv_qp_type type, std::uint32_t mask) {
    if (type == IBV_QPT_XRC_SEND) {
        return mask & ~std::uint32_t{IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER};
    }
    if (type == IBV_QPT_XRC_RECV) {
        return mask & ~std::uint32_t{IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY};
    }
    return mask;
}

ibv_qp_state present_state(const Qp& qp, const ibv_qp_attr& attr, std::uint32_t mask) {
    if ((mask & IBV_QP_CUR_STATE) != 0) {
        return attr.cur_qp_state;
    }
    if (std::atomic_ref(qp.header->in_error).load(std::memory_order_acquire) != 0) {
        return IBV_QPS_ERR;
    }
    return qp.base.qp.state;
}

vrdma_qp_attributes encode(const ibv_qp_attr& attr, std::uint32_t mask) {
    const auto given = [mask](std::uint32_t bit) { return (mask & bit) != 0; };
    vrdma_qp_attributes out{};
    out.state = given(IBV_QP_STATE) ? static_cast<std::uint32_t>(attr.qp_state) : 0;
    out.current_state = given(IBV_QP_CUR_STATE) ? static_cast<std::uint32_t>(attr.cur_qp_state) : 0;
    out.path_mtu = given(IBV_QP_PATH_MTU) ? static_cast<std::uint32_t>(attr.path_mtu) : 0;
    out.qkey = given(IBV_QP_QKEY) ? attr.qkey : 0;
    out.rq_psn = given(IBV_QP_RQ_PSN) ? attr.rq_psn : 0;
    out.sq_psn = given(IBV_QP_SQ_PSN) ? attr.sq_psn : 0;
    out.dest_qpn = given(IBV_QP_DEST_QPN) ? attr.dest_qp_num : 0;
    // Bits for operations the device does not have (memory windows) enable nothing.
    out.access = given(IBV_QP_ACCESS_FLAGS) ? attr.qp_access_flags & VRDMA_ACCESS_MASK : 0;
    if (given(IBV_QP_AV)) {
        out.address = to_device(attr.ah_attr);
    }
    out.max_rd_atomic = given(IBV_QP_MAX_QP_RD_ATOMIC) ? attr.max_rd_atomic : std::uint8_t{0};
    out.max_dest_rd_atomic =
        given(IBV_QP_MAX_DEST_RD_ATOMIC) ? attr.max_dest_rd_atomic : std::uint8_t{0};
    out.min_rnr_timer = given(IBV_QP_MIN_RNR_TIMER) ? attr.min_rnr_timer : std::uint8_t{0};
    out.timeout = given(IBV_QP_TIMEOUT) ? attr.timeout : std::uint8_t{0};
    out.retry_count = given(IBV_QP_RETRY_CNT) ? attr.retry_cnt : std::uint8_t{0};
    out.rnr_retry = given(IBV_QP_RNR_RETRY) ? attr.rnr_retry : std::uint8_t{0};
    out.sq_drained_notify =
        given(IBV_QP_EN_SQD_ASYNC_NOTIFY) ? attr.en_sqd_async_notify : std::uint8_t{0};
    out.pkey_index = given(IBV_QP_PKEY_INDEX) ? attr.pkey_index : std::uint16_t{0};
    out.port = given(IBV_QP_PORT) ? attr.port_num : std::uint8_t{0};
    return out;
}

ibv_qp_attr decode(const Qp& qp, const vrdma_qp_attributes& in) {
    ibv_qp_attr attr{};
    attr.qp_state = static_cast<ibv_qp_state>(in.state);
    attr.cur_qp_state = static_cast<ibv_qp_state>(in.current_state);
    attr.path_mtu = static_cast<ibv_mtu>(in.path_mtu);
    attr.path_mig_state = static_cast<ibv_mig_state>(in.path_mig_state);
    attr.qkey = in.qkey;
    attr.rq_psn = in.rq_psn;
    attr.sq_psn = in.sq_psn;
    attr.dest_qp_num = in.dest_qpn;
    attr.qp_access_flags = in.access;
    attr.cap = qp.cap;
    attr.ah_attr = from_device(in.address, in.port);
    attr.pkey_index = in.pkey_index;
    attr.en_sqd_async_notify = in.sq_drained_notify;
    attr.sq_draining = in.sq_draining;
    attr.max_rd_atomic = in.max_rd_atomic;
    attr.max_dest_rd_atomic = in.max_dest_rd_atomic;
    attr.min_rnr_timer = in.min_rnr_timer;
    attr.port_num = in.port;
    attr.timeout = in.timeout;
    attr.retry_cnt = in.retry_count;
    attr.rnr_retry = in.rnr_retry;
    return attr;
}

tl::expected<vrdma_rsp_query_qp, driver::CommandError> ask(const Qp& qp) {
    const vrdma_handle handle{.handle = qp.base.qp.handle, .reserved = 0};
    return driver::query_command<vrdma_rsp_query_qp>(*qp.context->channel, VRDMA_CMD_QUERY_QP,
                                                     handle);
}

void reset_queues(Qp& qp) {
    {
        const std::lock_guard lock(qp.sq.lock);
        qp.sq.tail.store(0, std::memory_order_relaxed);
        qp.sq.publish(0);
    }
    const std::lock_guard lock(qp.rq.lock);
    qp.rq.tail.store(0, std::memory_order_relaxed);
    qp.rq.publish(0);
}

}  // namespace

void apply_state(Qp& qp, std::uint32_t state) {
    {
        const std::lock_guard lock(qp.sq.lock);
        qp.sq.postable = (kSendStates >> state & 1U) != 0;
    }
    const std::lock_guard lock(qp.rq.lock);
    qp.rq.postable = state != IBV_QPS_RESET;
}

int modify_qp(ibv_qp* ibqp, ibv_qp_attr* attr, int signed_mask) {
    Qp& qp = *Qp::of(ibqp);
    Context& context = *qp.context;
    const auto mask = meant(ibqp->qp_type, static_cast<std::uint32_t>(signed_mask));
    if (context.abandoned) {
        return fail("modify_qp", EIO, "a child after fork cannot use its parent's device");
    }
    if ((mask & kUnsupportedMask) != 0) {
        return fail("modify_qp", EOPNOTSUPP,
                    "alternate paths, migration, resizing and rate limits are not supported");
    }
    const std::lock_guard lock(context.qp_mutex);
    const bool target = ibqp->qp_type == IBV_QPT_XRC_RECV;
    ibv_qp_state from = target ? attr->cur_qp_state : present_state(qp, *attr, mask);
    if (target && (mask & IBV_QP_CUR_STATE) == 0) {  // other processes may have changed it
        const auto now = ask(qp);
        if (!now) {
            return fail(context, "modify_qp", now.error());
        }
        from = static_cast<ibv_qp_state>(now->attributes.state);
    }
    const ibv_qp_state to = (mask & IBV_QP_STATE) != 0 ? attr->qp_state : from;
    const TransitionVerdict verdict =
        check_transition({.type = ibqp->qp_type, .from = from, .to = to, .mask = mask});
    if (verdict != TransitionVerdict::allowed) {
        return fail("modify_qp", EINVAL, describe(verdict));
    }
    if ((mask & IBV_QP_AV) != 0) {
        const char* reason = check_address(context, attr->ah_attr);
        if (reason != nullptr) {
            return fail("modify_qp", EINVAL, reason);
        }
    }
    vrdma_cmd_modify_qp body{};
    body.handle = ibqp->handle;
    body.mask = mask;
    body.attributes = encode(*attr, mask);
    const auto modified =
        driver::query_command<vrdma_rsp_query_qp>(*context.channel, VRDMA_CMD_MODIFY_QP, body);
    if (!modified) {
        return fail(context, "modify_qp", modified.error());
    }
    if (target) {
        return 0;  // nothing is posted to it, and what it received belongs to its SRQs
    }
    const std::uint32_t state = modified->attributes.state;
    if (to == IBV_QPS_RESET) {
        apply_state(qp, state);
        // In this order: a completion that another thread polls frees a slot, and must not free one
        // of the queue's next life.
        discard_completions(qp);
        reset_queues(qp);
    } else {
        apply_state(qp, state);
    }
    return 0;
}

int query_qp(ibv_qp* ibqp, ibv_qp_attr* attr, int, ibv_qp_init_attr* init) {
    Qp& qp = *Qp::of(ibqp);
    Context& context = *qp.context;
    if (context.abandoned) {
        return fail("query_qp", EIO, "a child after fork cannot use its parent's device");
    }
    const auto answer = ask(qp);
    if (!answer) {
        return fail(context, "query_qp", answer.error());
    }
    *attr = decode(qp, answer->attributes);
    *init = {.qp_context = ibqp->qp_context,
             .send_cq = ibqp->send_cq,
             .recv_cq = ibqp->recv_cq,
             .srq = ibqp->srq,
             .cap = qp.cap,
             .qp_type = ibqp->qp_type,
             .sq_sig_all = qp.signal_all ? 1 : 0};
    return 0;
}

}  // namespace vrdma::verbs
