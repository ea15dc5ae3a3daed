// The checks of a responder, in the order of IBA 9.7.4.1.2: is there such a queue pair and is it
// connected to the sender (otherwise nothing is answered), may it do this operation (invalid
// request), is a receive entry there (receiver not ready), do key, domain, range and rights allow
// the access (remote access error); only then a byte moves. The completion is written after the
// payload.
//
// On UC nothing is answered: what cannot be delivered is dropped and counted. UD likewise.
#include "dataplane/device/responder.h"

#include <algorithm>
#include <cstring>

#include "dataplane/device/memory_windows.h"

namespace vrdma {
namespace {

Counter uc_drop_counter(vrdma_reason reason) {
    switch (static_cast<unsigned>(reason)) {
        case VRDMA_REASON_REMOTE_RECV:
        case VRDMA_REASON_REMOTE_MEMORY:
            return Counter::UcDroppedMemory;
        default:
            return Counter::UcDroppedAccess;
    }
}

constexpr size_t kLinkLocalGid = 0;

}  // namespace

// The source is the vNIC's address of the destination's kind, whatever entry of its table the
// sender named: receivers answer to it. The 40 bytes in front of a UD message over IPv4: 20 bytes
// of zeros, then the IPv4 header; over IPv6 the header itself (RoCEv2 annex A17.4.5.1; see
// docs/device.md).
Responder::Grh make_grh(const Slice& slice, const Vnic& source) {
    Responder::Grh grh{};
    const auto put = [&grh](size_t at, uint32_t value) { grh[at] = static_cast<std::byte>(value); };
    constexpr size_t kMappedPrefix = 12;
    static constexpr uint8_t kMapped[kMappedPrefix] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    constexpr uint32_t kTransportBytes = 8 + 12 + 8 + 4;  // UDP, BTH, DETH, ICRC
    const uint32_t imm_bytes = slice.opcode == VRDMA_WQE_SEND_WITH_IMM ? 4 : 0;
    const uint32_t pad = (4 - slice.total % 4) % 4;
    const uint32_t payload = slice.total + pad + kTransportBytes + imm_bytes;
    if (std::memcmp(slice.remote_gid.gid, kMapped, kMappedPrefix) == 0) {
        constexpr size_t kHeader = 20;
        const uint32_t total = payload + 20;
        put(kHeader, 0x45);
        put(kHeader + 1, slice.traffic_class);
        put(kHeader + 2, total >> 8);
        put(kHeader + 3, total & 0xff);
        put(kHeader + 6, 0x40);  // don't fragment
        put(kHeader + 8, slice.hop_limit);
        put(kHeader + 9, 17);  // UDP
        for (size_t i = 0; i < 4; ++i) {
            put(kHeader + 12 + i, source.address >> (24 - 8 * i) & 0xff);
        }
        std::memcpy(grh.data() + kHeader + 16, slice.remote_gid.gid + kMappedPrefix, 4);
        uint32_t sum = 0;
        for (size_t i = 0; i < 20; i += 2) {
            sum += std::to_integer<uint32_t>(grh[kHeader + i]) << 8 |
                   std::to_integer<uint32_t>(grh[kHeader + i + 1]);
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
        put(kHeader + 10, sum >> 8);
        put(kHeader + 11, sum & 0xff);
        return grh;
    }
    put(0, 0x60U | slice.traffic_class >> 4U);
    put(1, (slice.traffic_class & 0xfU) << 4U | (slice.flow_label >> 16 & 0xf));
    put(2, slice.flow_label >> 8 & 0xff);
    put(3, slice.flow_label & 0xff);
    put(4, payload >> 8);
    put(5, payload & 0xff);
    put(6, 17);
    put(7, slice.hop_limit);
    std::memcpy(grh.data() + 8, source.gids[kLinkLocalGid].gid, 16);
    std::memcpy(grh.data() + 24, slice.remote_gid.gid, 16);
    return grh;
}

Reply Responder::receive(uint32_t vnic, uint32_t qpn, Slice& slice) {
    if (slice.type == VRDMA_QPT_UD) {
        const std::optional<uint32_t> receiver = datagram_receiver(vnic, qpn);
        return receiver ? receive_datagram(*receiver, slice,
                                           make_grh(slice, state_.vnics[slice.source_vnic]))
                        : Reply{};
    }
    const std::optional<uint32_t> slot = state_.find_qp(qpn);
    Counters& counters = state_.counters[vnic];
    const bool usable = slot && [&] {
        Qp& qp = state_.qps[*slot];
        return qp.vnic == vnic && qp.type == slice.type && qp.state >= VRDMA_QPS_RTR &&
               qp.state != VRDMA_QPS_ERR && qp.attributes.dest_qpn == slice.source_qpn &&
               state_.peer_vnic(qp) == slice.source_vnic;
    }();
    if (!usable) {
        counters.add(is_reliable(slice.type) ? Counter::RcDroppedNotConnected
                                             : Counter::UcDroppedNoQp);
        return Reply{is_reliable(slice.type) ? Answer::Silent : Answer::Ack, 0, VRDMA_WC_SUCCESS,
                     VRDMA_REASON_PEER_SILENT};
    }
    return receive_connected(*slot, slice);
}

std::optional<uint32_t> Responder::datagram_receiver(uint32_t vnic, uint32_t qpn) {
    const std::optional<uint32_t> slot = state_.find_qp(qpn);
    if (!slot || state_.qps[*slot].vnic != vnic || state_.qps[*slot].type != VRDMA_QPT_UD ||
        state_.qps[*slot].state < VRDMA_QPS_RTR || state_.qps[*slot].state == VRDMA_QPS_ERR) {
        state_.counters[vnic].add(Counter::UdDroppedNoQp);
        return std::nullopt;
    }
    return slot;
}

void Responder::note_contact(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.state == VRDMA_QPS_RTR && !qp.established) {
        qp.established = true;
        state_.raise(qp, VRDMA_EVENT_COMM_EST);
    }
}

Reply Responder::refuse_srq(uint32_t slot) {
    state_.counters_of(state_.qps[slot]).add(Counter::XrcSrqRefused);
    return refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_XRC_SRQ, VRDMA_EVENT_QP_REQ_ERR);
}

std::optional<Reply> Responder::bind_target(uint32_t slot, uint32_t srqn, bool first) {
    Qp& qp = state_.qps[slot];
    if (!state_.bind_srq(qp, srqn, first)) {
        return refuse_srq(slot);
    }
    if (state_.cqs[qp.recv_cq].overflowed) {
        return refuse(slot, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV, VRDMA_EVENT_QP_FATAL);
    }
    return std::nullopt;
}

Reply Responder::receive_connected(uint32_t slot, Slice& slice) {
    note_contact(slot);
    if (state_.qps[slot].type == VRDMA_QPT_XRC_RECV) [[unlikely]] {
        if (const std::optional<Reply> no = bind_target(slot, slice.srqn, slice.first)) {
            return *no;
        }
    }
    switch (slice.opcode) {
        case VRDMA_WQE_SEND:
        case VRDMA_WQE_SEND_WITH_IMM:
        case VRDMA_WQE_SEND_WITH_INV:
            return send(slot, slice);
        case VRDMA_WQE_RDMA_WRITE:
        case VRDMA_WQE_RDMA_WRITE_WITH_IMM:
            return write(slot, slice);
        case VRDMA_WQE_RDMA_READ:
            return read(slot, slice);
        case VRDMA_WQE_ATOMIC_CMP_AND_SWP:
        case VRDMA_WQE_ATOMIC_FETCH_AND_ADD:
            return atomic(slot, slice);
        default:
            return refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_REMOTE_OPCODE,
                          VRDMA_EVENT_QP_REQ_ERR);
    }
}

Reply Responder::refuse(uint32_t slot, vrdma_wc_status status, vrdma_reason reason,
                        vrdma_event_type event) {
    Qp& qp = state_.qps[slot];
    if (!is_reliable(qp.type)) {
        state_.counters_of(qp).add(uc_drop_counter(reason));
        return Reply{};
    }
    queue_pairs_.enter_error(slot, reason, event);
    return Reply{Answer::Nak, 0, status, reason};
}

Reply Responder::refuse_receive(uint32_t slot, vrdma_wc_status local_status,
                                vrdma_reason local_reason, vrdma_wc_status remote_status,
                                vrdma_reason remote_reason) {
    Qp& qp = state_.qps[slot];
    const bool reliable = is_reliable(qp.type);
    if (!reliable) {
        state_.counters_of(qp).add(uc_drop_counter(remote_reason));
    }
    queue_pairs_.fail_receive(slot, local_status, local_reason);
    return reliable ? Reply{Answer::Nak, 0, remote_status, remote_reason} : Reply{};
}

Reply Responder::refuse_length(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (is_reliable(qp.type)) {
        queue_pairs_.fail_receive(slot, VRDMA_WC_LOC_LEN_ERR, VRDMA_REASON_RECV_LENGTH);
        return Reply{Answer::Nak, 0, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_REMOTE_RECV_LENGTH};
    }
    state_.counters_of(qp).add(qp.type == VRDMA_QPT_UC ? Counter::UcDroppedLength
                                                       : Counter::UdDroppedLength);
    return Reply{};
}

std::optional<Reply> Responder::need_receive(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.receiving) {
        return std::nullopt;
    }
    const std::optional<QueuePairs::NoReceive> none = queue_pairs_.take_receive(slot);
    if (!none) {
        return std::nullopt;
    }
    if (!is_reliable(qp.type)) {
        state_.counters_of(qp).add(Counter::UcDroppedNoReceive);
        return Reply{};
    }
    if (*none == QueuePairs::NoReceive::Broken) {
        return Reply{Answer::Nak, 0, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV};
    }
    state_.counters_of(qp).add(Counter::RnrSent);
    return Reply{Answer::Rnr, qp.attributes.min_rnr_timer, VRDMA_WC_SUCCESS, VRDMA_REASON_RNR};
}

uint64_t Responder::gather(const Mr& mr, uint64_t address, uint64_t length,
                           std::span<MemorySpan> spans, size_t& count) const {
    uint64_t done = 0;
    while (done < length && count < spans.size()) {
        spans[count] = state_.mrs.span(mr, address + done, length - done);
        done += spans[count].length;
        ++count;
    }
    return done;
}

Transferred Responder::place(std::span<const MemorySpan> to, const Slice& slice) {
    if (slice.inline_data != nullptr) {
        return state_.transfer.store(to, slice.inline_data, slice.length);
    }
    return state_.transfer.copy(to, {slice.spans.data(), slice.span_count}, slice.streaming);
}

std::optional<vrdma_reason> Responder::scatter(Qp& qp, Slice& slice, uint32_t offset) {
    // One SGE at a time, so that a slice may meet any number of ranges: source spans are consumed
    // in step with the destination.
    // Entries of an SRQ name memory of the SRQ's domain (IBA 10.2.9.1).
    const uint32_t pd = qp.srq == kNone ? qp.pd : state_.srqs[qp.srq].pd;
    uint32_t left = slice.length;
    uint64_t sge_start = 0;
    uint32_t source_index = 0;
    uint64_t source_at = 0;
    uint32_t done = 0;
    for (uint32_t i = 0; i < qp.receive_sge_count && left > 0; ++i) {
        const vrdma_sge& sge = qp.receive_sges[i];
        if (offset >= sge_start + sge.length) {
            sge_start += sge.length;
            continue;
        }
        uint64_t at = offset - sge_start;
        const uint64_t want = std::min<uint64_t>(sge.length - at, left);
        const auto mr = state_.mrs.check(
            Access{sge.lkey, pd, sge.address + at, want, VRDMA_ACCESS_LOCAL_WRITE}, false);
        if (!mr) {
            return mr.error();
        }
        uint64_t placed = 0;
        while (placed < want) {
            MemorySpan to = state_.mrs.span(**mr, sge.address + at + placed, want - placed);
            if (slice.inline_data != nullptr) {
                if (state_.transfer.store({&to, 1}, slice.inline_data + done, to.length) !=
                    Transferred::Done) {
                    return VRDMA_REASON_LOCAL_MEMORY;
                }
            } else {
                MemorySpan from = slice.spans[source_index];
                from.host = from.host == nullptr ? nullptr : from.host + source_at;
                from.process_address += source_at;
                from.length -= source_at;
                to.length = std::min(to.length, from.length);
                from.length = to.length;
                const Transferred result =
                    state_.transfer.copy({&to, 1}, {&from, 1}, slice.streaming);
                if (result == Transferred::SourceGone) {
                    return VRDMA_REASON_REMOTE_MEMORY;
                }
                if (result == Transferred::DestinationGone) {
                    return VRDMA_REASON_LOCAL_MEMORY;
                }
                source_at += to.length;
                if (source_at == slice.spans[source_index].length) {
                    ++source_index;
                    source_at = 0;
                }
            }
            placed += to.length;
            done += static_cast<uint32_t>(to.length);
        }
        left -= static_cast<uint32_t>(want);
        offset += static_cast<uint32_t>(want);
        sge_start += sge.length;
    }
    return std::nullopt;
}

void Responder::finish_receive(uint32_t slot, const Slice& slice, uint8_t opcode, uint32_t byte_len,
                               uint8_t flags) {
    Qp& qp = state_.qps[slot];
    const bool with_imm =
        slice.opcode == VRDMA_WQE_SEND_WITH_IMM || slice.opcode == VRDMA_WQE_RDMA_WRITE_WITH_IMM;
    ++qp.receives;
    queue_pairs_.complete_receive(
        slot, Completion{
                  .wr_id = qp.receive_wr_id,
                  .byte_len = byte_len,
                  .imm_data = (flags & VRDMA_CQE_WITH_INV) != 0 ? slice.rkey
                              : with_imm                        ? slice.imm_data
                                                                : 0,
                  .qpn = qp.qpn,
                  .src_qpn_or_index = slice.source_qpn,
                  .status = VRDMA_WC_SUCCESS,
                  .opcode = opcode,
                  .flags = static_cast<uint8_t>(flags | (with_imm ? VRDMA_CQE_WITH_IMM : 0) |
                                                (slice.solicited ? VRDMA_CQE_SOLICITED : 0)),
                  .vendor_err = 0,
                  .solicited = slice.solicited,
              });
}

Reply Responder::send(uint32_t slot, Slice& slice) {
    Qp& qp = state_.qps[slot];
    if (!slice.first && !qp.receiving) {  // the start of this message was dropped
        return refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_REMOTE_OPCODE,
                      VRDMA_EVENT_QP_REQ_ERR);
    }
    if (const std::optional<Reply> no = need_receive(slot)) {
        return *no;
    }
    if (slice.total > qp.receive_capacity) {
        return refuse_length(slot);
    }
    const bool invalidates = slice.last && slice.opcode == VRDMA_WQE_SEND_WITH_INV;
    if (invalidates) {
        if (const std::optional<vrdma_reason> bad = check_invalidation(state_, qp, slice.rkey)) {
            return refuse(slot, VRDMA_WC_REM_ACCESS_ERR, *bad, VRDMA_EVENT_QP_ACCESS_ERR);
        }
    }
    if (const std::optional<vrdma_reason> bad = scatter(qp, slice, slice.position)) {
        if (*bad == VRDMA_REASON_REMOTE_MEMORY) {  // the sender's memory: its own fault
            return Reply{Answer::Nak, 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY};
        }
        return refuse_receive(slot, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_RECV_LKEY,
                              VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_RECV);
    }
    if (slice.last) {
        Counters& counters = state_.counters_of(qp);
        counters.add(Counter::ReceiveOperations);
        counters.add(Counter::ReceiveBytes, slice.total);
        qp.bytes_received += slice.total;
        if (invalidates) {
            unbind(state_, *state_.mws.find(slice.rkey));
        }
        finish_receive(slot, slice, VRDMA_WC_RECV, slice.total,
                       invalidates ? VRDMA_CQE_WITH_INV : 0);
    }
    return Reply{};
}

Reply Responder::write(uint32_t slot, Slice& slice) {
    Qp& qp = state_.qps[slot];
    if ((qp.attributes.access & VRDMA_ACCESS_REMOTE_WRITE) == 0) {
        return refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_QP_ACCESS,
                      VRDMA_EVENT_QP_REQ_ERR);
    }
    if (slice.length >
        0) {  // a zero-length WRITE touches no memory: key and address are not looked at
        // The whole message is checked with every slice: rights may be withdrawn meanwhile.
        const auto target = state_.check_remote(qp, Access{slice.rkey, qp.pd, slice.remote_address,
                                                           slice.total, VRDMA_ACCESS_REMOTE_WRITE});
        if (!target) {
            return refuse(slot, VRDMA_WC_REM_ACCESS_ERR, target.error(), VRDMA_EVENT_QP_ACCESS_ERR);
        }
        std::array<MemorySpan, kMaxSpansPerSlice> spans;
        size_t count = 0;
        const uint64_t done =
            gather(*target->mr, target->address + slice.position, slice.length, spans, count);
        if (done < slice.length) [[unlikely]] {
            return refuse(slot, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_MEMORY,
                          VRDMA_EVENT_QP_ACCESS_ERR);
        }
        const Transferred result = place({spans.data(), count}, slice);
        if (result == Transferred::SourceGone) {
            return Reply{Answer::Nak, 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY};
        }
        if (result == Transferred::DestinationGone) {
            return refuse(slot, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_MEMORY,
                          VRDMA_EVENT_QP_ACCESS_ERR);
        }
        qp.bytes_received += slice.length;
    }
    if (slice.last && slice.opcode == VRDMA_WQE_RDMA_WRITE_WITH_IMM) {
        if (const std::optional<Reply> no = need_receive(slot)) {
            return *no;
        }
        state_.counters_of(qp).add(Counter::ReceiveOperations);
        finish_receive(slot, slice, VRDMA_WC_RECV_RDMA_WITH_IMM, slice.total, 0);
    }
    return Reply{};
}

tl::expected<RemoteTarget, Reply> Responder::check_read(uint32_t slot, const ReadAccess& access) {
    Qp& qp = state_.qps[slot];
    if (!is_reliable(qp.type) || (qp.attributes.access & VRDMA_ACCESS_REMOTE_READ) == 0 ||
        qp.attributes.max_dest_rd_atomic == 0) {
        return tl::unexpected(
            refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_QP_ACCESS, VRDMA_EVENT_QP_REQ_ERR));
    }
    // A target may be bound to another SRQ by now: it answers later requests meanwhile.
    const std::optional<uint32_t> pd = state_.domain_of(qp, access.srqn);
    if (!pd) {
        return tl::unexpected(refuse_srq(slot));
    }
    if (access.length == 0) {
        return RemoteTarget{nullptr, access.address};
    }
    const auto target = state_.check_remote(
        qp, Access{access.rkey, *pd, access.address, access.length, VRDMA_ACCESS_REMOTE_READ});
    if (!target) {
        return tl::unexpected(
            refuse(slot, VRDMA_WC_REM_ACCESS_ERR, target.error(), VRDMA_EVENT_QP_ACCESS_ERR));
    }
    return *target;
}

Reply Responder::refuse_read(uint32_t slot) {
    return refuse(slot, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_MEMORY, VRDMA_EVENT_QP_ACCESS_ERR);
}

Reply Responder::read(uint32_t slot, Slice& slice) {
    const auto target = check_read(slot, {.rkey = slice.rkey,
                                          .srqn = slice.srqn,
                                          .address = slice.remote_address,
                                          .length = slice.total});
    if (!target) {
        return target.error();
    }
    if (slice.length == 0) {
        return Reply{};
    }
    std::array<MemorySpan, kMaxSpansPerSlice> spans;
    size_t count = 0;
    const uint64_t done =
        gather(*target->mr, target->address + slice.position, slice.length, spans, count);
    const Transferred result = done < slice.length
                                   ? Transferred::SourceGone
                                   : state_.transfer.copy({slice.spans.data(), slice.span_count},
                                                          {spans.data(), count}, slice.streaming);
    if (result == Transferred::SourceGone) {
        return refuse_read(slot);
    }
    if (result == Transferred::DestinationGone) {
        return Reply{Answer::Nak, 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY};
    }
    return Reply{};
}

Reply Responder::atomic(uint32_t slot, Slice& slice) {
    Qp& qp = state_.qps[slot];
    if (!is_reliable(qp.type) || (qp.attributes.access & VRDMA_ACCESS_REMOTE_ATOMIC) == 0 ||
        qp.attributes.max_dest_rd_atomic == 0) {
        return refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_QP_ACCESS,
                      VRDMA_EVENT_QP_REQ_ERR);
    }
    if (slice.remote_address % 8 != 0) {
        return refuse(slot, VRDMA_WC_REM_INV_REQ_ERR, VRDMA_REASON_ATOMIC_ALIGNMENT,
                      VRDMA_EVENT_QP_REQ_ERR);
    }
    const auto target = state_.check_remote(
        qp, Access{slice.rkey, qp.pd, slice.remote_address, 8, VRDMA_ACCESS_REMOTE_ATOMIC});
    if (!target) {
        return refuse(slot, VRDMA_WC_REM_ACCESS_ERR, target.error(), VRDMA_EVENT_QP_ACCESS_ERR);
    }
    const MemorySpan word = state_.mrs.span(*target->mr, target->address, 8);
    // Ranges may place a word across two pieces or at an odd place of the file; a locked access
    // there would stall every core.
    const bool aligned = word.length == 8 && (reinterpret_cast<uintptr_t>(word.host) % 8) == 0;
    uint64_t original = 0;
    Transferred result = Transferred::DestinationGone;
    if (aligned) {
        result =
            slice.opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP
                ? state_.transfer.compare_and_swap(word, slice.compare_add, slice.swap, original)
                : state_.transfer.fetch_and_add(word, slice.compare_add, original);
    }
    if (result != Transferred::Done) {
        return refuse(slot, VRDMA_WC_REM_OP_ERR, VRDMA_REASON_REMOTE_MEMORY,
                      VRDMA_EVENT_QP_ACCESS_ERR);
    }
    if (state_.transfer.store({slice.spans.data(), slice.span_count},
                              reinterpret_cast<const std::byte*>(&original),
                              8) != Transferred::Done) {
        return Reply{Answer::Nak, 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY};
    }
    return Reply{};
}

Reply Responder::receive_datagram(uint32_t slot, Slice& slice, const Grh& grh) {
    Qp& qp = state_.qps[slot];
    Counters& counters = state_.counters_of(qp);
    if (slice.qkey != qp.attributes.qkey) {
        counters.add(Counter::UdDroppedQkey);
        return Reply{};
    }
    if (!qp.receiving && queue_pairs_.take_receive(slot).has_value()) {
        counters.add(Counter::UdDroppedNoReceive);
        return Reply{};
    }
    if (slice.total + kGrhBytes > qp.receive_capacity) {
        return refuse_length(slot);
    }
    Slice header;
    header.inline_data = grh.data();
    header.length = kGrhBytes;
    std::optional<vrdma_reason> bad = scatter(qp, header, 0);
    bad = bad ? bad : scatter(qp, slice, kGrhBytes);
    if (bad == VRDMA_REASON_REMOTE_MEMORY) {  // the sender's memory: its own fault
        return Reply{Answer::Nak, 0, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LOCAL_MEMORY};
    }
    if (bad) {
        counters.add(Counter::UdDroppedMemory);
        queue_pairs_.fail_receive(slot, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_RECV_LKEY);
        return Reply{};
    }
    counters.add(Counter::ReceiveOperations);
    counters.add(Counter::ReceiveBytes, slice.total);
    qp.bytes_received += slice.total;
    const bool ipv6 = (grh[0] & std::byte{0xf0}) == std::byte{0x60};
    finish_receive(slot, slice, VRDMA_WC_RECV, slice.total + kGrhBytes,
                   ipv6 ? VRDMA_CQE_GRH : VRDMA_CQE_GRH | VRDMA_CQE_IPV4);
    return Reply{};
}

}  // namespace vrdma
