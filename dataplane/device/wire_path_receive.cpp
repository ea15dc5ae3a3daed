// Receiving. A packet counts only if it comes from the peer of the queue pair it names: the
// destination address is that of the queue pair's vNIC (so its network is right), the source
// address is the one the queue pair is connected to, the service fits. Anything else changes a
// counter and nothing more.
//
// XRC is the protocol of RC with an SRQ's number in each request: its opcodes become those of RC
// here, and the number goes with the packet to the responder.
//
// What the transport wants executed becomes a slice whose payload is the packet's, so key, range,
// rights and receive entries are checked by the same code as on the same-host path. Packets that
// arrive out of order stay in the port's buffer until their turn.
#include "dataplane/device/wire_path.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/parse.h"

namespace vrdma {
namespace {

uint8_t wqe_opcode(transport::Operation operation) {
    switch (operation) {
        case transport::Operation::Send:
            return VRDMA_WQE_SEND;
        case transport::Operation::SendImm:
            return VRDMA_WQE_SEND_WITH_IMM;
        case transport::Operation::SendInvalidate:
            return VRDMA_WQE_SEND_WITH_INV;
        case transport::Operation::Write:
            return VRDMA_WQE_RDMA_WRITE;
        case transport::Operation::WriteImm:
            return VRDMA_WQE_RDMA_WRITE_WITH_IMM;
        case transport::Operation::Read:
            return VRDMA_WQE_RDMA_READ;
        case transport::Operation::CompareSwap:
            return VRDMA_WQE_ATOMIC_CMP_AND_SWP;
        case transport::Operation::FetchAdd:
            return VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
    }
    return 0;
}

transport::ExecuteResult result_of(const Reply& reply) {
    switch (reply.answer) {
        case Answer::Ack:
            return {};
        case Answer::Rnr:
            return {transport::ExecuteStatus::ReceiverNotReady, reply.rnr_timer};
        case Answer::Nak:
        case Answer::Silent:
            break;
    }
    switch (static_cast<unsigned>(reply.status())) {
        case VRDMA_WC_REM_INV_REQ_ERR:
            return {transport::ExecuteStatus::NakInvalidRequest};
        case VRDMA_WC_REM_ACCESS_ERR:
            return {transport::ExecuteStatus::NakRemoteAccess};
        default:
            return {transport::ExecuteStatus::NakRemoteOperational};
    }
}

wire::Service service_of(const Qp& qp) {
    if (qp.type == VRDMA_QPT_UC) {
        return wire::Service::Uc;
    }
    return is_xrc(qp) ? wire::Service::Xrc : wire::Service::Rc;
}

// IPv4: 20 bytes of zeros, then the header; IPv6: the header (RoCEv2 annex A17.4.5.1).
Responder::Grh header_of(const wire::Packet& packet) {
    Responder::Grh grh{};
    const size_t bytes = std::min(packet.ip_header.size(), grh.size());
    std::copy_n(packet.ip_header.begin(), bytes, grh.end() - static_cast<ptrdiff_t>(bytes));
    return grh;
}

Slice datagram_of(const wire::Packet& packet) {
    Slice slice;
    slice.opcode =
        packet.bth.opcode == wire::Opcode::UdSendOnlyImm ? VRDMA_WQE_SEND_WITH_IMM : VRDMA_WQE_SEND;
    slice.first = true;
    slice.last = true;
    slice.solicited = packet.bth.solicited;
    slice.streaming = false;
    slice.type = VRDMA_QPT_UD;
    slice.span_count = 0;
    slice.imm_data = packet.imm;
    slice.source_qpn = packet.deth.source_qpn;
    slice.source_vnic = kNone;
    slice.qkey = packet.deth.qkey;
    slice.position = 0;
    slice.length = static_cast<uint32_t>(packet.payload.size());
    slice.total = slice.length;
    slice.inline_data = packet.payload.data();
    return slice;
}

// Where an atomic's old value goes before it is sent.
const RegionMapping kPrivateMemory{};

}  // namespace

void WirePath::receive(net::Link& link, std::span<net::ReceivedPacket> packets, Instant now) {
    state_.now = now;
    for (net::ReceivedPacket& received : packets) {
        receive_one(link, received);
    }
}

void WirePath::path_mtu(net::Link&, const wire::Address&, uint32_t, Instant) {
    // Path MTUs are fixed by the programs of both ends; the link has counted it.
}

void WirePath::receive_one(net::Link& link, net::ReceivedPacket& received) {
    const wire::Packet& packet = received.packet;
    if (received.vnic == net::kGroup) {
        receive_from_group(link.network(), packet);
        return;
    }
    if (packet.info().service == wire::Service::Ud) {
        if (packet.bth.dqpn == wire::kGsiQpn) [[unlikely]] {
            receive_mad(received.vnic, packet);
            return;
        }
        receive_datagram(received.vnic, packet);
        return;
    }
    Counters& counters = state_.counters[received.vnic];
    if (packet.info().kind == wire::Kind::Probe) {
        receive_probe(link, received.vnic, packet);
        return;
    }
    const std::optional<uint32_t> slot = state_.find_qp(packet.bth.dqpn);
    if (!slot || state_.qps[*slot].vnic != received.vnic || state_.qps[*slot].remote == kNone) {
        counters.add(Counter::WireDroppedNoQp);
        return;
    }
    Qp& qp = state_.qps[*slot];
    Remote& remote = state_.remotes[qp.remote];
    if (links_[remote.link].link != &link || packet.network.source != remote.peer ||
        packet.network.destination != remote.own) {
        counters.add(Counter::WireDroppedNotPeer);
        return;
    }
    const wire::Service service = packet.info().service;
    if (service != wire::Service::Other && service != service_of(qp)) {
        counters.add(Counter::WireDroppedService);
        return;
    }
    if (service == wire::Service::Xrc) {
        received.packet.bth.opcode = wire::rc_of(packet.bth.opcode);
    }
    if (qp.state == VRDMA_QPS_ERR && is_reliable(qp.type) && packet.info().request() &&
        remote.responder.failed()) {
        // The NAK that ended the connection may be lost: who asks again is told again.
        [[maybe_unused]] const transport::Inbound& again =
            remote.responder.receive(packet, state_.now);
        state_.run(*slot);
        return;
    }
    if (qp.state < VRDMA_QPS_RTR || qp.state == VRDMA_QPS_ERR) {
        counters.add(Counter::WireDroppedState);
        return;
    }
    link.confirm_hop(remote.hop, state_.now);
    if (dispatch(*slot, remote, packet, received.buffer)) {
        received.buffer.handle = nullptr;
    }
    replay_held(*slot, remote);
    state_.run(*slot);  // answers, completions, and what the window now allows
}

void WirePath::receive_probe(const net::Link& link, uint32_t vnic, const wire::Packet& packet) {
    for (uint32_t i = 0; i < links_.size(); ++i) {
        if (links_[i].link != &link) {
            continue;
        }
        const RemoteHosts::Heard heard = hosts_.receive(i, packet, state_.now);
        if (heard.ignored) {
            state_.counters[vnic].add(Counter::WireProbesIgnored);
        }
        if (heard.answer) {
            send_probe(*heard.answer);
        }
        if (heard.changed) {
            peer_changed(*heard.changed);
        }
    }
}

void WirePath::receive_datagram(uint32_t vnic, const wire::Packet& packet) {
    const std::optional<uint32_t> slot = responder_.datagram_receiver(vnic, packet.bth.dqpn);
    if (!slot) {
        return;
    }
    Slice slice = datagram_of(packet);
    [[maybe_unused]] const Reply none =
        responder_.receive_datagram(*slot, slice, header_of(packet));
}

void WirePath::receive_from_group(uint32_t network, const wire::Packet& packet) {
    Slice slice = datagram_of(packet);
    const wire::Address& group = packet.network.destination;
    std::copy(group.bytes.begin(), group.bytes.end(), std::begin(slice.remote_gid.gid));
    const Responder::Grh grh = header_of(packet);
    for (uint32_t next = 0; next != kNone;) {
        next = multicast_.deliver(network, slice, grh, next).next;
    }
}

bool WirePath::dispatch(uint32_t slot, Remote& remote, const wire::Packet& packet,
                        const PacketBuffer& buffer) {
    Qp& qp = state_.qps[slot];
    if (qp.type == VRDMA_QPT_UC) {
        if (!packet.info().request()) {
            drop(qp.vnic, transport::DropReason::WrongService);
            return false;
        }
        const transport::Inbound work = remote.receiver.receive(packet);
        if (work.action == transport::Inbound::Action::Execute) {
            remote.receiver.executed(execute(slot, work, packet.payload));
        } else if (work.action == transport::Inbound::Action::Drop) {
            drop(qp.vnic, work.reason);
        }
        return false;
    }
    if (qp.type == VRDMA_QPT_XRC_SEND && packet.info().request()) {
        drop(qp.vnic, transport::DropReason::NotForResponder);  // it answers none
        return false;
    }
    return packet.info().request() ? dispatch_request(slot, remote, packet, buffer)
                                   : dispatch_answer(slot, remote, packet, buffer);
}

bool WirePath::dispatch_request(uint32_t slot, Remote& remote, const wire::Packet& packet,
                                const PacketBuffer& buffer) {
    const transport::Inbound& work = remote.responder.receive(packet, state_.now);
    switch (work.action) {
        case transport::Inbound::Action::Nothing:
            break;
        case transport::Inbound::Action::Execute:
        case transport::Inbound::Action::Reexecute:
            remote.responder.executed(execute(slot, work, packet.payload));
            break;
        case transport::Inbound::Action::Hold:
            if (const std::optional<uint32_t> handle = keep(remote.link, buffer)) {
                remote.responder.hold(work.sequence, *handle);
                return true;
            }
            break;
        case transport::Inbound::Action::Drop:
            drop(state_.qps[slot].vnic, work.reason);
            break;
    }
    if (remote.responder.failed() && state_.qps[slot].state != VRDMA_QPS_ERR) {
        // Found by the transport: an operation out of sequence, a length that cannot be.
        queue_pairs_.enter_error(slot, VRDMA_REASON_REMOTE_OPCODE, VRDMA_EVENT_QP_REQ_ERR);
    }
    return false;
}

bool WirePath::dispatch_answer(uint32_t slot, Remote& remote, const wire::Packet& packet,
                               const PacketBuffer& buffer) {
    const Qp& qp = state_.qps[slot];
    if (packet.info().kind == wire::Kind::Cnp) {
        // Nothing in it says which of our packets met congestion: they all take one path.
        remote.responder.on_congestion(state_.now);
        if (!remote.can_send) {
            return false;
        }
    }
    if (!remote.can_send || remote.abandoned) {
        drop(qp.vnic, transport::DropReason::NotForResponder);
        return false;
    }
    const transport::Answer answer = remote.requester.receive(packet, state_.now);
    switch (answer.action) {
        case transport::Answer::Action::Nothing:
            break;
        case transport::Answer::Action::Place:
            place(qp, remote, answer, packet.payload);
            break;
        case transport::Answer::Action::Original:
            place(qp, remote, answer,
                  {reinterpret_cast<const std::byte*>(&answer.original), sizeof answer.original});
            break;
        case transport::Answer::Action::Hold:
            if (const std::optional<uint32_t> handle = keep(remote.link, buffer)) {
                remote.requester.hold(answer.sequence, *handle);
                return true;
            }
            break;
        case transport::Answer::Action::Drop:
            drop(qp.vnic, answer.reason);
            break;
    }
    return false;
}

void WirePath::replay_held(uint32_t slot, Remote& remote) {
    if (!is_reliable(state_.qps[slot].type) ||
        (!remote.responder.holds() && !remote.requester.holds())) [[likely]] {
        return;
    }
    const auto replay = [&](uint32_t handle) {
        const PacketBuffer buffer = held_[handle].packet;
        // It was checked in full when it arrived.
        auto packet = wire::parse({buffer.data, buffer.length}, wire::Verify::Nothing);
        if (packet && packet->info().service == wire::Service::Xrc) {
            packet->bth.opcode = wire::rc_of(packet->bth.opcode);
        }
        const bool kept = packet && dispatch(slot, remote, *packet, buffer);
        if (kept) {
            free_held_.push_back(handle);  // under another handle now
        } else {
            release_held(handle);
        }
    };
    while (const auto handle = remote.responder.next_held()) {
        replay(*handle);
    }
    while (remote.can_send && !remote.abandoned) {
        const auto handle = remote.requester.next_held();
        if (!handle) {
            return;
        }
        replay(*handle);
    }
}

transport::ExecuteResult WirePath::execute(uint32_t slot, const transport::Inbound& work,
                                           std::span<const std::byte> payload) {
    const Qp& qp = state_.qps[slot];
    if (qp.state == VRDMA_QPS_ERR) {
        return {transport::ExecuteStatus::NakRemoteOperational};
    }
    uint64_t original = 0;
    Slice slice;
    slice.opcode = wqe_opcode(work.operation);
    slice.first = work.first;
    slice.last = work.last;
    slice.solicited = work.solicited;
    slice.streaming = false;
    slice.type = qp.type;
    slice.span_count = 0;
    slice.imm_data = work.imm;
    slice.source_qpn = qp.attributes.dest_qpn;
    slice.source_vnic = kNone;
    slice.rkey = work.rkey;
    slice.srqn = work.srqn;
    slice.remote_address = work.remote_address;
    slice.total = work.total;
    slice.position = work.offset;
    slice.length = static_cast<uint32_t>(payload.size());
    slice.inline_data = payload.data();
    slice.compare_add =
        work.operation == transport::Operation::CompareSwap ? work.compare : work.swap_or_add;
    slice.swap = work.swap_or_add;
    if (transport::is_atomic(work.operation)) {
        slice.inline_data = nullptr;
        slice.length = sizeof original;
        slice.span_count = 1;
        slice.spans[0] = MemorySpan{reinterpret_cast<std::byte*>(&original), 0, &kPrivateMemory,
                                    sizeof original};
    }
    if (work.operation == transport::Operation::Read) {
        responder_.note_contact(slot);
        const auto target = responder_.check_read(slot, {.rkey = work.rkey,
                                                         .srqn = work.srqn,
                                                         .address = work.remote_address,
                                                         .length = work.length});
        return result_of(target ? Reply{} : target.error());
    }
    transport::ExecuteResult result = result_of(responder_.receive_connected(slot, slice));
    result.original = original;
    return result;
}

void WirePath::place(const Qp& qp, Remote& remote, const transport::Answer& answer,
                     std::span<const std::byte> payload) {
    const SentEntry& entry = remote.entries[answer.message_id];
    const auto length = static_cast<uint32_t>(payload.size());
    uint32_t done = 0;
    while (done < length) {
        Slice slice;
        std::optional<vrdma_reason> bad = gather_entry(
            state_, entry.wqe.data(), qp.pd,
            {answer.offset + done, length - done, VRDMA_ACCESS_LOCAL_WRITE, entry.data_offset},
            slice);
        if (!bad &&
            state_.transfer.store({slice.spans.data(), slice.span_count}, payload.data() + done,
                                  slice.length) != Transferred::Done) {
            bad = VRDMA_REASON_LOCAL_MEMORY;
        }
        if (bad) {
            fail_message(qp, remote, answer.message_id, {VRDMA_WC_LOC_PROT_ERR, *bad});
            return;
        }
        done += slice.length;
    }
}

std::optional<uint32_t> WirePath::keep(uint32_t link, const PacketBuffer& packet) {
    if (free_held_.empty()) {
        return std::nullopt;
    }
    const uint32_t handle = free_held_.back();
    free_held_.pop_back();
    held_[handle] = Held{packet, link};
    return handle;
}

void WirePath::release_held(uint32_t handle) {
    links_[held_[handle].link].link->release({&held_[handle].packet, 1});
    free_held_.push_back(handle);
}

void WirePath::drop(uint32_t vnic, transport::DropReason reason) {
    ++state_.counters[vnic].wire_drops[static_cast<size_t>(reason)];
}

}  // namespace vrdma
