// XRC domains, XRC SRQs and target queue pairs.
//
// A domain that is named by a file belongs to all contexts of the vNIC that have the file open and
// stand on this shard (the control thread sees to that); one without belongs to its context. Either
// lives until its last handle is closed. A target queue pair belongs to its domain: every context
// that opened it changes and destroys it by a handle of its own, every one gets its events, and it
// ends with its last handle. It has no queues, hence no doorbell and no memory of a tenant.
//
// A handle of a domain is busy while its context has SRQs and targets through it, so a domain has
// none when it goes.
#include "dataplane/device/commands.h"

namespace vrdma {
namespace {

constexpr const char* kNotNegotiated = "XRC was not negotiated";
constexpr const char* kNoDomain = "no such XRC domain";

}  // namespace

Commands::Result Commands::open_xrcd(const CommandCall& call) {
    if (!speaks(call, VRDMA_FEATURE_XRC)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, kNotNegotiated);
    }
    const auto request = read_body<vrdma_cmd_open_xrcd>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    constexpr uint32_t kKnown = VRDMA_XRCD_CREATE | VRDMA_XRCD_EXCLUSIVE;
    if ((request->flags & ~kKnown) != 0 || request->reserved != 0) {
        return refuse(VRDMA_STATUS_INVALID, "unknown flag, or a reserved field is not zero");
    }
    const Attachment& file = call.attachment;
    const bool create = (request->flags & VRDMA_XRCD_CREATE) != 0;
    if (!file.has_inode && !create) {
        return refuse(VRDMA_STATUS_INVALID, "a domain without a file can only be made");
    }
    const uint32_t vnic = state_.contexts[call.context].vnic;
    std::optional<uint32_t> domain;
    for (uint32_t i = 0; file.has_inode && !domain && i < state_.xrcds.fresh(); ++i) {
        const Xrcd& xrcd = state_.xrcds[i];
        if (xrcd.openings != 0 && xrcd.shared && xrcd.vnic == vnic && xrcd.inode == file.inode &&
            xrcd.device == file.device) {
            domain = i;
        }
    }
    if (domain && (request->flags & VRDMA_XRCD_EXCLUSIVE) != 0) {
        return refuse(VRDMA_STATUS_INVALID, "the file has an XRC domain already (O_EXCL)");
    }
    if (!domain && !create) {
        return refuse(VRDMA_STATUS_TRY_AGAIN, "the file has no XRC domain yet (no O_CREAT)");
    }
    const std::optional<uint32_t> index = state_.xrcd_openings.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no handle of an XRC domain is left on this host");
    }
    if (!domain) {
        domain = state_.xrcds.allocate();
        VR_CHECK(domain);  // there are as many as handles
        state_.xrcds[*domain] = Xrcd{.openings = 0,
                                     .vnic = vnic,
                                     .shared = file.has_inode,
                                     .reserved = {},
                                     .device = file.device,
                                     .inode = file.inode};
    }
    ++state_.xrcds[*domain].openings;
    state_.xrcd_openings[*index] = XrcdOpening{true, {}, call.context, *domain, 0};
    ++state_.contexts[call.context].objects;
    return write_response(call, vrdma_handle{*index, 0});
}

void Commands::free_xrcd_opening(uint32_t index) {
    XrcdOpening& opening = state_.xrcd_openings[index];
    VR_CHECK(opening.users == 0);
    if (--state_.xrcds[opening.xrcd].openings == 0) {
        state_.xrcds.release(opening.xrcd);
    }
    opening.present = false;
    --state_.contexts[opening.context].objects;
    state_.xrcd_openings.release(index);
}

Commands::Result Commands::close_xrcd(const CommandCall& call) {
    const auto request = read_handle(call);
    if (!request) {
        return tl::unexpected(request.error());
    }
    const XrcdOpening* opening = find(state_.xrcd_openings, request->handle, call);
    if (opening == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, kNoDomain);
    }
    if (opening->users != 0) {
        return refuse(VRDMA_STATUS_BUSY, "the XRC domain still has SRQs or targets");
    }
    free_xrcd_opening(request->handle);
    return size_t{0};
}

Commands::Result Commands::create_xrc_srq(const CommandCall& call) {
    if (!speaks(call, VRDMA_FEATURE_XRC)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, kNotNegotiated);
    }
    const auto request = read_body<vrdma_cmd_create_xrc_srq>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    XrcdOpening* opening = find(state_.xrcd_openings, request->xrcd, call);
    if (opening == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, kNoDomain);
    }
    Cq* cq = find(state_.cqs, request->cq, call);
    if (cq == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such completion queue");
    }
    const auto index = make_srq(call, request->srq);
    if (!index) {
        return tl::unexpected(index.error());
    }
    Srq& srq = state_.srqs[*index];
    srq.xrcd_opening = request->xrcd;
    srq.cq = request->cq;
    srq.srqn = state_.make_srqn(*index, srq.generation);
    srq.identity = ++state_.srq_identities;
    ++opening->users;
    ++cq->users;
    return write_response(call, vrdma_rsp_create_xrc_srq{*index, srq.srqn});
}

Commands::Result Commands::create_xrc_target(const CommandCall& call) {
    if (!speaks(call, VRDMA_FEATURE_XRC)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, kNotNegotiated);
    }
    const auto request = read_body<vrdma_cmd_xrc_target>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    if (request->qpn != 0) {
        return refuse(VRDMA_STATUS_INVALID, kReserved);
    }
    const XrcdOpening* opening = find(state_.xrcd_openings, request->xrcd, call);
    if (opening == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, kNoDomain);
    }
    const std::optional<uint32_t> slot = state_.qps.allocate();
    if (!slot) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no queue pair is left on this host");
    }
    Qp& qp = begin_qp(*slot, call.context, VRDMA_QPT_XRC_RECV);
    qp.pd = kNone;
    qp.send_cq = kNone;
    qp.recv_cq = kNone;
    qp.srq = kNone;
    qp.region = kNone;
    qp.doorbell = kNone;
    qp.xrcd = opening->xrcd;
    qp.first_opening = kNone;
    state_.qp_runtime[*slot] = QpRuntime{&state_.no_queues, nullptr, nullptr};
    queue_pairs_.reset(*slot);
    const Result result = add_target_opening(call, *request, *slot);
    if (!result) {
        qp.qpn = 0;
        state_.qp_runtime[*slot] = QpRuntime{};
        state_.qps.release(*slot);
    }
    return result;
}

Commands::Result Commands::open_xrc_target(const CommandCall& call) {
    if (!speaks(call, VRDMA_FEATURE_XRC)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, kNotNegotiated);
    }
    const auto request = read_body<vrdma_cmd_xrc_target>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    const XrcdOpening* opening = find(state_.xrcd_openings, request->xrcd, call);
    if (opening == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, kNoDomain);
    }
    const std::optional<uint32_t> slot = state_.find_qp(request->qpn);
    if (!slot || state_.qps[*slot].type != VRDMA_QPT_XRC_RECV ||
        state_.qps[*slot].xrcd != opening->xrcd) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "the XRC domain has no target with this number");
    }
    return add_target_opening(call, *request, *slot);
}

Commands::Result Commands::add_target_opening(const CommandCall& call,
                                              const vrdma_cmd_xrc_target& request, uint32_t slot) {
    Qp& qp = state_.qps[slot];
    uint32_t count = 0;
    for (uint32_t i = qp.first_opening; i != kNone; i = state_.target_openings[i].next) {
        ++count;
    }
    if (count >= kMaxTargetOpenings) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "the target has as many handles as it may have");
    }
    const std::optional<uint32_t> index = state_.target_openings.allocate();
    if (!index) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, "no handle of a target is left on this host");
    }
    state_.target_openings[*index] = TargetOpening{.present = true,
                                                   .reserved = {},
                                                   .context = call.context,
                                                   .qp = slot,
                                                   .xrcd_opening = request.xrcd,
                                                   .next = qp.first_opening,
                                                   .reserved1 = 0,
                                                   .cookie = request.cookie};
    qp.first_opening = *index;
    qp.context = call.context;
    ++state_.xrcd_openings[request.xrcd].users;
    ++state_.contexts[call.context].objects;
    return write_response(call,
                          vrdma_rsp_create_qp{*index | kTargetHandle, qp.qpn, VRDMA_NO_HANDLE, 0});
}

void Commands::free_target_opening(uint32_t index, bool abandoned) {
    TargetOpening& opening = state_.target_openings[index];
    const uint32_t slot = opening.qp;
    Qp& qp = state_.qps[slot];
    uint32_t* link = &qp.first_opening;
    while (*link != index) {
        link = &state_.target_openings[*link].next;
    }
    *link = opening.next;
    --state_.xrcd_openings[opening.xrcd_opening].users;
    --state_.contexts[opening.context].objects;
    opening.present = false;
    state_.target_openings.release(index);
    if (qp.first_opening != kNone) {
        qp.context = state_.target_openings[qp.first_opening].context;
        return;
    }
    if (abandoned) {
        tell_peer(qp);
    }
    wire_.disconnect(slot);
    state_.deadlines.clear(slot);
    qp.qpn = 0;
    qp.state = VRDMA_QPS_RESET;
    qp.phase = SendPhase::Idle;
    state_.qp_runtime[slot] = QpRuntime{};
    state_.qps.release(slot);
}

std::optional<uint32_t> Commands::find_queue_pair(uint32_t handle, const CommandCall& call) const {
    if ((handle & kTargetHandle) != 0) {
        const TargetOpening* opening = find(state_.target_openings, handle & ~kTargetHandle, call);
        return opening == nullptr ? std::nullopt : std::optional(opening->qp);
    }
    const Qp* qp = find(state_.qps, handle, call);
    const bool named = qp != nullptr && qp->type != VRDMA_QPT_XRC_RECV;
    return named ? std::optional(handle) : std::nullopt;
}

}  // namespace vrdma
