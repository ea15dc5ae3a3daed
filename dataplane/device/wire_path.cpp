// Sending, and the life of a remote queue pair. Entries are taken from the ring as long as the
// transport has room for them, and are kept in a private copy until they complete; the completion
// goes through the same code as on the same-host path, with the oldest entry as the current one.
//
// Packets are built straight into the port's buffers: the payload is copied once, and its CRC is
// computed in the same pass. What the port has no room for stays in the link's queue, and nothing
// more is built for that link before it is empty.
//
// A queue pair that fails abandons its protocol state: entries are flushed from the ring as always,
// and all that may still leave is the NAK that says why.
#include "dataplane/device/wire_path.h"

#include <algorithm>
#include <cstring>

#include "dataplane/device/memory_windows.h"
#include "dataplane/transport/source_port.h"
#include "dataplane/wire/crc32.h"

namespace vrdma {
namespace {

constexpr uint32_t kHeldPackets = 8192;  // of one shard
constexpr uint32_t kPacketsPerVisit = 32;
constexpr size_t kQueueLimit = 64;  // packets built for one link in a turn
constexpr uint8_t kHopLimit = 64;
constexpr Duration kFullPortRetry = Duration::microseconds(100);
constexpr Duration kNeighbourRetry = Duration::milliseconds(1);
static_assert(transport::kMaxRdAtomic == VRDMA_MAX_RD_ATOMIC, "checked by MODIFY_QP");
constexpr uint64_t kProbeSecret = 0x70726f6265;  // tokens are drawn from another stream than keys
constexpr uint64_t kLineRate = 12'500'000'000;   // bytes per second: where pacing would begin

transport::Operation operation_of(uint8_t opcode) {
    switch (opcode) {
        case VRDMA_WQE_SEND:
            return transport::Operation::Send;
        case VRDMA_WQE_SEND_WITH_IMM:
            return transport::Operation::SendImm;
        case VRDMA_WQE_SEND_WITH_INV:
            return transport::Operation::SendInvalidate;
        case VRDMA_WQE_RDMA_WRITE:
            return transport::Operation::Write;
        case VRDMA_WQE_RDMA_WRITE_WITH_IMM:
            return transport::Operation::WriteImm;
        case VRDMA_WQE_RDMA_READ:
            return transport::Operation::Read;
        case VRDMA_WQE_ATOMIC_CMP_AND_SWP:
            return transport::Operation::CompareSwap;
        default:
            return transport::Operation::FetchAdd;
    }
}

// What an address handle says of the way.
struct Way {
    uint32_t flow_label;  // 0: any, the same for all packets of the queue pair
    uint8_t traffic_class;
    uint8_t hop_limit;  // 0: ours
};

uint32_t label_of(const Qp& qp, uint32_t flow_label) {
    return flow_label != 0 ? flow_label : transport::flow_label(qp.qpn, qp.attributes.dest_qpn);
}

// Without MAC addresses: the link writes them.
wire::FlowTemplate flow_of(const Qp& qp, const wire::Address& own, const wire::Address& peer,
                           const Way& way) {
    const uint32_t label = label_of(qp, way.flow_label);
    return wire::FlowTemplate(wire::Flow{
        .source_mac = {},
        .destination_mac = {},
        .source = own,
        .destination = peer,
        .source_port = transport::source_port(label),
        .dscp = static_cast<uint8_t>(way.traffic_class >> 2),
        .ecn = wire::Ecn::Capable0,
        .hop_limit = way.hop_limit != 0 ? way.hop_limit : kHopLimit,
        .flow_label = label & 0xfffff,
    });
}

vrdma_reason reason_of(transport::CompletionStatus status) {
    switch (status) {
        case transport::CompletionStatus::RetryExceeded:
            return VRDMA_REASON_PEER_SILENT;
        case transport::CompletionStatus::RnrRetryExceeded:
            return VRDMA_REASON_RNR;
        case transport::CompletionStatus::RemoteAccess:
            return VRDMA_REASON_RKEY_UNKNOWN;
        case transport::CompletionStatus::RemoteInvalidRequest:
            return VRDMA_REASON_QP_ACCESS;
        case transport::CompletionStatus::RemoteOperational:
            return VRDMA_REASON_REMOTE_MEMORY;
        case transport::CompletionStatus::Flushed:
            return VRDMA_REASON_FLUSHED;
        case transport::CompletionStatus::LocalLength:
            return VRDMA_REASON_WQE_LENGTH;
        case transport::CompletionStatus::LocalQpOperation:
            return VRDMA_REASON_WQE_OPCODE;
        case transport::CompletionStatus::LocalProtection:
            return VRDMA_REASON_LOCAL_MEMORY;
        case transport::CompletionStatus::Success:
            return VRDMA_REASON_NONE;
    }
    return VRDMA_REASON_NONE;
}

}  // namespace

WirePath::WirePath(DeviceState& state, QueuePairs& queue_pairs, Responder& responder,
                   Multicast& multicast)
    : state_(state),
      queue_pairs_(queue_pairs),
      responder_(responder),
      multicast_(multicast),
      hosts_(state.config.mr_key ^ kProbeSecret) {}

std::span<PacketBuffer> WirePath::Outgoing::burst(size_t at, net::HopId& hop) {
    hop = hops_[at];
    size_t end = at + 1;
    while (end < hops_.size() && end - at < kMaxBurst && hops_[end] == hop) {
        ++end;
    }
    return std::span(packets_).subspan(at, end - at);
}

void WirePath::Outgoing::erase(size_t count) {
    packets_.erase(packets_.begin(), packets_.begin() + static_cast<ptrdiff_t>(count));
    hops_.erase(hops_.begin(), hops_.begin() + static_cast<ptrdiff_t>(count));
}

void WirePath::add_link(net::Link& link, transport::PeerPolicy peers, bool spray) {
    links_.push_back(Attached{&link, peers, spray, Outgoing(2 * kQueueLimit)});
    if (held_.empty()) {
        held_.resize(kHeldPackets);
        for (uint32_t i = 0; i < kHeldPackets; ++i) {
            free_held_.push_back(i);
        }
    }
}

void WirePath::close() {
    for (uint32_t slot = 0; slot < state_.qps.fresh(); ++slot) {
        if (state_.qps[slot].qpn != 0) {
            disconnect(slot);
        }
    }
    for (Attached& attached : links_) {
        attached.link->release(attached.queue.packets());
        attached.queue.erase(attached.queue.size());
        attached.link->release(std::span(attached.spares).first(attached.spare));
        attached.spare = 0;
    }
}

transport::PeerKind WirePath::peer_kind(const Remote& remote) const {
    return remote.host == kNone ? transport::PeerKind::Standard : hosts_[remote.host].peer.kind();
}

std::string_view WirePath::peer_reason(const Remote& remote) const {
    switch (links_[remote.link].peers) {
        case transport::PeerPolicy::Vrdma:
            return "the port's configuration says so";
        case transport::PeerPolicy::Standard:
            return "the port's configuration says so";
        case transport::PeerPolicy::Auto:
            break;
    }
    if (remote.host == kNone) {
        return "too many hosts to ask each what it speaks";
    }
    const transport::Peer& peer = hosts_[remote.host].peer;
    if (peer.kind() == transport::PeerKind::Vrdma) {
        return "the host answered our probe";
    }
    return peer.settled() ? "the host did not answer our probes" : "the host is being asked";
}

void WirePath::peer_changed(uint32_t host) {
    const transport::PeerKind kind = hosts_[host].peer.kind();
    for (uint32_t i = 0; i < state_.remotes.fresh(); ++i) {
        Remote& remote = state_.remotes[i];
        const Qp& qp = state_.qps[remote.qp];
        if (qp.qpn == 0 || qp.remote != i || remote.host != host || !is_reliable(qp.type)) {
            continue;
        }
        remote.responder.set_peer(kind);
        if (remote.can_send && !remote.abandoned) {
            remote.requester.set_peer(kind, state_.now);
        }
        state_.run(remote.qp);
    }
}

void WirePath::send_probe(const ProbeToSend& probe) {
    const RemoteHost& host = hosts_[probe.host];
    Attached& attached = links_[host.link];
    PacketBuffer packet;
    if (attached.queue.size() >= 2 * kQueueLimit || attached.link->allocate({&packet, 1}) == 0) {
        return;  // it is repeated
    }
    const wire::FlowTemplate flow(wire::Flow{.source_mac = {},
                                             .destination_mac = {},
                                             .source = host.own,
                                             .destination = host.address,
                                             .hop_limit = kHopLimit});
    wire::HeaderFields fields;
    fields.opcode = wire::Opcode::Probe;
    fields.dqpn = probe.dqpn;
    fields.probe = probe.probe;
    attached.queue.push(host.hop, packet,
                        wire::build_frame({packet.data, packet.capacity}, flow, fields, {}));
}

std::optional<uint32_t> WirePath::link_of(uint32_t network) const {
    for (uint32_t i = 0; i < links_.size(); ++i) {
        if (links_[i].link->network() == network) {
            return i;
        }
    }
    return std::nullopt;
}

// The vNIC's address of the same family as the peer's: what receivers compare with theirs.
wire::Address WirePath::own_address(const Qp& qp, const wire::Address& peer) const {
    const Vnic& vnic = state_.vnics[qp.vnic];
    for (const vrdma_gid_entry& gid : vnic.gids) {
        const wire::Address address = wire::Address::from_gid(gid.gid);
        if (!address.unspecified() && address.is_v4() == peer.is_v4()) {
            return address;
        }
    }
    return {};
}

const char* WirePath::connect(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    disconnect(slot);
    const Vnic& vnic = state_.vnics[qp.vnic];
    vrdma_gid_entry gid;
    std::memcpy(gid.gid, qp.attributes.address.gid, sizeof gid.gid);
    const std::optional<uint32_t> index = link_of(vnic.network);
    if (!index || qp.type == VRDMA_QPT_UD || state_.find_vnic(vnic.network, gid) != kNone) {
        return nullptr;  // on this host, or nowhere
    }
    net::Link& link = *links_[*index].link;
    const wire::Address peer = wire::Address::from_gid(gid.gid);
    const wire::Address own = own_address(qp, peer);
    const uint32_t mtu = wire::path_mtu_bytes(qp.attributes.path_mtu);
    if (wire::longest_packet(mtu, !peer.is_v4(), is_xrc(qp)) > link.mtu()) {
        return "the path MTU and its headers are longer than the port's MTU";
    }
    const auto hop = link.acquire_hop(own, peer);
    if (!hop) {
        switch (hop.error()) {
            case net::NoRoute::Group:
                return "the destination GID is a group address or empty";
            case net::NoRoute::Family:
                return "the vNIC has no address of the destination's family";
            case net::NoRoute::NoGateway:
                return "the destination is outside the port's prefix and the port has no gateway";
            case net::NoRoute::TooManyHops:
                return "the port knows too many neighbours";
        }
    }
    const std::optional<uint32_t> entry = state_.remotes.allocate();
    if (!entry) {
        link.release_hop(*hop);
        return "no more queue pairs toward other hosts";
    }
    qp.remote = *entry;
    Remote& remote = state_.remotes[*entry];
    remote.qp = slot;
    remote.link = *index;
    remote.hop = *hop;
    (void)link.resolving(*hop, state_.now);  // asks: the answer is there before the first send
    remote.taken = qp.sq_consumer;
    remote.can_send = false;
    remote.knocked = false;
    remote.abandoned = false;
    remote.own = own;
    remote.peer = peer;
    const std::optional<uint32_t> host = hosts_.acquire({.link = *index,
                                                         .policy = links_[*index].peers,
                                                         .hop = *hop,
                                                         .local_qpn = qp.qpn,
                                                         .remote_qpn = qp.attributes.dest_qpn,
                                                         .own = own,
                                                         .address = peer},
                                                        state_.now);
    remote.host = host.value_or(kNone);
    const transport::PeerKind kind = peer_kind(remote);
    const vrdma_address& way = qp.attributes.address;
    remote.flow = flow_of(qp, own, peer, {way.flow_label, way.traffic_class, way.hop_limit});
    remote.flowlets = transport::Flowlets(label_of(qp, way.flow_label));
    remote.requester = transport::RcRequester{};
    remote.responder = transport::RcResponder{};
    if (qp.type == VRDMA_QPT_UC) {
        remote.receiver.reset({transport::Psn{qp.attributes.rq_psn}, mtu});
        return nullptr;
    }
    remote.responder.reset({.peer = kind,
                            .destination_qpn = qp.attributes.dest_qpn,
                            .initial_psn = transport::Psn{qp.attributes.rq_psn},
                            .path_mtu = mtu,
                            .max_dest_rd_atomic = qp.attributes.max_dest_rd_atomic,
                            .line_rate = kLineRate});
    return nullptr;
}

void WirePath::start(uint32_t slot) {
    const Qp& qp = state_.qps[slot];
    if (qp.remote == kNone) {
        return;
    }
    Remote& remote = state_.remotes[qp.remote];
    if (remote.can_send) {
        return;  // from SQD or SQE
    }
    remote.can_send = true;
    const uint32_t mtu = wire::path_mtu_bytes(qp.attributes.path_mtu);
    const transport::Psn psn{qp.attributes.sq_psn};
    if (qp.type == VRDMA_QPT_UC) {
        remote.sender.reset({qp.attributes.dest_qpn, psn, mtu});
        return;
    }
    remote.requester.reset({.peer = peer_kind(remote),
                            .destination_qpn = qp.attributes.dest_qpn,
                            .initial_psn = psn,
                            .path_mtu = mtu,
                            .timeout = qp.attributes.timeout,
                            .retry_count = qp.attributes.retry_count,
                            .rnr_retry = qp.attributes.rnr_retry,
                            .max_rd_atomic = qp.attributes.max_rd_atomic,
                            .line_rate = kLineRate},
                           state_.now);
}

void WirePath::disconnect(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    if (qp.remote == kNone) {
        return;
    }
    Remote& remote = state_.remotes[qp.remote];
    abandon(remote);
    if (remote.host != kNone) {
        hosts_.release(remote.host);
    }
    links_[remote.link].link->release_hop(remote.hop);
    state_.remotes.release(qp.remote);
    qp.remote = kNone;
}

void WirePath::abandon(Remote& remote) {
    const Qp& qp = state_.qps[remote.qp];
    if (remote.abandoned || qp.type == VRDMA_QPT_UC) {
        return;
    }
    remote.abandoned = true;
    if (remote.can_send) {
        remote.requester.fail();
        while (remote.requester.poll_completion()) {
            // Its entry is flushed from the ring.
        }
        while (const auto handle = remote.requester.discard_held()) {
            release_held(*handle);
        }
    }
    if (!remote.responder.failed()) {
        remote.responder.fail();
    }
    while (const auto handle = remote.responder.discard_held()) {
        release_held(*handle);
    }
}

bool WirePath::drained(const Qp& qp) const {
    const Remote& remote = state_.remotes[qp.remote];
    return !remote.can_send || remote.abandoned || remote.taken == qp.sq_consumer;
}

void WirePath::visit(uint32_t slot) {
    Qp& qp = state_.qps[slot];
    Remote& remote = state_.remotes[qp.remote];
    if (qp.state == VRDMA_QPS_ERR) {
        abandon(remote);
        queue_pairs_.flush(slot);
        transmit(slot, remote);
        return;
    }
    if (qp.state == VRDMA_QPS_SQE) {
        queue_pairs_.flush(slot);
        return;
    }
    if (remote.can_send) {
        take_entries(slot, remote);
    }
    transmit(slot, remote);
    if (complete(slot, remote)) {
        state_.run(slot);  // entries that had to wait for room
    }
    if (qp.state == VRDMA_QPS_ERR) {
        abandon(remote);
        state_.run(slot);  // a NAK may be waiting
        return;
    }
    qp.phase = drained(qp) ? SendPhase::Idle : SendPhase::Moving;
    if (qp.state == VRDMA_QPS_SQD && qp.drained_notify && drained(qp)) {
        qp.drained_notify = false;
        state_.raise(qp, VRDMA_EVENT_SQ_DRAINED);
    }
    set_deadline(slot, remote);
}

void WirePath::on_deadline(uint32_t slot) {
    const Qp& qp = state_.qps[slot];
    Remote& remote = state_.remotes[qp.remote];
    if (remote.can_send && !remote.abandoned && is_reliable(qp.type) &&
        state_.now >= remote.requester.next_deadline()) {
        remote.requester.on_deadline(state_.now);
    }
    if (qp.type == VRDMA_QPT_RC) {
        remote.responder.on_deadline(state_.now);
    }
    state_.run(slot);
}

void WirePath::set_deadline(uint32_t slot, const Remote& remote) {
    Instant deadline = Instant::never();
    if (is_reliable(state_.qps[slot].type)) {
        deadline = remote.responder.next_deadline();
        if (remote.can_send) {
            deadline = std::min(deadline, remote.requester.next_deadline());
        }
    }
    if (remote.can_send && links_[remote.link].link->resolving(remote.hop, state_.now))
        [[unlikely]] {
        deadline = std::min(deadline, state_.now + kNeighbourRetry);
    }
    if (deadline == Instant::never()) {
        state_.deadlines.clear(slot);
    } else {
        state_.deadlines.set(slot, deadline);
    }
}

void WirePath::take_entries(uint32_t slot, Remote& remote) {
    Qp& qp = state_.qps[slot];
    if (static_cast<int32_t>(remote.taken - qp.sq_consumer) < 0) {
        remote.taken = qp.sq_consumer;  // flushed meanwhile
    }
    const bool reliable = is_reliable(qp.type);
    for (uint32_t n = 0; n < kEntriesPerVisit && qp.state == VRDMA_QPS_RTS; ++n) {
        if (!(reliable ? remote.requester.can_post() : remote.sender.can_post())) {
            return;
        }
        const QpRuntime& runtime = state_.qp_runtime[slot];
        const uint32_t producer =
            std::atomic_ref(runtime.header->sq_producer).load(std::memory_order_acquire);
        if (producer - qp.sq_consumer > qp.sq_entries) [[unlikely]] {
            queue_pairs_.enter_error(slot, VRDMA_REASON_SQ_INDEX, VRDMA_EVENT_QP_FATAL);
            return;
        }
        if (producer == remote.taken) {
            return;
        }
        load_entry(qp, runtime, remote.taken);
        qp.length = 0;
        const std::optional<EntryFault> fault = check_entry(state_, qp, qp.length);
        if (!fault && is_local(qp.entry().opcode)) [[unlikely]] {
            // In its turn: when everything before it has completed, and before anything behind it.
            if (remote.taken != qp.sq_consumer) {
                return;
            }
            queue_pairs_.finish_local(slot, execute_local(state_, qp));
        } else {
            post(qp, remote, fault);
        }
        ++remote.taken;
    }
    if (qp.state == VRDMA_QPS_RTS) {
        state_.run(slot);
    }
}

void WirePath::post(const Qp& qp, Remote& remote, std::optional<EntryFault> fault) {
    const uint32_t id = remote.taken & (transport::kWindowMessages - 1);
    SentEntry& entry = remote.entries[id];
    entry.wqe = qp.wqe;
    entry.length = qp.length;
    entry.data_offset = static_cast<uint32_t>(data_offset(qp, qp.entry().opcode));
    entry.reason = VRDMA_REASON_NONE;
    const vrdma_send_wqe& wqe = qp.entry();
    transport::Message message;
    message.id = id;
    if (!fault) {
        message.operation = operation_of(wqe.opcode);
        message.solicited = (wqe.flags & VRDMA_WQE_SOLICITED) != 0;
        message.fence = (wqe.flags & VRDMA_WQE_FENCE) != 0;
        message.length = qp.length;
        message.remote_address = wqe.remote_address;
        message.rkey = wqe.rkey;
        message.imm = wqe.imm_data;
        if (is_atomic(wqe.opcode)) {
            const bool swap = wqe.opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP;
            message.compare = swap ? wqe.atomic.compare_add : 0;
            message.swap_or_add = swap ? wqe.atomic.swap : wqe.atomic.compare_add;
        }
    }
    if (is_reliable(qp.type)) {
        remote.requester.post(message);
    } else {
        remote.sender.post(message);
    }
    if (fault) {
        fail_message(qp, remote, id, *fault);
    }
}

void WirePath::fail_message(const Qp& qp, Remote& remote, uint32_t id, const EntryFault& fault) {
    remote.entries[id].reason = static_cast<uint8_t>(fault.reason);
    const auto status = static_cast<transport::CompletionStatus>(fault.status);
    if (is_reliable(qp.type)) {
        remote.requester.fail_message(id, status);
    } else {
        remote.sender.fail_message(id, status);
    }
}

bool WirePath::next_plan(const Qp& qp, Remote& remote, transport::PacketPlan& plan) {
    if (qp.type == VRDMA_QPT_UC) {
        return remote.can_send && remote.sender.poll_transmit(plan);
    }
    return remote.responder.poll_transmit(state_.now, plan) ||
           (remote.can_send && !remote.abandoned &&
            remote.requester.poll_transmit(state_.now, plan));
}

// Few packets can wait for a neighbour's answer. RC sends one, for its timers; UC, which nobody
// would ask for what was lost, none.
uint32_t WirePath::packets_per_visit(const Qp& qp, Remote& remote) const {
    if (!links_[remote.link].link->resolving(remote.hop, state_.now)) [[likely]] {
        remote.knocked = false;
        return kPacketsPerVisit;
    }
    if (qp.type == VRDMA_QPT_UC || (remote.knocked && !remote.abandoned)) {
        return 0;
    }
    return 1;
}

void WirePath::transmit(uint32_t slot, Remote& remote) {
    const Qp& qp = state_.qps[slot];
    Attached& attached = links_[remote.link];
    const uint32_t most = packets_per_visit(qp, remote);
    if (most == 0) {
        return;  // set_deadline() comes back
    }
    for (uint32_t n = 0; n < most; ++n) {
        if (attached.queue.size() >= kQueueLimit) {
            flush();
        }
        if (attached.queue.size() >= kQueueLimit) {
            break;
        }
        if (attached.spare == 0) {
            attached.spare = attached.link->allocate(attached.spares);
            if (attached.spare == 0) {
                break;
            }
        }
        transport::PacketPlan plan;
        if (!next_plan(qp, remote, plan)) {
            if (qp.type == VRDMA_QPT_UC) {
                complete(slot, remote);  // one message at a time
                if (remote.can_send && qp.state == VRDMA_QPS_RTS) {
                    const uint32_t before = remote.taken;
                    take_entries(slot, remote);
                    if (remote.taken != before) {
                        continue;
                    }
                }
            }
            return;
        }
        choose_path(qp, remote);
        const PacketBuffer& packet = attached.spares[attached.spare - 1];
        if (const size_t length = build(slot, remote, plan, packet); length != 0) {
            attached.queue.push(remote.hop, packet, length);
            --attached.spare;
            remote.knocked = remote.knocked || most == 1;
        }
    }
    state_.run(slot);
}

// UC does not put packets in order, and a standard peer takes disorder for loss.
void WirePath::choose_path(const Qp& qp, Remote& remote) const {
    if (!links_[remote.link].spray || !is_reliable(qp.type) ||
        peer_kind(remote) != transport::PeerKind::Vrdma) [[likely]] {
        return;
    }
    if (const auto port = remote.flowlets.on_sent(state_.now)) {
        remote.flow.set_source_port(*port);
    }
}

size_t WirePath::build(uint32_t slot, Remote& remote, transport::PacketPlan& plan,
                       const PacketBuffer& packet) {
    wire::HeaderFields& fields = plan.fields;
    if (is_xrc(state_.qps[slot]) && wire::opcode_info(fields.opcode).service == wire::Service::Rc) {
        fields.opcode = wire::xrc_of(fields.opcode);
        if (wire::opcode_info(fields.opcode).request()) {
            fields.srqn = remote.entries[plan.message_id].entry().xrc.remote_srqn;
        }
    }
    const auto [bytes, state] =
        wire::build_headers({packet.data, packet.capacity}, remote.flow, fields, plan.length);
    uint32_t crc = state;
    std::byte* payload = packet.data + bytes;
    switch (plan.source) {
        case transport::PayloadSource::None:
            break;
        case transport::PayloadSource::Message:
            if (!read_entry(state_.qps[slot], remote, plan, payload, crc)) {
                return 0;
            }
            break;
        case transport::PayloadSource::Memory:
            if (!read_memory(slot, plan, payload, crc)) {
                remote.responder.response_failed(transport::ExecuteStatus::NakRemoteAccess);
                return 0;
            }
            break;
    }
    const size_t tail = wire::finish({payload + plan.length, packet.capacity - bytes - plan.length},
                                     plan.length, crc);
    return bytes + plan.length + tail;
}

bool WirePath::read_entry(const Qp& qp, Remote& remote, const transport::PacketPlan& plan,
                          std::byte* to, uint32_t& crc) {
    const SentEntry& entry = remote.entries[plan.message_id];
    const auto& wqe = *reinterpret_cast<const vrdma_send_wqe*>(entry.wqe.data());
    if ((wqe.flags & VRDMA_WQE_INLINE) != 0) {
        crc = wire::crc32_copy(crc, to, entry.wqe.data() + entry.data_offset + plan.offset,
                               plan.length);
        return true;
    }
    uint32_t done = 0;
    while (done < plan.length) {
        Slice slice;
        std::optional<vrdma_reason> bad =
            gather_entry(state_, entry.wqe.data(), qp.pd,
                         {plan.offset + done, plan.length - done, 0, entry.data_offset}, slice);
        if (!bad && state_.transfer.load_crc(to + done, {slice.spans.data(), slice.span_count},
                                             crc) != Transferred::Done) {
            bad = VRDMA_REASON_LOCAL_MEMORY;
        }
        if (bad) {
            fail_message(qp, remote, plan.message_id, {VRDMA_WC_LOC_PROT_ERR, *bad});
            return false;
        }
        done += slice.length;
    }
    return true;
}

// A READ response. The right is asked for with every packet: it may be withdrawn meanwhile.
bool WirePath::read_memory(uint32_t slot, const transport::PacketPlan& plan, std::byte* to,
                           uint32_t& crc) {
    const auto target = responder_.check_read(slot, {.rkey = plan.rkey,
                                                     .srqn = plan.request_srqn,
                                                     .address = plan.request_address,
                                                     .length = plan.request_length});
    if (!target) {
        return false;
    }
    const uint64_t address = target->address + (plan.address - plan.request_address);
    uint32_t done = 0;
    while (done < plan.length) {
        const MemorySpan span = state_.mrs.span(*target->mr, address + done, plan.length - done);
        if (state_.transfer.load_crc(to + done, {&span, 1}, crc) != Transferred::Done) {
            [[maybe_unused]] const Reply refused = responder_.refuse_read(slot);
            return false;
        }
        done += static_cast<uint32_t>(span.length);
    }
    return true;
}

bool WirePath::complete(uint32_t slot, Remote& remote) {
    Qp& qp = state_.qps[slot];
    bool any = false;
    while (remote.can_send && !remote.abandoned && qp.state != VRDMA_QPS_ERR) {
        const std::optional<transport::Completion> done = is_reliable(qp.type)
                                                              ? remote.requester.poll_completion()
                                                              : remote.sender.poll_completion();
        if (!done) {
            return any;
        }
        any = true;
        const SentEntry& entry = remote.entries[done->id];
        qp.wqe = entry.wqe;
        qp.length = entry.length;
        if (done->status == transport::CompletionStatus::Success) {
            account_send(state_, qp);
            queue_pairs_.complete_send(slot, VRDMA_WC_SUCCESS, VRDMA_REASON_NONE);
            continue;
        }
        const auto reason = entry.reason != VRDMA_REASON_NONE
                                ? static_cast<vrdma_reason>(entry.reason)
                                : reason_of(done->status);
        queue_pairs_.fail_send(slot, static_cast<vrdma_wc_status>(done->status), reason);
        return any;
    }
    return any;
}

std::optional<net::HopId> WirePath::datagram_hop(uint32_t link, const wire::Address& own,
                                                 const wire::Address& destination) {
    const size_t hash = destination.bytes[15] ^ destination.bytes[14] * 31U ^ own.bytes[15] * 7U;
    KnownHop& known = known_hops_[hash % known_hops_.size()];
    if (known.present && known.link == link && known.own == own &&
        known.destination == destination) {
        return known.hop;
    }
    const auto hop = links_[link].link->acquire_hop(own, destination);
    if (!hop) {
        return std::nullopt;
    }
    if (known.present) {
        links_[known.link].link->release_hop(known.hop);
    }
    known = KnownHop{true, link, own, destination, *hop};
    return *hop;
}

bool WirePath::has_port(const Qp& qp) const {
    return link_of(state_.vnics[qp.vnic].network).has_value();
}

uint8_t WirePath::active_mtu(uint32_t network) const {
    const std::optional<uint32_t> index = link_of(network);
    return vrdma::active_mtu(index ? links_[*index].link->mtu() : 0);
}

bool WirePath::send_datagram(const Qp& qp, const Slice& slice) {
    const std::optional<uint32_t> index = link_of(state_.vnics[qp.vnic].network);
    if (!index) {
        return false;
    }
    if (slice.destination_qpn == wire::kGsiQpn) [[unlikely]] {
        state_.counters[qp.vnic].add(Counter::MadDroppedTenant);
        return true;  // management is the service's alone; who sends datagrams is not told
    }
    Attached& attached = links_[*index];
    const wire::Address destination = wire::Address::from_gid(slice.remote_gid.gid);
    const wire::Address own = own_address(qp, destination);
    const bool group = slice.destination_qpn == VRDMA_MCAST_QPN && is_group(slice.remote_gid);
    const std::optional<net::HopId> hop =
        group ? net::kGroupHop : datagram_hop(*index, own, destination);
    PacketBuffer packet;
    const bool fits = slice.length + wire::kMaxOverheadV6 <= attached.link->mtu();
    if (!hop || !fits || attached.queue.size() >= 2 * kQueueLimit ||
        attached.link->allocate({&packet, 1}) == 0) {
        return false;
    }
    const wire::FlowTemplate flow =
        flow_of(qp, own, destination, {slice.flow_label, slice.traffic_class, slice.hop_limit});
    wire::HeaderFields fields;
    fields.opcode = slice.opcode == VRDMA_WQE_SEND_WITH_IMM ? wire::Opcode::UdSendOnlyImm
                                                            : wire::Opcode::UdSendOnly;
    fields.solicited = slice.solicited;
    fields.dqpn = slice.destination_qpn;
    fields.psn = datagram_psn_++ & 0xffffff;
    fields.imm = slice.imm_data;
    fields.deth = {slice.qkey, qp.qpn};
    auto [bytes, crc] =
        wire::build_headers({packet.data, packet.capacity}, flow, fields, slice.length);
    std::byte* payload = packet.data + bytes;
    if (slice.inline_data != nullptr) {
        crc = wire::crc32_copy(crc, payload, slice.inline_data, slice.length);
    } else if (state_.transfer.load_crc(payload, {slice.spans.data(), slice.span_count}, crc) !=
               Transferred::Done) {
        attached.link->release({&packet, 1});
        return false;
    }
    const size_t tail = wire::finish(
        {payload + slice.length, packet.capacity - bytes - slice.length}, slice.length, crc);
    attached.queue.push(*hop, packet, bytes + slice.length + tail);
    return true;
}

bool WirePath::join(uint32_t slot, const vrdma_gid_entry& group) {
    const Qp& qp = state_.qps[slot];
    const std::optional<uint32_t> index = link_of(state_.vnics[qp.vnic].network);
    const wire::Address address = wire::Address::from_gid(group.gid);
    return !index ||
           links_[*index].link->join(address, own_address(qp, address), state_.clock.now());
}

void WirePath::leave(uint32_t slot, const vrdma_gid_entry& group) {
    const Qp& qp = state_.qps[slot];
    if (const std::optional<uint32_t> index = link_of(state_.vnics[qp.vnic].network)) {
        const wire::Address address = wire::Address::from_gid(group.gid);
        links_[*index].link->leave(address, own_address(qp, address));
    }
}

net::MembershipState WirePath::membership(uint32_t slot, const vrdma_gid_entry& group) const {
    const Qp& qp = state_.qps[slot];
    const std::optional<uint32_t> index = link_of(state_.vnics[qp.vnic].network);
    if (!index) {
        return net::MembershipState::None;
    }
    const wire::Address address = wire::Address::from_gid(group.gid);
    return links_[*index].link->memberships().state(address, own_address(qp, address));
}

Instant WirePath::next_deadline() const {
    const bool backlog = std::any_of(links_.begin(), links_.end(),
                                     [](const Attached& a) { return !a.queue.empty(); });
    return backlog ? state_.now + kFullPortRetry : hosts_.next_deadline();
}

void WirePath::flush() {
    while (const std::optional<ProbeToSend> probe = hosts_.poll_transmit(state_.now)) {
        send_probe(*probe);
    }
    for (Attached& attached : links_) {
        size_t sent = 0;
        while (sent < attached.queue.size()) {
            net::HopId hop = 0;
            const std::span<PacketBuffer> burst = attached.queue.burst(sent, hop);
            const size_t taken = attached.link->send(hop, burst, state_.now);
            sent += taken;
            if (taken < burst.size()) {
                break;
            }
        }
        attached.queue.erase(sent);
    }
}

}  // namespace vrdma
