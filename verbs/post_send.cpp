// Posting sends: translates a list of work requests into entries of the shared ring, publishes them
// with one store and rings the doorbell once.
//
// The checks here are those a program may rely on (a bad request is refused before anything of it
// is queued, *bad_wr names it, what came before it in the list is posted). They are no protection:
// the device checks the entry again, with its own copy.
//
// Errors, as hardware providers have them: EINVAL for the wrong state, an operation the type does
// not have, unknown flags, too many SGEs or inline bytes, an atomic without exactly one SGE of 8
// bytes, a UD send without an address handle; ENOMEM when the queue is full.
#include <cerrno>
#include <cstring>
#include <mutex>

#include "verbs/context.h"
#include "verbs/qp.h"
#include "verbs/send_wqe.h"

namespace vrdma::verbs {
namespace {

// By ibv_wr_opcode; the type's opcodes were checked before.
constexpr std::uint8_t kWqeOpcode[] = {
    VRDMA_WQE_RDMA_WRITE,  // IBV_WR_RDMA_WRITE
    VRDMA_WQE_RDMA_WRITE_WITH_IMM, VRDMA_WQE_SEND,
    VRDMA_WQE_SEND_WITH_IMM,       VRDMA_WQE_RDMA_READ,
    VRDMA_WQE_ATOMIC_CMP_AND_SWP,  VRDMA_WQE_ATOMIC_FETCH_AND_ADD,
};
static_assert(IBV_WR_RDMA_WRITE == 0 && IBV_WR_SEND == 2 && IBV_WR_RDMA_READ == 4 &&
              IBV_WR_ATOMIC_FETCH_AND_ADD + 1 == sizeof kWqeOpcode);

bool may_be_inline(unsigned opcode) {
    return opcode <= IBV_WR_SEND_WITH_IMM;
}

bool is_atomic(unsigned opcode) {
    return opcode >= IBV_WR_ATOMIC_CMP_AND_SWP;
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

// 0, or the errno that refuses the request.
[[gnu::always_inline]] inline int write_send(const SendQueue& sq, const ibv_send_wr& wr,
                                             vrdma_send_wqe& wqe) {
    const unsigned opcode = opcode_of(wr);
    if (opcode > IBV_WR_ATOMIC_FETCH_AND_ADD || (sq.opcodes >> opcode & 1U) == 0 ||
        (wr.send_flags & ~kSendFlagsMask) != 0 || static_cast<unsigned>(wr.num_sge) > sq.max_sge)
        [[unlikely]] {
        return EINVAL;
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
    if (is_atomic(opcode)) {
        if (wr.num_sge != 1 || wr.sg_list[0].length != kAtomicBytes ||
            (wr.send_flags & IBV_SEND_INLINE) != 0) {
            return EINVAL;
        }
        wqe.remote_address = wr.wr.atomic.remote_addr;
        wqe.rkey = wr.wr.atomic.rkey;
        wqe.atomic.compare_add = wr.wr.atomic.compare_add;
        wqe.atomic.swap = opcode == IBV_WR_ATOMIC_CMP_AND_SWP ? wr.wr.atomic.swap : 0;
        wqe.sge_count = write_sges(&wqe.atomic.result, wr.sg_list, 1);
        return 0;
    }
    if (sq.is_ud) {
        if (wr.wr.ud.ah == nullptr) {
            return EINVAL;
        }
        write_address(wqe, *wr.wr.ud.ah, wr.wr.ud.remote_qpn, wr.wr.ud.remote_qkey);
    } else if (opcode != IBV_WR_SEND && opcode != IBV_WR_SEND_WITH_IMM) {
        wqe.remote_address = wr.wr.rdma.remote_addr;
        wqe.rkey = wr.wr.rdma.rkey;
    }
    if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
        return may_be_inline(opcode) && write_inline(sq, wr, wqe) ? 0 : EINVAL;
    }
    wqe.sge_count = write_sges(reinterpret_cast<vrdma_sge*>(data_of(sq, wqe)), wr.sg_list,
                               static_cast<std::uint32_t>(wr.num_sge));
    return 0;
}

}  // namespace

int post_send(ibv_qp* ibqp, ibv_send_wr* wr, ibv_send_wr** bad_wr) {
    Qp& qp = *Qp::of(ibqp);
    SendQueue& sq = qp.sq;
    sq.lock.lock();
    if (!sq.postable) [[unlikely]] {
        sq.lock.unlock();
        *bad_wr = wr;
        return EINVAL;
    }
    const std::uint32_t begin = sq.head.load(std::memory_order_relaxed);
    // Acquire: whoever moved the tail has seen the completion, so the slot is no longer read.
    const std::uint32_t end = sq.tail.load(std::memory_order_acquire) + sq.entries;
    std::uint32_t head = begin;
    int error = 0;
    for (; wr != nullptr; wr = wr->next) {
        if (head == end) [[unlikely]] {
            error = ENOMEM;
            break;
        }
        error = write_send(sq, *wr, *sq.slot(head));
        if (error != 0) [[unlikely]] {
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
    if (error != 0) [[unlikely]] {
        *bad_wr = wr;
    }
    return error;
}

}  // namespace vrdma::verbs
