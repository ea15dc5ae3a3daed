// One entry at a time: it is copied from the ring into the queue pair, checked there, and moved
// slice by slice. Entries of one queue pair execute strictly in order, so fences are kept without
// doing anything for them. The entry stays current until it completes; waiting for a receiver (RNR)
// or for a peer that does not answer keeps it and sets the queue pair's one timer.
//
// A peer in another shard gets the slice by message and answers by message; until then the queue
// pair is InFlight and nobody touches the entry or the slice.
#include "dataplane/device/requester.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "dataplane/device/memory_windows.h"
#include "dataplane/memory/copy.h"
#include "dataplane/wire/syndrome.h"

namespace vrdma {
namespace {

constexpr Duration kSilentPeerPoll = Duration::milliseconds(100);
constexpr uint8_t kInfiniteRnr = 7;
constexpr int64_t kAckTimeoutUnitNs = 4096;   // IBA 9.7.6.1.3
constexpr uint32_t kQkeyFromQp = 0x80000000;  // IBA 10.2.5: use the queue pair's own Q_Key

}  // namespace

void Requester::visit(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.remote != kNone) {
        wire_.visit(slot);
        return;
    }
    uint32_t entries = 0;
    uint32_t bytes = 0;
    while (entries < kEntriesPerVisit && bytes < kBytesPerVisit) {
        if (qp.halted) [[unlikely]] {
            return;
        }
        const uint32_t before = qp.sq_consumer;
        if (qp.phase == SendPhase::Idle) {
            if (!start(slot)) {
                return;
            }
            if (qp.phase == SendPhase::Idle) {
                ++entries;
                continue;
            }
        } else if (qp.phase != SendPhase::Moving) {
            return;
        }
        bytes += step(slot);
        entries += qp.sq_consumer - before;
        if (qp.phase == SendPhase::Moving && state_.free_slices.empty() &&
            state_.config.shard_count > 1) {
            break;
        }
    }
    state_.run(slot);
}

bool Requester::start(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.state != VRDMA_QPS_RTS) {
        if (qp.state == VRDMA_QPS_ERR || qp.state == VRDMA_QPS_SQE) {
            queue_pairs_.flush(slot);
        } else if (qp.state == VRDMA_QPS_SQD && qp.drained_notify) {
            qp.drained_notify = false;
            state_.raise(qp, VRDMA_EVENT_SQ_DRAINED);
        }
        return false;
    }
    const QpRuntime& runtime = state_.qp_runtime[slot];
    const uint32_t producer =
        std::atomic_ref(runtime.header->sq_producer).load(std::memory_order_acquire);
    const uint32_t waiting = producer - qp.sq_consumer;
    if (waiting == 0) {
        return false;
    }
    if (waiting > qp.sq_entries) [[unlikely]] {
        queue_pairs_.enter_error(slot, VRDMA_REASON_SQ_INDEX, VRDMA_EVENT_QP_FATAL);
        return false;
    }
    load_entry(qp, runtime, qp.sq_consumer);
    qp.phase = SendPhase::Moving;
    qp.position = 0;
    qp.length = 0;
    qp.group_shard = 0;
    qp.group_member = 0;
    qp.rnr_left = qp.attributes.rnr_retry;
    qp.retries_left = qp.attributes.retry_count;
    if (const std::optional<EntryFault> fault = check_entry(state_, qp, qp.length)) {
        queue_pairs_.fail_send(slot, fault->status, fault->reason);
        return false;
    }
    if (is_local(qp.entry().opcode)) [[unlikely]] {
        queue_pairs_.finish_local(slot, execute_local(state_, qp));
    }
    return true;
}

bool Requester::fill(uint32_t slot, const vrdma_send_wqe& wqe, Slice& slice) {
    Qp& qp = state_.qps[slot];
    slice.opcode = wqe.opcode;
    slice.type = qp.type == VRDMA_QPT_XRC_SEND ? uint8_t{VRDMA_QPT_XRC_RECV} : qp.type;
    slice.solicited = (wqe.flags & VRDMA_WQE_SOLICITED) != 0;
    slice.streaming = qp.length >= kStreamingBytes;
    slice.imm_data = wqe.imm_data;
    slice.srqn = qp.type == VRDMA_QPT_XRC_SEND ? wqe.xrc.remote_srqn : 0;
    slice.source_qpn = qp.qpn;
    slice.source_vnic = qp.vnic;
    slice.rkey = wqe.rkey;
    slice.remote_address = wqe.remote_address;
    slice.total = qp.length;
    slice.position = qp.position;
    slice.first = qp.position == 0;
    slice.inline_data = nullptr;
    slice.span_count = 0;
    const uint32_t want = std::min(qp.length - qp.position, kSliceBytes);
    const size_t offset = data_offset(qp, wqe.opcode);
    if ((wqe.flags & VRDMA_WQE_INLINE) != 0) {
        slice.inline_data = qp.wqe.data() + offset;
        slice.length = want;
    } else {
        const bool writes_here = wqe.opcode == VRDMA_WQE_RDMA_READ || is_atomic(wqe.opcode);
        if (const std::optional<vrdma_reason> bad =
                gather_entry(state_, qp.wqe.data(), qp.pd,
                             {.from = qp.position,
                              .length = want,
                              .rights = writes_here ? uint32_t{VRDMA_ACCESS_LOCAL_WRITE} : 0U,
                              .data_offset = offset},
                             slice)) {
            queue_pairs_.fail_send(slot, VRDMA_WC_LOC_PROT_ERR, *bad);
            return false;
        }
    }
    slice.last = qp.position + slice.length == qp.length;
    if (is_atomic(wqe.opcode)) {
        slice.compare_add = wqe.atomic.compare_add;
        slice.swap = wqe.atomic.swap;
    }
    if (qp.type == VRDMA_QPT_UD) {
        slice.destination_qpn = wqe.ud.remote_qpn;
        slice.qkey =
            (wqe.ud.remote_qkey & kQkeyFromQp) != 0 ? qp.attributes.qkey : wqe.ud.remote_qkey;
        std::memcpy(slice.remote_gid.gid, wqe.ud_address.remote_gid, sizeof slice.remote_gid.gid);
        slice.traffic_class = wqe.ud_address.traffic_class;
        slice.hop_limit = wqe.ud_address.hop_limit;
        slice.flow_label = wqe.ud_address.flow_label;
    }
    return true;
}

uint32_t Requester::step(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    const vrdma_send_wqe& wqe = qp.entry();
    uint32_t vnic = 0;
    uint32_t qpn = 0;
    if (qp.type == VRDMA_QPT_UD) {
        vrdma_gid_entry gid;
        std::memcpy(gid.gid, wqe.ud_address.remote_gid, sizeof gid.gid);
        if (wqe.ud.remote_qpn == VRDMA_MCAST_QPN && is_group(gid)) [[unlikely]] {
            return step_group(slot);
        }
        vnic = state_.find_vnic(state_.vnics[qp.vnic].network, gid);
        qpn = wqe.ud.remote_qpn;
    } else {
        vnic = state_.peer_vnic(qp);
        qpn = qp.attributes.dest_qpn;
    }
    const bool reachable = vnic != kNone && state_.vnics[vnic].up && state_.vnics[qp.vnic].up;
    const uint32_t shard = reachable ? state_.home_of(qpn).shard : state_.config.shard;
    if (shard != state_.config.shard) {
        Message message{};
        message.kind = MessageKind::Request;
        message.destination_vnic = vnic;
        message.destination_qpn = qpn;
        const uint32_t length = std::min(qp.length - qp.position, kSliceBytes);
        return hand_over(slot, shard, message) ? length : 0;
    }
    Slice slice;
    if (!fill(slot, wqe, slice)) {
        return 0;
    }
    Reply reply;
    qp.phase = SendPhase::InFlight;  // an error that the slice causes must not flush this entry
    if (reachable) {
        reply = responder_.receive(vnic, qpn, slice);
    } else if (is_reliable(qp.type)) {
        reply = Reply{Answer::Silent, 0, VRDMA_WC_SUCCESS, VRDMA_REASON_PEER_UNREACHABLE};
    } else if (qp.type == VRDMA_QPT_UC || vnic != kNone || !wire_.send_datagram(qp, slice)) {
        state_.counters_of(qp).add(qp.type == VRDMA_QPT_UD ? Counter::UdDroppedNoQp
                                                           : Counter::UcDroppedNoQp);
    }
    on_reply(slot, slice.length, slice.last, reply);
    return slice.length;
}

bool Requester::hand_over(uint32_t slot, uint32_t shard, Message message) {
    Qp& qp = state_.qps[slot];
    if (state_.free_slices.empty()) {
        return false;
    }
    const uint32_t index = state_.free_slices.back();
    Slice& slice = state_.slices[index];
    if (!fill(slot, qp.entry(), slice)) {
        return false;
    }
    state_.free_slices.pop_back();
    qp.phase = SendPhase::InFlight;
    Context& context = state_.contexts[qp.context];
    ++context.slices_in_flight[context.slice_round];
    message.from_shard = state_.config.shard;
    message.requester_slot = slot;
    message.requester_qpn = qp.qpn;
    message.requester_context = qp.context;
    message.requester_round = context.slice_round;
    message.slice_index = index;
    message.slice = &slice;
    state_.outbox.emplace_back(shard, message);
    return true;
}

uint32_t Requester::step_group(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    const uint32_t shards = state_.config.shard_count;
    const auto shard = [&] { return (state_.config.shard + qp.group_shard) % shards; };
    const bool up = state_.vnics[qp.vnic].up;
    while (qp.group_shard < shards && (!up || !multicast_.has_members(shard()))) {
        ++qp.group_shard;
        qp.group_member = 0;
    }
    if (qp.group_shard != 0 && qp.group_shard < shards) {
        Message message{};
        message.kind = MessageKind::GroupRequest;
        message.destination_vnic = kNone;
        message.group_member = qp.group_member;
        return hand_over(slot, shard(), message) ? kCopiesAtOnce * kPortMtu : 0;
    }
    Slice slice;
    if (!fill(slot, qp.entry(), slice)) {
        return 0;
    }
    qp.phase = SendPhase::InFlight;  // an error that the slice causes must not flush this entry
    if (qp.group_shard == 0) {
        const Multicast::Delivered delivered = multicast_.deliver(slice, qp.group_member);
        on_copies(slot, delivered.next, delivered.reply);
        return delivered.copies * kPortMtu;
    }
    // Without a port there is nobody else.
    const bool lost = !up || (wire_.has_port(qp) && !wire_.send_datagram(qp, slice));
    if (lost) {
        state_.counters_of(qp).add(Counter::UdDroppedNoQp);
    }
    on_reply(slot, slice.length, true, Reply{});
    return kPortMtu;
}

void Requester::on_copies(uint32_t slot, uint32_t next, const Reply& reply) {
    Qp& qp = state_.qps[slot];
    qp.group_shard += next == kNone ? 1U : 0U;
    qp.group_member = next == kNone ? 0 : next;
    on_reply(slot, 0, false, reply);  // the last word is that of the wire
}

void Requester::wait(uint32_t slot, SendPhase phase, Duration delay) {
    state_.qps[slot].phase = phase;
    state_.deadlines.set(slot, state_.now + delay);
}

void Requester::on_reply(uint32_t slot, uint32_t length, bool last, const Reply& reply) {
    settle(slot, length, last, reply);
    if (state_.qps[slot].peer_lost) [[unlikely]] {
        queue_pairs_.peer_died(slot);
    }
}

void Requester::settle(uint32_t slot, uint32_t length, bool last, const Reply& reply) {
    Qp& qp = state_.qps[slot];
    qp.phase = SendPhase::Moving;
    if (qp.state == VRDMA_QPS_ERR && (reply.answer != Answer::Ack || !last) &&
        reply.answer != Answer::Nak) {
        queue_pairs_.flush(slot);  // it failed while the slice was on its way
        return;
    }
    switch (reply.answer) {
        case Answer::Ack:
            qp.position += length;
            qp.rnr_left = qp.attributes.rnr_retry;
            qp.retries_left = qp.attributes.retry_count;
            if (last) {
                account_send(state_, qp);
                queue_pairs_.complete_send(slot, VRDMA_WC_SUCCESS, VRDMA_REASON_NONE);
                if (qp.state == VRDMA_QPS_ERR) {
                    queue_pairs_.flush(slot);
                }
            }
            return;
        case Answer::Rnr:
            ++qp.rnr_naks;
            if (qp.rnr_left == 0) {
                queue_pairs_.fail_send(slot, VRDMA_WC_RNR_RETRY_EXC_ERR, VRDMA_REASON_RNR);
                return;
            }
            if (qp.attributes.rnr_retry != kInfiniteRnr) {
                --qp.rnr_left;
            }
            state_.counters_of(qp).add(Counter::RnrRetries);
            wait(slot, SendPhase::RnrWait, wire::rnr_delay(reply.rnr_timer));
            return;
        case Answer::Silent:
            ++qp.retransmissions;
            if (qp.attributes.timeout == 0) {  // no timer: wait for ever, but look again
                wait(slot, SendPhase::RetryWait, kSilentPeerPoll);
                return;
            }
            qp.silence = static_cast<uint8_t>(reply.reason());
            wait(slot, SendPhase::RetryWait,
                 Duration::nanoseconds(kAckTimeoutUnitNs << qp.attributes.timeout));
            return;
        case Answer::Nak:
            queue_pairs_.fail_send(slot, reply.status(), reply.reason());
            return;
    }
}

void Requester::on_deadline(uint32_t slot) {
    if (state_.qps[slot].remote != kNone) {
        wire_.on_deadline(slot);
        return;
    }
    Qp& qp = state_.qps[slot];
    if (qp.phase == SendPhase::RetryWait && qp.attributes.timeout != 0) {
        // Every try, the last one too, was given its time (IBA 9.7.6.1.3).
        if (qp.retries_left == 0) {
            queue_pairs_.fail_send(slot, VRDMA_WC_RETRY_EXC_ERR,
                                   static_cast<vrdma_reason>(qp.silence));
            return;
        }
        --qp.retries_left;
        state_.counters_of(qp).add(Counter::TransportRetries);
    }
    if (qp.phase == SendPhase::RnrWait || qp.phase == SendPhase::RetryWait) {
        qp.phase = SendPhase::Moving;
        state_.run(slot);
    }
}

void Requester::on_response(const Message& message) {
    state_.free_slices.push_back(message.slice_index);
    --state_.contexts[message.requester_context].slices_in_flight[message.requester_round];
    const uint32_t slot = message.requester_slot;
    Qp& qp = state_.qps[slot];
    if (qp.qpn != message.requester_qpn || qp.phase != SendPhase::InFlight) {
        return;
    }
    if (message.destination_vnic == kNone) [[unlikely]] {  // a group
        on_copies(slot, message.group_member, message.reply);
    } else {
        on_reply(slot, message.slice->length, message.slice->last, message.reply);
    }
    state_.run(slot);
}

}  // namespace vrdma
