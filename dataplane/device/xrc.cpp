// Extended reliable connections (IBA annex A14): the peer of a target queue pair says with every
// request which SRQ it is for, and that SRQ's completion queue and protection domain count for it,
// for SENDs as for RDMA and atomics. So a target has none of these of its own: it is bound to what
// a request names while the request is executed, and keeps a receive entry of it from the first to
// the last part of a message.
//
// An SRQ may go at any time. What a target kept of it is recognized by the SRQ's identity, which is
// never used again, unlike its number and its place in the table: another tenant may have these.
#include "dataplane/device/state.h"

namespace vrdma {
namespace {

constexpr uint32_t kSlotMask = (1U << kQpnSlotBits) - 1;

}  // namespace

uint32_t DeviceState::make_srqn(uint32_t slot, uint32_t& generation) const {
    uint32_t srqn = 0;
    while (srqn == 0) {
        ++generation;
        srqn = srqn_permutation.encrypt((generation << kQpnSlotBits | slot) & 0xffffff);
    }
    return srqn;
}

const Srq* DeviceState::find_xrc_srq(const Qp& target, uint32_t srqn) const {
    const uint32_t slot = srqn_permutation.decrypt(srqn & 0xffffff) & kSlotMask;
    if (slot >= srqs.fresh()) {
        return nullptr;
    }
    const Srq& srq = srqs[slot];
    const bool meant = srq.present && srq.identity != 0 && srq.srqn == srqn &&
                       xrcd_openings[srq.xrcd_opening].xrcd == target.xrcd;
    return meant ? &srq : nullptr;
}

std::optional<uint32_t> DeviceState::domain_of(const Qp& qp, uint32_t srqn) const {
    if (qp.type != VRDMA_QPT_XRC_RECV) {
        return qp.pd;
    }
    const Srq* srq = find_xrc_srq(qp, srqn);
    return srq == nullptr ? std::nullopt : std::optional(srq->pd);
}

bool DeviceState::bind_srq(Qp& target, uint32_t srqn, bool first) {
    if (srq_is_bound(target) && srqs[target.srq].srqn == srqn) [[likely]] {
        return true;
    }
    const Srq* srq = find_xrc_srq(target, srqn);
    if (srq == nullptr) {
        return false;
    }
    target.receiving = target.receiving && srq_is_bound(target);
    if (!first || target.receiving) {
        return false;
    }
    target.srq = srqs.index_of(*srq);
    target.srq_identity = srq->identity;
    target.pd = srq->pd;
    target.recv_cq = srq->cq;
    return true;
}

void DeviceState::raise(const Qp& qp, vrdma_event_type type) {
    if (qp.type != VRDMA_QPT_XRC_RECV) {
        raise(qp.context, type, qp.cookie);
        return;
    }
    for (uint32_t i = qp.first_opening; i != kNone; i = target_openings[i].next) {
        raise(target_openings[i].context, type, target_openings[i].cookie);
    }
}

}  // namespace vrdma
