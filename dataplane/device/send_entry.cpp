// An entry is copied from the ring once and everything is checked in the copy: the tenant may
// change the ring at any time. Lengths are summed in 64 bits, so that no combination of SGEs wraps.
#include "dataplane/device/send_entry.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/build.h"

namespace vrdma {
namespace {

bool allowed(const Qp& qp, uint8_t opcode) {
    const uint8_t type = qp.type;
    if (opcode == VRDMA_WQE_SEND_WITH_INV) {
        return type == VRDMA_QPT_RC && qp.windows;
    }
    if (is_local(opcode)) {
        return type != VRDMA_QPT_UD && type != VRDMA_QPT_XRC_SEND && qp.windows;
    }
    if (is_send(opcode)) {
        return true;
    }
    if (is_write(opcode)) {
        return type != VRDMA_QPT_UD;
    }
    return (opcode == VRDMA_WQE_RDMA_READ || is_atomic(opcode)) && is_reliable(type);
}

bool bind_is_well_formed(const vrdma_send_wqe& wqe) {
    constexpr uint32_t kAccess = VRDMA_ACCESS_REMOTE_WRITE | VRDMA_ACCESS_REMOTE_READ |
                                 VRDMA_ACCESS_REMOTE_ATOMIC | VRDMA_ACCESS_ZERO_BASED;
    return (wqe.bind.access & ~kAccess) == 0 &&
           (wqe.bind.reserved[0] | wqe.bind.reserved[1] | wqe.bind.reserved[2]) == 0;
}

bool names_srq(const vrdma_send_wqe& wqe) {
    return wqe.xrc.remote_srqn >> 24 == 0 &&
           (wqe.xrc.reserved[0] | wqe.xrc.reserved[1] | wqe.xrc.reserved[2]) == 0;
}

}  // namespace

size_t data_offset(const Qp& qp, uint8_t opcode) {
    if (has_long_entries(qp.type)) {
        return VRDMA_WQE_DATA_OFFSET_UD;
    }
    return is_atomic(opcode) ? VRDMA_WQE_DATA_OFFSET_ATOMIC : VRDMA_WQE_DATA_OFFSET;
}

std::optional<EntryFault> check_entry(const DeviceState& state, const Qp& qp, uint32_t& length) {
    const vrdma_send_wqe& wqe = qp.entry();
    const auto fault = [](vrdma_reason reason) {
        return EntryFault{VRDMA_WC_LOC_QP_OP_ERR, reason};
    };
    if (!allowed(qp, wqe.opcode)) {
        return fault(VRDMA_REASON_WQE_OPCODE);
    }
    if ((wqe.flags & ~VRDMA_WQE_FLAGS_MASK) != 0 || wqe.reserved0 != 0) {
        return fault(VRDMA_REASON_WQE_FLAGS);
    }
    if ((wqe.flags & VRDMA_WQE_INLINE) != 0) {
        if (!(is_send(wqe.opcode) || is_write(wqe.opcode)) || wqe.inline_length > qp.max_inline ||
            wqe.sge_count != 0) {
            return fault(VRDMA_REASON_WQE_INLINE);
        }
        length = wqe.inline_length;
    } else {
        if (wqe.inline_length != 0) {
            return fault(VRDMA_REASON_WQE_INLINE);
        }
        if (wqe.sge_count > (is_local(wqe.opcode) ? 0 : qp.max_send_sge)) {
            return fault(VRDMA_REASON_WQE_SGE_COUNT);
        }
        uint64_t total = 0;
        const std::byte* data = qp.wqe.data() + data_offset(qp, wqe.opcode);
        for (uint32_t i = 0; i < wqe.sge_count; ++i) {
            vrdma_sge sge;
            std::memcpy(&sge, data + i * sizeof sge, sizeof sge);
            total += sge.length;
        }
        if (is_atomic(wqe.opcode) && (wqe.sge_count != 1 || total != 8)) {
            return fault(VRDMA_REASON_WQE_ATOMIC_SGE);
        }
        if (total > VRDMA_MAX_TRANSFER_BYTES) {
            return EntryFault{VRDMA_WC_LOC_LEN_ERR, VRDMA_REASON_WQE_LENGTH};
        }
        length = static_cast<uint32_t>(total);
    }
    if (qp.type == VRDMA_QPT_UD && wqe.ud_address.reserved != 0) {
        return fault(VRDMA_REASON_WQE_FLAGS);
    }
    if (qp.type == VRDMA_QPT_XRC_SEND && !names_srq(wqe)) {
        return fault(VRDMA_REASON_WQE_FLAGS);
    }
    if (wqe.opcode == VRDMA_WQE_BIND_MW && !bind_is_well_formed(wqe)) {
        return fault(VRDMA_REASON_WQE_FLAGS);
    }
    // IBA 9.8.3: a datagram is one packet.
    if (qp.type == VRDMA_QPT_UD && length > wire::path_mtu_bytes(state.vnics[qp.vnic].active_mtu)) {
        return EntryFault{VRDMA_WC_LOC_LEN_ERR, VRDMA_REASON_WQE_LENGTH};
    }
    if ((is_atomic(wqe.opcode) || wqe.opcode == VRDMA_WQE_RDMA_READ) &&
        qp.attributes.max_rd_atomic == 0) {
        return fault(VRDMA_REASON_RD_ATOMIC);
    }
    return std::nullopt;
}

void load_entry(Qp& qp, const QpRuntime& runtime, uint32_t index) {
    const std::byte* entry = runtime.send_ring + size_t{index & (qp.sq_entries - 1)} * qp.sq_stride;
    std::memcpy(qp.wqe.data(), entry, sizeof(vrdma_send_wqe));
    if (qp.sq_stride > sizeof(vrdma_send_wqe)) {
        // What the first line says of the rest; a later change of it in the ring is not looked at.
        const auto sge_count =
            std::to_integer<uint32_t>(qp.wqe[offsetof(vrdma_send_wqe, sge_count)]);
        uint32_t inline_length = 0;
        std::memcpy(&inline_length, &qp.wqe[offsetof(vrdma_send_wqe, inline_length)], 4);
        const uint32_t data = std::max<uint32_t>(sge_count * sizeof(vrdma_sge), inline_length);
        const auto offset = static_cast<uint32_t>(data_offset(qp, qp.entry().opcode));
        const uint32_t end = offset + std::min<uint32_t>(data, kSendWqeBytes - offset);
        const uint32_t need = std::min(end, qp.sq_stride);
        if (need > sizeof(vrdma_send_wqe)) {
            std::memcpy(qp.wqe.data() + sizeof(vrdma_send_wqe), entry + sizeof(vrdma_send_wqe),
                        need - sizeof(vrdma_send_wqe));
        }
    }
}

std::optional<vrdma_reason> gather_entry(DeviceState& state, const std::byte* wqe, uint32_t pd,
                                         const Part& part, Slice& slice) {
    slice.span_count = 0;
    slice.length = 0;
    const uint32_t sge_count = reinterpret_cast<const vrdma_send_wqe*>(wqe)->sge_count;
    uint64_t skip = part.from;
    for (uint32_t i = 0; i < sge_count && slice.length < part.length; ++i) {
        vrdma_sge sge;
        std::memcpy(&sge, wqe + part.data_offset + i * sizeof sge, sizeof sge);
        if (skip >= sge.length) {
            skip -= sge.length;
            continue;
        }
        const uint64_t bytes = std::min<uint64_t>(sge.length - skip, part.length - slice.length);
        const auto mr =
            state.mrs.check(Access{sge.lkey, pd, sge.address + skip, bytes, part.rights}, false);
        if (!mr) {
            return mr.error();
        }
        uint64_t done = 0;
        while (done < bytes) {
            if (slice.span_count == kMaxSpansPerSlice) {
                return std::nullopt;  // a shorter slice
            }
            MemorySpan& span = slice.spans[slice.span_count++];
            span = state.mrs.span(**mr, sge.address + skip + done, bytes - done);
            done += span.length;
            slice.length += static_cast<uint32_t>(span.length);
        }
        skip = 0;
    }
    return std::nullopt;
}

void account_send(DeviceState& state, Qp& qp) {
    const uint8_t opcode = qp.entry().opcode;
    Counters& counters = state.counters_of(qp);
    ++qp.sends;
    qp.bytes_sent += qp.length;
    if (is_send(opcode)) {
        counters.add(Counter::SendOperations);
        counters.add(Counter::SendBytes, qp.length);
    } else if (is_write(opcode)) {
        counters.add(Counter::WriteOperations);
        counters.add(Counter::WriteBytes, qp.length);
    } else if (opcode == VRDMA_WQE_RDMA_READ) {
        counters.add(Counter::ReadOperations);
        counters.add(Counter::ReadBytes, qp.length);
    } else {
        counters.add(Counter::AtomicOperations);
    }
}

}  // namespace vrdma
