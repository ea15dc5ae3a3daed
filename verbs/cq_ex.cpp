// Extended polling (ibv_start_poll and its companions): one completion at a time, read in place.
//
// start_poll takes the lock and end_poll gives it back, so that the entry stays where it is in
// between. An entry is retired when the program moves on, and the consumer index is published by
// end_poll, once for the batch, as poll_cq does once for a call.
//
// Completions carry no VLAN and no flow tag: creating a CQ with those wc_flags is refused (cq.cpp),
// so the functions that would read them stay unset. Time stamps are there when they were asked for;
// a completion that was made up, because the device is gone, has none (0).
#include <cerrno>

#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/dead_device.h"

namespace vrdma::verbs {
namespace {

// Under the lock: makes the next completion the current one.
bool advance(Cq& cq) {
    cq.current = cq.entry(cq.consumer);
    if (cq.current == nullptr && cq.context->dead() && !cq.context->abandoned) [[unlikely]] {
        cq.current = cq.entry(cq.consumer);
        if (cq.current == nullptr && make_up_completion(cq, cq.made_up)) {
            cq.current = &cq.made_up;
        }
    }
    if (cq.current == nullptr) {
        return false;
    }
    cq.base.cq_ex.wr_id = cq.current->wr_id;
    cq.base.cq_ex.status = static_cast<ibv_wc_status>(cq.current->status);
    return true;
}

// Under the lock: the program is done with the current completion.
void finish_current(Cq& cq) {
    if (cq.current != nullptr && cq.current != &cq.made_up) {
        retire(cq, *cq.current);
        ++cq.consumer;
    }
    cq.current = nullptr;
}

int start_poll(ibv_cq_ex* cq_ex, ibv_poll_cq_attr* attr) {
    if (attr != nullptr && attr->comp_mask != 0) {
        return EINVAL;
    }
    Cq& cq = *Cq::of(cq_ex);
    cq.acquire();
    cq.polled.store(true, std::memory_order_relaxed);
    if (advance(cq)) {
        cq.pacer.reset();
        return 0;
    }
    const bool yield = cq.pacer.note_empty();
    cq.release();
    if (yield) [[unlikely]] {
        cq.pacer.yield();
    }
    return ENOENT;
}

int next_poll(ibv_cq_ex* cq_ex) {
    Cq& cq = *Cq::of(cq_ex);
    finish_current(cq);
    return advance(cq) ? 0 : ENOENT;
}

void end_poll(ibv_cq_ex* cq_ex) {
    Cq& cq = *Cq::of(cq_ex);
    finish_current(cq);
    cq.publish_consumer();
    cq.release();
}

const vrdma_cqe& current(ibv_cq_ex* cq_ex) {
    return *Cq::of(cq_ex)->current;
}

ibv_wc_opcode read_opcode(ibv_cq_ex* cq) {
    return static_cast<ibv_wc_opcode>(current(cq).opcode);
}
std::uint32_t read_vendor_err(ibv_cq_ex* cq) {
    return current(cq).vendor_err;
}
std::uint32_t read_byte_len(ibv_cq_ex* cq) {
    return current(cq).byte_len;
}
__be32 read_imm_data(ibv_cq_ex* cq) {
    return current(cq).imm_data;
}
std::uint32_t read_qp_num(ibv_cq_ex* cq) {
    return current(cq).qpn;
}
std::uint32_t read_src_qp(ibv_cq_ex* cq) {
    const vrdma_cqe& cqe = current(cq);
    return (cqe.opcode & VRDMA_WC_RECV) != 0 ? cqe.src_qpn_or_index : 0;
}
unsigned read_wc_flags(ibv_cq_ex* cq) {
    return wc_flags_of(current(cq));
}
// RoCE has no LIDs.
std::uint32_t read_slid(ibv_cq_ex*) {
    return 0;
}
std::uint8_t read_sl(ibv_cq_ex* cq) {
    return service_level_of(current(cq));
}
std::uint8_t read_dlid_path_bits(ibv_cq_ex*) {
    return 0;
}
std::uint64_t read_completion_ts(ibv_cq_ex* cq_ex) {
    const Cq& cq = *Cq::of(cq_ex);
    return cq.current == &cq.made_up ? 0 : cq.timestamps[cq.consumer & cq.mask];
}
std::uint64_t read_completion_wallclock_ns(ibv_cq_ex* cq_ex) {
    Cq& cq = *Cq::of(cq_ex);
    const std::uint64_t timestamp = read_completion_ts(cq_ex);
    return timestamp == 0 ? 0 : wall_time_of(*cq.context, cq.wall_clock, timestamp);
}

}  // namespace

void set_poll_functions(ibv_cq_ex& cq, std::uint64_t wc_flags) {
    cq.start_poll = start_poll;
    cq.next_poll = next_poll;
    cq.end_poll = end_poll;
    cq.read_opcode = read_opcode;
    cq.read_vendor_err = read_vendor_err;
    cq.read_byte_len = read_byte_len;
    cq.read_imm_data = read_imm_data;
    cq.read_qp_num = read_qp_num;
    cq.read_src_qp = read_src_qp;
    cq.read_wc_flags = read_wc_flags;
    cq.read_slid = read_slid;
    cq.read_sl = read_sl;
    cq.read_dlid_path_bits = read_dlid_path_bits;
    if ((wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP) != 0) {
        cq.read_completion_ts = read_completion_ts;
    }
    if ((wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK) != 0) {
        cq.read_completion_wallclock_ns = read_completion_wallclock_ns;
    }
}

}  // namespace vrdma::verbs
