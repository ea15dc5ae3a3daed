// Posting sends: translates a list of work requests into entries of the shared ring, publishes them
// with one store and rings the doorbell once.
//
// The checks here are those a program may rely on (a bad request is refused before anything of it
// is queued, *bad_wr names it, what came before it in the list is posted). They are no protection:
// the device checks the entry again, with its own copy.
//
// Errors, as hardware providers have them: EINVAL for the wrong state, an operation the type does
// not have, unknown flags, an atomic without exactly one SGE of 8 bytes, a UD send without an
// address handle; ENOMEM when the queue is full, or for more SGEs or inline bytes than it has room
// for. VRDMA_LOG=debug names the attribute.
#include <cerrno>
#include <cstring>
#include <mutex>

#include "verbs/context.h"
#include "verbs/log.h"
#include "verbs/qp.h"
#include "verbs/send_wqe.h"

namespace vrdma::verbs {
namespace {

bool may_be_inline(unsigned opcode) {
    return opcode <= IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_SEND_WITH_INV;
}

bool is_atomic(unsigned opcode) {
    return opcode == IBV_WR_ATOMIC_CMP_AND_SWP || opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
}

bool is_rdma(unsigned opcode) {
    return opcode <= IBV_WR_RDMA_WRITE_WITH_IMM || opcode == IBV_WR_RDMA_READ;
}

// As a number: a program may have written there what is no value of the enumeration.
unsigned opcode_of(const ibv_send_wr& wr) {
    unsigned opcode = 0;
    static_assert(sizeof wr.opcode == sizeof opcode);
    std::memcpy(&opcode, &wr.opcode, sizeof opcode);
    return opcode;
}

// Copies the inline bytes. False when they are too many.
bool write_inline(const SendQueue& sq, const ibv_send_wr& wr, vrdma_send_wqe& wqe) {
    std::byte* to = data_of(sq, wqe);
    std::uint64_t bytes = 0;
    for (int i = 0; i < wr.num_sge; ++i) {
        const ibv_sge& sge = wr.sg_list[i];
        if (bytes + sge.length > sq.max_inline) {
            return false;
        }
        std::memcpy(to + bytes, reinterpret_cast<const void*>(sge.addr), sge.length);
        bytes += sge.length;
    }
    wqe.inline_length = static_cast<std::uint32_t>(bytes);
    return true;
}

// The requests of memory windows.
[[gnu::noinline]] SendRefusal write_window_request(const ibv_send_wr& wr, unsigned opcode,
                                                   vrdma_send_wqe& wqe) {
    if ((wr.send_flags & IBV_SEND_INLINE) != 0 || wr.num_sge != 0) {
        return {EINVAL, "num_sge and IBV_SEND_INLINE: a bind and an invalidation have no data"};
    }
    if (opcode == IBV_WR_LOCAL_INV) {
        wqe.rkey = wr.invalidate_rkey;
        return {};
    }
    if (wr.bind_mw.mw == nullptr || wr.bind_mw.mw->type != IBV_MW_TYPE_2) {
        return {EINVAL, "bind_mw.mw: a window of type 2; type 1 is bound by ibv_bind_mw"};
    }
    return write_bind(wqe, *wr.bind_mw.mw, wr.bind_mw.rkey, wr.bind_mw.bind_info);
}

[[gnu::always_inline]] inline SendRefusal write_send(const SendQueue& sq, const ibv_send_wr& wr,
                                                     vrdma_send_wqe& wqe) {
    const unsigned opcode = opcode_of(wr);
    if (opcode >= sizeof kWqeOpcode || (sq.opcodes >> opcode & 1U) == 0) [[unlikely]] {
        return {EINVAL, "opcode: not an operation of this queue pair type"};
    }
    if ((wr.send_flags & ~kSendFlagsMask) != 0) [[unlikely]] {
        return {EINVAL, "send_flags: unknown flag"};
    }
    if (static_cast<unsigned>(wr.num_sge) > sq.max_sge) [[unlikely]] {
        return {wr.num_sge < 0 ? EINVAL : ENOMEM, "num_sge: negative, or more than max_send_sge"};
    }
    wqe.opcode = kWqeOpcode[opcode];
    wqe.flags = wqe_flags_of(wr.send_flags);
    wqe.sge_count = 0;
    wqe.reserved0 = 0;
    const bool has_imm = opcode == IBV_WR_RDMA_WRITE_WITH_IMM || opcode == IBV_WR_SEND_WITH_IMM;
    wqe.imm_data = has_imm ? wr.imm_data : 0;
    wqe.wr_id = wr.wr_id;
    wqe.remote_address = 0;
    wqe.rkey = 0;
    wqe.inline_length = 0;
    if (sq.is_xrc) [[unlikely]] {
        const SendRefusal refusal = write_remote_srq(wqe, wr.qp_type.xrc.remote_srqn);
        if (refusal.error != 0) {
            return refusal;
        }
    }
    if (is_atomic(opcode)) {
        if (wr.num_sge != 1 || wr.sg_list[0].length != kAtomicBytes ||
            (wr.send_flags & IBV_SEND_INLINE) != 0) {
            return {EINVAL, "sg_list: an atomic has one SGE of 8 bytes and is not inline"};
        }
        wqe.remote_address = wr.wr.atomic.remote_addr;
        wqe.rkey = wr.wr.atomic.rkey;
        wqe.atomic.compare_add = wr.wr.atomic.compare_add;
        wqe.atomic.swap = opcode == IBV_WR_ATOMIC_CMP_AND_SWP ? wr.wr.atomic.swap : 0;
        wqe.sge_count = write_sges(atomic_result_of(sq, wqe), wr.sg_list, 1);
        return {};
    }
    if (sq.is_ud) {
        if (wr.wr.ud.ah == nullptr) {
            return {EINVAL, "wr.ud.ah: a datagram needs an address handle"};
        }
        write_address(wqe, *wr.wr.ud.ah, wr.wr.ud.remote_qpn, wr.wr.ud.remote_qkey);
    } else if (is_rdma(opcode)) {
        wqe.remote_address = wr.wr.rdma.remote_addr;
        wqe.rkey = wr.wr.rdma.rkey;
    } else if (opcode > IBV_WR_ATOMIC_FETCH_AND_ADD) [[unlikely]] {
        if (opcode != IBV_WR_SEND_WITH_INV) {
            return write_window_request(wr, opcode, wqe);
        }
        wqe.rkey = wr.invalidate_rkey;
    }
    if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
        if (!may_be_inline(opcode)) {
            return {EINVAL, "send_flags: IBV_SEND_INLINE on a request that sends no data"};
        }
        return write_inline(sq, wr, wqe)
                   ? SendRefusal{}
                   : SendRefusal{ENOMEM, "sg_list: more inline data than max_inline_data"};
    }
    wqe.sge_count = write_sges(reinterpret_cast<vrdma_sge*>(data_of(sq, wqe)), wr.sg_list,
                               static_cast<std::uint32_t>(wr.num_sge));
    return {};
}

[[gnu::noinline]] int refuse(const Qp& qp, const ibv_send_wr& wr, const SendRefusal& refusal) {
    log(LogLevel::debug, "verb=post_send qpn=%u wr_id=%lu errno=%d reason=\"%s\"",
        qp.base.qp.qp_num, static_cast<unsigned long>(wr.wr_id), refusal.error, refusal.reason);
    return refusal.error;
}

constexpr SendRefusal kWrongState{EINVAL, "state: sends are posted in RTS, SQD, SQE and ERR"};
constexpr SendRefusal kFull{ENOMEM, "the send queue is full: poll its completions"};

}  // namespace

int post_send(ibv_qp* ibqp, ibv_send_wr* wr, ibv_send_wr** bad_wr) {
    Qp& qp = *Qp::of(ibqp);
    SendQueue& sq = qp.sq;
    sq.lock.lock();
    if (!sq.postable) [[unlikely]] {
        sq.lock.unlock();
        *bad_wr = wr;
        return wr == nullptr ? EINVAL : refuse(qp, *wr, kWrongState);
    }
    const std::uint32_t begin = sq.head.load(std::memory_order_relaxed);
    // Acquire: whoever moved the tail has seen the completion, so the slot is no longer read.
    const std::uint32_t end = sq.tail.load(std::memory_order_acquire) + sq.entries;
    std::uint32_t head = begin;
    SendRefusal refusal;
    for (; wr != nullptr; wr = wr->next) {
        if (head == end) [[unlikely]] {
            refusal = kFull;
            break;
        }
        refusal = write_send(sq, *wr, *sq.slot(head));
        if (refusal.error != 0) [[unlikely]] {
            break;
        }
        ++head;
    }
    if (head != begin) [[likely]] {
        sq.publish(head);
    }
    sq.lock.unlock();
    if (head != begin) [[likely]] {
        qp.ring_doorbell();
    }
    if (refusal.error != 0) [[unlikely]] {
        *bad_wr = wr;
        return refuse(qp, *wr, refusal);
    }
    return 0;
}

int post_bind(Qp& qp, ibv_mw& mw, std::uint32_t rkey, const ibv_mw_bind& bind) {
    ibv_send_wr wr{};
    wr.wr_id = bind.wr_id;
    wr.send_flags = bind.send_flags;
    SendQueue& sq = qp.sq;
    const std::lock_guard lock(sq.lock);
    const std::uint32_t head = sq.head.load(std::memory_order_relaxed);
    if (!sq.postable) {
        return refuse(qp, wr, kWrongState);
    }
    if ((sq.opcodes >> IBV_WR_BIND_MW & 1U) == 0) {
        return refuse(qp, wr, {EINVAL, "qp: this type binds no memory windows"});
    }
    if ((wr.send_flags & ~(kSendFlagsMask & ~unsigned{IBV_SEND_INLINE})) != 0) {
        return refuse(qp, wr, {EINVAL, "send_flags: unknown flag"});
    }
    if (head - sq.tail.load(std::memory_order_acquire) >= sq.entries) {
        return refuse(qp, wr, kFull);
    }
    vrdma_send_wqe& wqe = *sq.slot(head);
    wqe = {};
    wqe.opcode = VRDMA_WQE_BIND_MW;
    wqe.flags = wqe_flags_of(wr.send_flags);
    wqe.wr_id = wr.wr_id;
    const SendRefusal refusal = write_bind(wqe, mw, rkey, bind.bind_info);
    if (refusal.error != 0) {
        return refuse(qp, wr, refusal);
    }
    sq.publish(head + 1);
    qp.ring_doorbell();
    return 0;
}

}  // namespace vrdma::verbs
