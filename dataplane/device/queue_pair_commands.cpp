// Queue pairs: creation, the state machine (IBA 10.3.1), attributes. Which attributes a transition
// needs or allows is the driver's check, as on hardware; here every value is checked, and that the
// transition exists, because the state decides what the data path does.
#include <bit>

#include "dataplane/device/commands.h"

namespace vrdma {
namespace {

bool transition_exists(uint8_t type, uint32_t from, uint32_t to) {
    switch (to) {
        case VRDMA_QPS_RESET:
        case VRDMA_QPS_ERR:
            return true;
        case VRDMA_QPS_INIT:
            return from == VRDMA_QPS_RESET || from == VRDMA_QPS_INIT;
        case VRDMA_QPS_RTR:
            return from == VRDMA_QPS_INIT;
        case VRDMA_QPS_RTS:
            return from == VRDMA_QPS_RTR || from == VRDMA_QPS_RTS || from == VRDMA_QPS_SQD ||
                   (from == VRDMA_QPS_SQE && !is_reliable(type));
        case VRDMA_QPS_SQD:
            return from == VRDMA_QPS_RTS || from == VRDMA_QPS_SQD;
        default:
            return false;
    }
}

// A bit of the mask that is not here names something this device does not do.
constexpr uint32_t kKnownAttributes =
    VRDMA_QP_STATE | VRDMA_QP_CUR_STATE | VRDMA_QP_EN_SQD_ASYNC_NOTIFY | VRDMA_QP_ACCESS_FLAGS |
    VRDMA_QP_PKEY_INDEX | VRDMA_QP_PORT | VRDMA_QP_QKEY | VRDMA_QP_AV | VRDMA_QP_PATH_MTU |
    VRDMA_QP_TIMEOUT | VRDMA_QP_RETRY_CNT | VRDMA_QP_RNR_RETRY | VRDMA_QP_RQ_PSN |
    VRDMA_QP_MAX_QP_RD_ATOMIC | VRDMA_QP_MIN_RNR_TIMER | VRDMA_QP_SQ_PSN |
    VRDMA_QP_MAX_DEST_RD_ATOMIC | VRDMA_QP_PATH_MIG_STATE | VRDMA_QP_DEST_QPN;

bool ring_ok(uint32_t entries) {
    return entries == 0 || (std::has_single_bit(entries) && entries <= VRDMA_MAX_QUEUE_ENTRIES);
}

}  // namespace

Commands::Result Commands::create_qp(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_create_qp>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    const bool initiator = request->type == VRDMA_QPT_XRC_SEND && speaks(call, VRDMA_FEATURE_XRC);
    if (request->type != VRDMA_QPT_RC && request->type != VRDMA_QPT_UC &&
        request->type != VRDMA_QPT_UD && !initiator) {
        return refuse(VRDMA_STATUS_UNSUPPORTED,
                      "queue pair type must be RC, UC, UD or, if negotiated, XRC_SEND");
    }
    if (initiator && (request->recv_cq != VRDMA_NO_HANDLE || request->srq != VRDMA_NO_HANDLE ||
                      request->rq_entries != 0)) {
        return refuse(VRDMA_STATUS_INVALID, "an XRC initiator receives nothing");
    }
    const bool multicast = speaks(call, VRDMA_FEATURE_MULTICAST);
    const uint32_t known = static_cast<uint32_t>(VRDMA_QP_SIGNAL_ALL) |
                           (multicast ? uint32_t{VRDMA_QP_BLOCK_MCAST_LOOPBACK} : 0U);
    if ((request->flags & ~known) != 0 || request->reserved != 0) {
        return refuse(VRDMA_STATUS_INVALID, "unknown queue pair flag");
    }
    if (!ring_ok(request->sq_entries) || !ring_ok(request->rq_entries)) {
        return refuse(VRDMA_STATUS_INVALID,
                      "queue entries must be a power of two within the limit");
    }
    if (request->max_send_sge > VRDMA_MAX_SGE || request->max_recv_sge > VRDMA_MAX_SGE ||
        request->max_inline > VRDMA_MAX_INLINE) {
        return refuse(VRDMA_STATUS_INVALID, "more SGEs or inline bytes than the device has");
    }
    Pd* pd = find(state_.pds, request->pd, call);
    Cq* send_cq = find(state_.cqs, request->send_cq, call);
    Cq* recv_cq = initiator ? send_cq : find(state_.cqs, request->recv_cq, call);
    if (pd == nullptr || send_cq == nullptr || recv_cq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such protection domain or completion queue");
    }
    Srq* srq = nullptr;
    if (request->srq != VRDMA_NO_HANDLE) {
        srq = find(state_.srqs, request->srq, call);
        if (srq == nullptr) {
            return refuse(VRDMA_STATUS_NOT_FOUND, "no such shared receive queue");
        }
        if (request->rq_entries != 0) {
            return refuse(VRDMA_STATUS_INVALID, "a shared receive queue and a receive queue");
        }
    }
    const uint32_t send_stride = vrdma_send_stride(has_long_entries(request->type) ? 1 : 0,
                                                   request->max_send_sge, request->max_inline);
    const uint32_t receive_stride = vrdma_recv_stride(request->max_recv_sge);
    const uint64_t send_bytes = uint64_t{request->sq_entries} * send_stride;
    const uint64_t bytes =
        sizeof(vrdma_qp_header) + send_bytes + uint64_t{request->rq_entries} * receive_stride;
    const auto memory = queue_memory(call, request->memory, bytes);
    if (!memory) {
        return tl::unexpected(memory.error());
    }
    Context& context = state_.contexts[call.context];
    uint32_t* doorbells = state_.doorbell_slots_of(call.context);
    uint32_t doorbell = context.doorbell_hint;
    while (doorbell < VRDMA_MAX_QPS_PER_CONTEXT && doorbells[doorbell] != 0) {
        ++doorbell;
    }
    if (doorbell == VRDMA_MAX_QPS_PER_CONTEXT) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "the context has all its queue pairs");
    }
    const std::optional<uint32_t> slot = state_.qps.allocate();
    if (!slot) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no queue pair is left on this host");
    }
    Qp& qp = begin_qp(*slot, call.context, static_cast<uint8_t>(request->type));
    qp.block_loopback = (request->flags & VRDMA_QP_BLOCK_MCAST_LOOPBACK) != 0;
    qp.signal_all = (request->flags & VRDMA_QP_SIGNAL_ALL) != 0;
    qp.windows = (context.features & VRDMA_FEATURE_MEMORY_WINDOWS) != 0;
    qp.pd = request->pd;
    qp.send_cq = request->send_cq;
    qp.recv_cq = initiator ? request->send_cq : request->recv_cq;
    qp.srq = srq == nullptr ? kNone : request->srq;
    qp.sq_entries = request->sq_entries;
    qp.sq_stride = send_stride;
    qp.rq_entries = request->rq_entries;
    qp.rq_stride = receive_stride;
    qp.max_send_sge = request->max_send_sge;
    qp.max_recv_sge = request->max_recv_sge;
    qp.max_inline = request->max_inline;
    qp.region = request->memory.region;
    qp.cookie = request->cookie;
    qp.doorbell = doorbell;
    doorbells[doorbell] = *slot + 1;
    context.doorbell_hint = doorbell + 1;
    context.doorbells = std::max(context.doorbells, doorbell + 1);
    state_.qp_runtime[*slot] =
        QpRuntime{reinterpret_cast<vrdma_qp_header*>(*memory), *memory + sizeof(vrdma_qp_header),
                  *memory + sizeof(vrdma_qp_header) + send_bytes};
    queue_pairs_.reset(*slot);
    ++state_.regions[qp.region].users;
    ++pd->users;
    ++send_cq->users;
    ++recv_cq->users;
    if (srq != nullptr) {
        ++srq->users;
    }
    ++context.objects;
    return write_response(call, vrdma_rsp_create_qp{*slot, qp.qpn, doorbell, 0});
}

Qp& Commands::begin_qp(uint32_t slot, uint32_t context, uint8_t type) {
    Qp& qp = state_.qps[slot];
    uint32_t generation = qp.generation;
    const bool queued = qp.queued;  // a stale run queue entry of the last owner
    qp = Qp{};
    qp.queued = queued;
    qp.remote = kNone;
    qp.attachments = kNone;
    qp.qpn = state_.make_qpn(slot, generation);
    qp.generation = generation;
    qp.type = type;
    qp.context = context;
    qp.vnic = state_.contexts[context].vnic;
    return qp;
}

void Commands::free_qp(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    Context& context = state_.contexts[qp.context];
    VR_CHECK(qp.attachments == kNone);
    wire_.disconnect(slot);
    state_.deadlines.clear(slot);
    state_.doorbell_slots_of(qp.context)[qp.doorbell] = 0;
    context.doorbell_hint = std::min(context.doorbell_hint, qp.doorbell);
    --state_.regions[qp.region].users;
    --state_.pds[qp.pd].users;
    --state_.cqs[qp.send_cq].users;
    --state_.cqs[qp.recv_cq].users;
    if (qp.srq != kNone) {
        --state_.srqs[qp.srq].users;
    }
    --context.objects;
    qp.qpn = 0;
    qp.state = VRDMA_QPS_RESET;
    qp.phase = SendPhase::Idle;
    state_.qp_runtime[slot] = QpRuntime{};
    state_.qps.release(slot);
}

Commands::Result Commands::destroy_qp(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const std::optional<uint32_t> slot = find_queue_pair(request->handle, call);
    if (!slot) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such queue pair");
    }
    Qp& qp = state_.qps[*slot];
    if (qp.type == VRDMA_QPT_XRC_RECV) {
        free_target_opening(request->handle & ~kTargetHandle, false);
        return size_t{0};
    }
    if (qp.attachments != kNone) {
        return refuse(VRDMA_STATUS_BUSY, "the queue pair is attached to a multicast group");
    }
    if (qp.phase == SendPhase::InFlight) {
        qp.halted = true;
        return defer();
    }
    free_qp(*slot);
    return size_t{0};
}

std::optional<Refusal> Commands::check_attributes(const Qp& qp,
                                                  const vrdma_cmd_modify_qp& request) const {
    const vrdma_qp_attributes& a = request.attributes;
    const auto has = [&](int bit) { return (request.mask & static_cast<uint32_t>(bit)) != 0; };
    const auto invalid = [](const char* text) {
        return Refusal{VRDMA_STATUS_INVALID, text, false};
    };
    if ((request.mask & ~kKnownAttributes) != 0) {
        return Refusal{VRDMA_STATUS_UNSUPPORTED, "the mask names an unknown attribute", false};
    }
    if (a.reserved != 0) {
        return invalid(kReserved);
    }
    if (has(VRDMA_QP_CUR_STATE) && a.current_state != qp.state) {
        return Refusal{VRDMA_STATUS_STATE, "the queue pair is not in the state named as current",
                       false};
    }
    if (has(VRDMA_QP_STATE) && !transition_exists(qp.type, qp.state, a.state)) {
        return Refusal{VRDMA_STATUS_STATE, "no such state transition (IBA 10.3.1)", false};
    }
    if (has(VRDMA_QP_PORT) && a.port != 1) {
        return invalid("the device has one port, number 1");
    }
    if (has(VRDMA_QP_PKEY_INDEX) && a.pkey_index != 0) {
        return invalid("the P_Key table has one entry, index 0");
    }
    if (has(VRDMA_QP_ACCESS_FLAGS) && (a.access & ~static_cast<uint32_t>(VRDMA_ACCESS_MASK)) != 0) {
        return invalid("unknown access flag");
    }
    if (has(VRDMA_QP_PATH_MTU) && (a.path_mtu < 1 || a.path_mtu > 5)) {
        return invalid("path MTU must be 256 to 4096");
    }
    if (has(VRDMA_QP_DEST_QPN) && (a.dest_qpn >> 24) != 0) {
        return invalid("a QPN has 24 bits");
    }
    if ((has(VRDMA_QP_MAX_QP_RD_ATOMIC) && a.max_rd_atomic > VRDMA_MAX_RD_ATOMIC) ||
        (has(VRDMA_QP_MAX_DEST_RD_ATOMIC) && a.max_dest_rd_atomic > VRDMA_MAX_RD_ATOMIC)) {
        return invalid("more READs and atomics in flight than the device has");
    }
    if ((has(VRDMA_QP_MIN_RNR_TIMER) && a.min_rnr_timer > 31) ||
        (has(VRDMA_QP_TIMEOUT) && a.timeout > 31)) {
        return invalid("a timer code has 5 bits");
    }
    if ((has(VRDMA_QP_RETRY_CNT) && a.retry_count > 7) ||
        (has(VRDMA_QP_RNR_RETRY) && a.rnr_retry > 7)) {
        return invalid("a retry count has 3 bits");
    }
    if (has(VRDMA_QP_AV)) {
        static constexpr vrdma_gid_entry kEmpty{};
        if (a.address.sgid_index >= VRDMA_GID_TABLE_LENGTH ||
            std::memcmp(&state_.vnics[qp.vnic].gids[a.address.sgid_index], &kEmpty,
                        sizeof kEmpty) == 0) {
            return invalid("sgid_index names no GID of this port");
        }
    }
    return std::nullopt;
}

void Commands::apply_attributes(Qp& qp, const vrdma_cmd_modify_qp& request) {
    const vrdma_qp_attributes& a = request.attributes;
    vrdma_qp_attributes& to = qp.attributes;
    const auto take = [&](int bit, auto& target, const auto& value) {
        if ((request.mask & static_cast<uint32_t>(bit)) != 0) {
            target = value;
        }
    };
    take(VRDMA_QP_ACCESS_FLAGS, to.access, a.access);
    take(VRDMA_QP_PKEY_INDEX, to.pkey_index, a.pkey_index);
    take(VRDMA_QP_PORT, to.port, a.port);
    take(VRDMA_QP_QKEY, to.qkey, a.qkey);
    take(VRDMA_QP_AV, to.address, a.address);
    take(VRDMA_QP_PATH_MTU, to.path_mtu, a.path_mtu);
    take(VRDMA_QP_TIMEOUT, to.timeout, a.timeout);
    take(VRDMA_QP_RETRY_CNT, to.retry_count, a.retry_count);
    take(VRDMA_QP_RNR_RETRY, to.rnr_retry, a.rnr_retry);
    take(VRDMA_QP_RQ_PSN, to.rq_psn, a.rq_psn & 0xffffff);
    take(VRDMA_QP_SQ_PSN, to.sq_psn, a.sq_psn & 0xffffff);
    take(VRDMA_QP_MAX_QP_RD_ATOMIC, to.max_rd_atomic, a.max_rd_atomic);
    take(VRDMA_QP_MAX_DEST_RD_ATOMIC, to.max_dest_rd_atomic, a.max_dest_rd_atomic);
    take(VRDMA_QP_MIN_RNR_TIMER, to.min_rnr_timer, a.min_rnr_timer);
    take(VRDMA_QP_DEST_QPN, to.dest_qpn, a.dest_qpn);
    take(VRDMA_QP_PATH_MIG_STATE, to.path_mig_state, a.path_mig_state);
    take(VRDMA_QP_EN_SQD_ASYNC_NOTIFY, to.sq_drained_notify, a.sq_drained_notify);
    qp.vnic_epoch = 0;  // the destination may be another one
}

Commands::Result Commands::modify_qp(const CommandCall& call) {
    const auto request = read_body<vrdma_cmd_modify_qp>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    const std::optional<uint32_t> found = find_queue_pair(request->handle, call);
    if (!found) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such queue pair");
    }
    const uint32_t slot = *found;
    Qp* qp = &state_.qps[slot];
    if (const std::optional<Refusal> refusal = check_attributes(*qp, *request)) {
        return tl::unexpected(*refusal);
    }
    if ((request->mask & VRDMA_QP_STATE) == 0) {
        apply_attributes(*qp, *request);
        return answer_attributes(call, *qp);
    }
    const uint32_t to = request->attributes.state;
    if (to == VRDMA_QPS_RESET) {
        if (qp->phase == SendPhase::InFlight) {
            qp->halted = true;
            return defer();
        }
        wire_.disconnect(slot);
        qp->state = VRDMA_QPS_RESET;
        queue_pairs_.reset(slot);
        return answer_attributes(call, *qp);
    }
    if (to == VRDMA_QPS_ERR) {
        if (qp->state == VRDMA_QPS_RESET) {  // nothing was posted; only the state changes
            qp->state = VRDMA_QPS_INIT;
        }
        queue_pairs_.enter_error(slot, VRDMA_REASON_MODIFIED, std::nullopt);
        return answer_attributes(call, *qp);
    }
    if (qp->state == VRDMA_QPS_SQE) {
        queue_pairs_.finish_flushing_sends(slot);
    }
    const vrdma_qp_attributes before = qp->attributes;
    apply_attributes(*qp, *request);
    if (to == VRDMA_QPS_RTR) {
        if (const char* no = wire_.connect(slot)) {
            qp->attributes = before;
            return refuse(VRDMA_STATUS_INVALID, no);
        }
    } else if (to == VRDMA_QPS_RTS) {
        wire_.start(slot);
    }
    qp->state = static_cast<uint8_t>(to);
    qp->drained_notify = to == VRDMA_QPS_SQD &&
                         (request->mask & VRDMA_QP_EN_SQD_ASYNC_NOTIFY) != 0 &&
                         request->attributes.sq_drained_notify != 0;
    state_.run(slot);
    return answer_attributes(call, *qp);
}

Commands::Result Commands::query_qp(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const std::optional<uint32_t> slot = find_queue_pair(request->handle, call);
    if (!slot) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such queue pair");
    }
    return answer_attributes(call, state_.qps[*slot]);
}

Commands::Result Commands::answer_attributes(const CommandCall& call, const Qp& qp) const {
    vrdma_rsp_query_qp response{qp.attributes};
    response.attributes.state = qp.state;
    response.attributes.current_state = qp.state;
    response.attributes.sq_draining =
        qp.state == VRDMA_QPS_SQD && qp.phase != SendPhase::Idle ? 1 : 0;
    return write_response(call, response);
}

}  // namespace vrdma
