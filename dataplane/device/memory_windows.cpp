// A window stands on a memory region of its own protection domain, which cannot be deregistered
// meanwhile, and gives a part of it to peers with rights of its own (IBA 10.6.7). Type 1 works
// through every queue pair of the domain and is bound anew in place; type 2 (2B: both domain and
// queue pair count) works through the queue pair that bound it, and must be invalidated before it
// is bound again. An entry names its window by the upper 24 bits of the key: the lower 8 change
// with every bind, so that a key that a peer kept gives nothing.
//
// The region's own remote rights are not asked for: it must allow windows, and writing where the
// window allows it (IBA 10.6.7.2.1).
#include "dataplane/device/memory_windows.h"

namespace vrdma {
namespace {

constexpr uint32_t kChanges = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_ATOMIC;

std::optional<EntryFault> bind(DeviceState& state, const Qp& qp) {
    const vrdma_send_wqe& wqe = qp.entry();
    const auto fault = [](vrdma_reason reason) { return EntryFault{VRDMA_WC_MW_BIND_ERR, reason}; };
    Mw* window = state.mws.find(wqe.rkey);
    if (window == nullptr || window->pd != qp.pd || wqe.bind.rkey >> 8 != window->name) {
        return fault(VRDMA_REASON_MW_KEY);
    }
    if (wqe.bind.length == 0) {
        unbind(state, *window);
        return std::nullopt;
    }
    if (window->type == VRDMA_MW_TYPE_2 && window->key != 0) {
        return fault(VRDMA_REASON_MW_KEY);
    }
    const bool changes = (wqe.bind.access & kChanges) != 0;
    const uint32_t rights =
        uint32_t{VRDMA_ACCESS_MW_BIND} | (changes ? uint32_t{VRDMA_ACCESS_LOCAL_WRITE} : 0U);
    const auto mr = state.mrs.check(
        Access{wqe.bind.lkey, qp.pd, wqe.remote_address, wqe.bind.length, rights}, false);
    if (!mr) {
        return fault(mr.error());
    }
    unbind(state, *window);
    window->key = wqe.bind.rkey;
    window->mr = state.mrs.index_of(**mr);
    window->qpn = qp.qpn;
    window->access = wqe.bind.access & VRDMA_ACCESS_MASK;
    window->base = (wqe.bind.access & VRDMA_ACCESS_ZERO_BASED) != 0 ? 0 : wqe.remote_address;
    window->address = wqe.remote_address;
    window->length = wqe.bind.length;
    state.mrs.add_window(window->mr);
    return std::nullopt;
}

}  // namespace

std::optional<EntryFault> execute_local(DeviceState& state, const Qp& qp) {
    const vrdma_send_wqe& wqe = qp.entry();
    if (wqe.opcode == VRDMA_WQE_BIND_MW) {
        return bind(state, qp);
    }
    if (check_invalidation(state, qp, wqe.rkey)) {
        return EntryFault{VRDMA_WC_LOC_QP_OP_ERR, VRDMA_REASON_MW_KEY};
    }
    unbind(state, *state.mws.find(wqe.rkey));
    return std::nullopt;
}

std::optional<vrdma_reason> check_invalidation(DeviceState& state, const Qp& qp, uint32_t key) {
    const Mw* window = state.mws.find(key);
    if (window == nullptr || window->key != key) {
        return VRDMA_REASON_RKEY_UNKNOWN;
    }
    if (window->pd != qp.pd) {
        return VRDMA_REASON_RKEY_PD;
    }
    if (window->type != VRDMA_MW_TYPE_2) {
        return VRDMA_REASON_RKEY_ACCESS;
    }
    return window->qpn == qp.qpn ? std::nullopt : std::optional(VRDMA_REASON_RKEY_QP);
}

void unbind(DeviceState& state, Mw& window) {
    if (window.key != 0) {
        window.key = 0;
        state.mrs.remove_window(window.mr);
    }
}

tl::expected<RemoteTarget, vrdma_reason> DeviceState::check_window(const Qp& qp,
                                                                   const Access& access) {
    const Mw* window = mws.find(access.key);
    if (window == nullptr || window->key != access.key) {
        return tl::unexpected(VRDMA_REASON_RKEY_UNKNOWN);
    }
    if (window->pd != access.pd) {
        return tl::unexpected(VRDMA_REASON_RKEY_PD);
    }
    if (window->type == VRDMA_MW_TYPE_2 && window->qpn != qp.qpn) {
        return tl::unexpected(VRDMA_REASON_RKEY_QP);
    }
    const uint64_t offset = access.address - window->base;
    if (access.length > window->length || offset > window->length - access.length) {
        return tl::unexpected(VRDMA_REASON_RKEY_RANGE);
    }
    if ((window->access & access.rights) != access.rights) {
        return tl::unexpected(VRDMA_REASON_RKEY_ACCESS);
    }
    return RemoteTarget{&mrs[window->mr], window->address + offset};
}

}  // namespace vrdma
