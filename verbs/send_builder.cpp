// The ibv_wr_* interface: a program builds entries call by call between wr_start and wr_complete.
//
// wr_start takes the queue's lock, wr_complete and wr_abort give it back. Each operation begins an
// entry in place in the ring; the setters fill it. Nothing is visible to the device until
// wr_complete publishes all of it. The first mistake is remembered and wr_complete returns it; then
// nothing of the batch is posted, as the interface wants.
#include <cerrno>

#include "verbs/context.h"
#include "verbs/log.h"
#include "verbs/qp.h"
#include "verbs/send_wqe.h"

namespace vrdma::verbs {
namespace {

void note_error(Qp& qp, int error) {
    if (qp.builder.error == 0) {
        qp.builder.error = error;
    }
}

// A datagram that was begun and has no address, an XRC request that names no SRQ.
void check_addressed(Qp& qp) {
    if ((qp.sq.is_ud || qp.sq.is_xrc) && qp.builder.wqe != nullptr && !qp.builder.addressed) {
        note_error(qp, EINVAL);
    }
}

// The next entry, cleared but for wr_id and flags; nullptr when the batch has failed already.
vrdma_send_wqe* begin(Qp& qp, ibv_wr_opcode opcode) {
    check_addressed(qp);
    const SendQueue& sq = qp.sq;
    SendBuilder& builder = qp.builder;
    builder.wqe = nullptr;
    if (builder.error != 0) {
        return nullptr;
    }
    if (builder.head - sq.tail.load(std::memory_order_acquire) >= sq.entries) {
        note_error(qp, ENOMEM);
        return nullptr;
    }
    if ((sq.opcodes >> static_cast<unsigned>(opcode) & 1U) == 0) {
        note_error(qp, EINVAL);
        return nullptr;
    }
    const unsigned flags = qp.base.qp_ex.wr_flags;
    // Inline data is announced by its setter.
    if ((flags & ~(kSendFlagsMask & ~unsigned{IBV_SEND_INLINE})) != 0) {
        note_error(qp, EINVAL);
        return nullptr;
    }
    vrdma_send_wqe* wqe = sq.slot(builder.head);
    ++builder.head;
    builder.addressed = false;
    if (sq.is_xrc) {
        wqe->xrc = {};
    }
    wqe->opcode = kWqeOpcode[opcode];
    wqe->flags = wqe_flags_of(flags);
    wqe->sge_count = 0;
    wqe->reserved0 = 0;
    wqe->imm_data = 0;
    wqe->wr_id = qp.base.qp_ex.wr_id;
    wqe->remote_address = 0;
    wqe->rkey = 0;
    wqe->inline_length = 0;
    builder.wqe = wqe;
    return wqe;
}

void begin_rdma(Qp& qp, ibv_wr_opcode opcode, std::uint32_t rkey, std::uint64_t address) {
    vrdma_send_wqe* wqe = begin(qp, opcode);
    if (wqe != nullptr) {
        wqe->remote_address = address;
        wqe->rkey = rkey;
    }
}

void set_imm(Qp& qp, __be32 imm_data) {
    if (qp.builder.wqe != nullptr) {
        qp.builder.wqe->imm_data = imm_data;
    }
}

bool is_atomic(const vrdma_send_wqe& wqe) {
    return wqe.opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP ||
           wqe.opcode == VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
}

bool has_no_data(const vrdma_send_wqe& wqe) {
    return wqe.opcode == VRDMA_WQE_BIND_MW || wqe.opcode == VRDMA_WQE_LOCAL_INV;
}

void wr_rdma_read(ibv_qp_ex* qp, std::uint32_t rkey, std::uint64_t address) {
    begin_rdma(*Qp::of(qp), IBV_WR_RDMA_READ, rkey, address);
}
void wr_rdma_write(ibv_qp_ex* qp, std::uint32_t rkey, std::uint64_t address) {
    begin_rdma(*Qp::of(qp), IBV_WR_RDMA_WRITE, rkey, address);
}
void wr_rdma_write_imm(ibv_qp_ex* qp, std::uint32_t rkey, std::uint64_t address, __be32 imm_data) {
    begin_rdma(*Qp::of(qp), IBV_WR_RDMA_WRITE_WITH_IMM, rkey, address);
    set_imm(*Qp::of(qp), imm_data);
}
void wr_send(ibv_qp_ex* qp) {
    begin_rdma(*Qp::of(qp), IBV_WR_SEND, 0, 0);
}
void wr_send_imm(ibv_qp_ex* qp, __be32 imm_data) {
    begin_rdma(*Qp::of(qp), IBV_WR_SEND_WITH_IMM, 0, 0);
    set_imm(*Qp::of(qp), imm_data);
}

void wr_send_inv(ibv_qp_ex* qp, std::uint32_t invalidate_rkey) {
    begin_rdma(*Qp::of(qp), IBV_WR_SEND_WITH_INV, invalidate_rkey, 0);
}
void wr_local_inv(ibv_qp_ex* qp, std::uint32_t invalidate_rkey) {
    begin_rdma(*Qp::of(qp), IBV_WR_LOCAL_INV, invalidate_rkey, 0);
}

void wr_bind_mw(ibv_qp_ex* qp_ex, ibv_mw* mw, std::uint32_t rkey,
                const ibv_mw_bind_info* bind_info) {
    Qp& qp = *Qp::of(qp_ex);
    vrdma_send_wqe* wqe = begin(qp, IBV_WR_BIND_MW);
    if (wqe == nullptr) {
        return;
    }
    const SendRefusal refusal = mw->type == IBV_MW_TYPE_2
                                    ? write_bind(*wqe, *mw, rkey, *bind_info)
                                    : SendRefusal{EINVAL, "mw: type 1 is bound by ibv_bind_mw"};
    if (refusal.error != 0) {
        note_error(qp, refusal.error);
    }
}

void wr_atomic_cmp_swp(ibv_qp_ex* qp_ex, std::uint32_t rkey, std::uint64_t address,
                       std::uint64_t compare, std::uint64_t swap) {
    Qp& qp = *Qp::of(qp_ex);
    begin_rdma(qp, IBV_WR_ATOMIC_CMP_AND_SWP, rkey, address);
    if (qp.builder.wqe != nullptr) {
        qp.builder.wqe->atomic.compare_add = compare;
        qp.builder.wqe->atomic.swap = swap;
    }
}

void wr_atomic_fetch_add(ibv_qp_ex* qp_ex, std::uint32_t rkey, std::uint64_t address,
                         std::uint64_t add) {
    Qp& qp = *Qp::of(qp_ex);
    begin_rdma(qp, IBV_WR_ATOMIC_FETCH_AND_ADD, rkey, address);
    if (qp.builder.wqe != nullptr) {
        qp.builder.wqe->atomic.compare_add = add;
        qp.builder.wqe->atomic.swap = 0;
    }
}

void wr_set_ud_addr(ibv_qp_ex* qp_ex, ibv_ah* ah, std::uint32_t qpn, std::uint32_t qkey) {
    Qp& qp = *Qp::of(qp_ex);
    if (qp.builder.wqe == nullptr) {
        return;
    }
    if (!qp.sq.is_ud || ah == nullptr) {
        note_error(qp, EINVAL);
        return;
    }
    write_address(*qp.builder.wqe, *ah, qpn, qkey);
    qp.builder.addressed = true;
}

void wr_set_xrc_srqn(ibv_qp_ex* qp_ex, std::uint32_t srqn) {
    Qp& qp = *Qp::of(qp_ex);
    if (qp.builder.wqe == nullptr) {
        return;
    }
    if (!qp.sq.is_xrc || srqn >> 24U != 0) {
        note_error(qp, EINVAL);
        return;
    }
    qp.builder.wqe->xrc.remote_srqn = srqn;
    qp.builder.addressed = true;
}

void wr_set_sge_list(ibv_qp_ex* qp_ex, std::size_t count, const ibv_sge* list) {
    Qp& qp = *Qp::of(qp_ex);
    vrdma_send_wqe* wqe = qp.builder.wqe;
    if (wqe == nullptr) {
        return;
    }
    const bool atomic = is_atomic(*wqe);
    if (count > qp.sq.max_sge) {
        note_error(qp, ENOMEM);
        return;
    }
    if ((atomic && (count != 1 || list[0].length != kAtomicBytes)) || has_no_data(*wqe)) {
        note_error(qp, EINVAL);
        return;
    }
    auto* to =
        atomic ? atomic_result_of(qp.sq, *wqe) : reinterpret_cast<vrdma_sge*>(data_of(qp.sq, *wqe));
    wqe->sge_count = write_sges(to, list, static_cast<std::uint32_t>(count));
}

void wr_set_sge(ibv_qp_ex* qp, std::uint32_t lkey, std::uint64_t address, std::uint32_t length) {
    const ibv_sge sge{.addr = address, .length = length, .lkey = lkey};
    wr_set_sge_list(qp, 1, &sge);
}

void wr_set_inline_data_list(ibv_qp_ex* qp_ex, std::size_t count, const ibv_data_buf* list) {
    Qp& qp = *Qp::of(qp_ex);
    vrdma_send_wqe* wqe = qp.builder.wqe;
    if (wqe == nullptr) {
        return;
    }
    if (is_atomic(*wqe) || wqe->opcode == VRDMA_WQE_RDMA_READ || has_no_data(*wqe)) {
        note_error(qp, EINVAL);
        return;
    }
    std::byte* to = data_of(qp.sq, *wqe);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (list[i].length > qp.sq.max_inline - bytes) {
            note_error(qp, ENOMEM);
            return;
        }
        std::memcpy(to + bytes, list[i].addr, list[i].length);
        bytes += list[i].length;
    }
    wqe->flags |= VRDMA_WQE_INLINE;
    wqe->inline_length = static_cast<std::uint32_t>(bytes);
}

void wr_set_inline_data(ibv_qp_ex* qp, void* address, std::size_t length) {
    const ibv_data_buf buffer{.addr = address, .length = length};
    wr_set_inline_data_list(qp, 1, &buffer);
}

void wr_start(ibv_qp_ex* qp_ex) {
    Qp& qp = *Qp::of(qp_ex);
    qp.sq.lock.lock();
    qp.builder = {.wqe = nullptr,
                  .head = qp.sq.head.load(std::memory_order_relaxed),
                  .error = qp.sq.postable ? 0 : EINVAL,
                  .addressed = false};
}

int wr_complete(ibv_qp_ex* qp_ex) {
    Qp& qp = *Qp::of(qp_ex);
    check_addressed(qp);
    const int error = qp.builder.error;
    const bool posted = error == 0 && qp.builder.head != qp.sq.head.load(std::memory_order_relaxed);
    if (posted) {
        qp.sq.publish(qp.builder.head);
    }
    qp.sq.lock.unlock();
    if (posted) {
        qp.ring_doorbell();
    }
    if (error != 0) [[unlikely]] {
        log(LogLevel::debug, "verb=wr_complete qpn=%u errno=%d reason=\"a request of the batch\"",
            qp.base.qp.qp_num, error);
    }
    return error;
}

void wr_abort(ibv_qp_ex* qp) {
    Qp::of(qp)->sq.lock.unlock();
}

}  // namespace

void set_builder_functions(ibv_qp_ex& qp) {
    qp.wr_atomic_cmp_swp = wr_atomic_cmp_swp;
    qp.wr_atomic_fetch_add = wr_atomic_fetch_add;
    qp.wr_bind_mw = wr_bind_mw;
    qp.wr_local_inv = wr_local_inv;
    qp.wr_send_inv = wr_send_inv;
    qp.wr_rdma_read = wr_rdma_read;
    qp.wr_rdma_write = wr_rdma_write;
    qp.wr_rdma_write_imm = wr_rdma_write_imm;
    qp.wr_send = wr_send;
    qp.wr_send_imm = wr_send_imm;
    qp.wr_set_ud_addr = wr_set_ud_addr;
    qp.wr_set_xrc_srqn = wr_set_xrc_srqn;
    qp.wr_set_inline_data = wr_set_inline_data;
    qp.wr_set_inline_data_list = wr_set_inline_data_list;
    qp.wr_set_sge = wr_set_sge;
    qp.wr_set_sge_list = wr_set_sge_list;
    qp.wr_start = wr_start;
    qp.wr_complete = wr_complete;
    qp.wr_abort = wr_abort;
}

}  // namespace vrdma::verbs
