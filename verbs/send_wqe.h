// Parts of a send entry that ibv_post_send and the ibv_wr_* builder write alike.
#pragma once

#include <infiniband/verbs.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "driver/abi/wqe.h"
#include "verbs/ah.h"
#include "verbs/work_queue.h"

namespace vrdma::verbs {

inline constexpr unsigned kSendFlagsMask =
    IBV_SEND_FENCE | IBV_SEND_SIGNALED | IBV_SEND_SOLICITED | IBV_SEND_INLINE;
inline constexpr std::uint32_t kAtomicBytes = 8;

// Why a request is refused.
struct SendRefusal {
    int error = 0;  // 0: it is not
    const char* reason = "";
};

// By ibv_wr_opcode.
inline constexpr std::uint8_t kWqeOpcode[] = {
    VRDMA_WQE_RDMA_WRITE,           VRDMA_WQE_RDMA_WRITE_WITH_IMM, VRDMA_WQE_SEND,
    VRDMA_WQE_SEND_WITH_IMM,        VRDMA_WQE_RDMA_READ,           VRDMA_WQE_ATOMIC_CMP_AND_SWP,
    VRDMA_WQE_ATOMIC_FETCH_AND_ADD, VRDMA_WQE_LOCAL_INV,           VRDMA_WQE_BIND_MW,
    VRDMA_WQE_SEND_WITH_INV,
};
static_assert(IBV_WR_RDMA_WRITE == 0 && IBV_WR_SEND == 2 && IBV_WR_RDMA_READ == 4 &&
              IBV_WR_ATOMIC_FETCH_AND_ADD == 6 && IBV_WR_LOCAL_INV == 7 && IBV_WR_BIND_MW == 8 &&
              IBV_WR_SEND_WITH_INV + 1 == sizeof kWqeOpcode);

// What a bind says of its window. The device decides whether the window may have it.
[[nodiscard]] inline SendRefusal write_bind(vrdma_send_wqe& wqe, const ibv_mw& mw,
                                            std::uint32_t rkey, const ibv_mw_bind_info& info) {
    constexpr unsigned kAccess = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
                                 IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_ZERO_BASED;
    static_assert(static_cast<int>(IBV_ACCESS_ZERO_BASED) ==
                  static_cast<int>(VRDMA_ACCESS_ZERO_BASED));
    if ((info.mw_access_flags & ~kAccess) != 0) {
        return {EINVAL, "mw_access_flags: only remote access and ZERO_BASED"};
    }
    if (info.mr == nullptr && info.length != 0) {
        return {EINVAL, "bind_info.mr is needed unless length is 0"};
    }
    wqe.remote_address = info.addr;
    wqe.rkey = mw.rkey;
    wqe.bind = {.length = info.length,
                .lkey = info.mr == nullptr ? 0 : info.mr->lkey,
                .rkey = rkey,
                .access = info.mw_access_flags,
                .reserved = {}};
    return {};
}

// IBV_SEND_* to VRDMA_WQE_*.
[[nodiscard]] inline std::uint8_t wqe_flags_of(unsigned send_flags) {
    static_assert(IBV_SEND_FENCE == 1 && IBV_SEND_SIGNALED == 2 && IBV_SEND_SOLICITED == 4);
    static_assert(VRDMA_WQE_SIGNALED == 1 && VRDMA_WQE_SOLICITED == 2 && VRDMA_WQE_FENCE == 4);
    static_assert(static_cast<int>(IBV_SEND_INLINE) == static_cast<int>(VRDMA_WQE_INLINE));
    return static_cast<std::uint8_t>((send_flags >> 1U & 3U) | (send_flags & 1U) << 2U |
                                     (send_flags & IBV_SEND_INLINE));
}

// The entry's data segment on this queue, for everything but atomics.
[[nodiscard]] inline std::byte* data_of(const SendQueue& sq, vrdma_send_wqe& wqe) {
    return reinterpret_cast<std::byte*>(&wqe) + sq.data_offset;
}

// Where an atomic's only SGE stands.
[[nodiscard]] inline vrdma_sge* atomic_result_of(const SendQueue& sq, vrdma_send_wqe& wqe) {
    return sq.is_xrc ? reinterpret_cast<vrdma_sge*>(data_of(sq, wqe)) : &wqe.atomic.result;
}

// Writes count SGEs, without the empty ones: the device would have to look up their lkey for
// nothing. Returns how many were written.
[[nodiscard]] inline std::uint8_t write_sges(vrdma_sge* to, const ibv_sge* from,
                                             std::uint32_t count) {
    std::uint8_t written = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (from[i].length != 0) {
            to[written] = {.address = from[i].addr, .length = from[i].length, .lkey = from[i].lkey};
            ++written;
        }
    }
    return written;
}

// Clears what an entry of an XRC initiator has beside its data.
[[nodiscard]] inline SendRefusal write_remote_srq(vrdma_send_wqe& wqe, std::uint32_t srqn) {
    wqe.xrc = {.compare_add = 0, .swap = 0, .remote_srqn = srqn, .reserved = {}};
    return srqn >> 24U == 0 ? SendRefusal{}
                            : SendRefusal{EINVAL, "qp_type.xrc.remote_srqn: a number has 24 bits"};
}

inline void write_address(vrdma_send_wqe& wqe, const ibv_ah& ah, std::uint32_t qpn,
                          std::uint32_t qkey) {
    wqe.ud.remote_qpn = qpn;
    wqe.ud.remote_qkey = qkey;
    std::memcpy(&wqe.ud_address, &Ah::of(&ah)->address, sizeof wqe.ud_address);
}

}  // namespace vrdma::verbs
