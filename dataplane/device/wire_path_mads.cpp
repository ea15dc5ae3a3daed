// Queue pair 1: the one that every vNIC has without making it (IBA 3.9.5.1), and that only
// management datagrams from another queue pair 1 reach. They are handed over as they are, into a
// queue with an end: whoever sends more than connection management can read loses the rest, and
// asks again.
#include <algorithm>

#include "dataplane/device/wire_path.h"
#include "dataplane/wire/build.h"

namespace vrdma {
namespace {

constexpr size_t kWaitingMads = 128;  // built for one link in a turn

}  // namespace

void WirePath::receive_mad(uint32_t vnic, const wire::Packet& packet) {
    Counters& counters = state_.counters[vnic];
    if (packet.bth.opcode != wire::Opcode::UdSendOnly) {
        counters.add(Counter::MadDroppedOpcode);
        return;
    }
    if (packet.deth.qkey != wire::kGsiQkey) {
        counters.add(Counter::MadDroppedQkey);
        return;
    }
    if (packet.deth.source_qpn != wire::kGsiQpn) {
        counters.add(Counter::MadDroppedSource);
        return;
    }
    Mad mad{.vnic = vnic,
            .own = packet.network.destination,
            .peer = packet.network.source,
            .bytes = {}};
    if (packet.payload.size() != mad.bytes.size()) {
        counters.add(Counter::MadDroppedLength);
        return;
    }
    std::copy(packet.payload.begin(), packet.payload.end(), mad.bytes.begin());
    if (mads_ == nullptr || !mads_->receive(mad)) {
        counters.add(Counter::MadDroppedFull);
        return;
    }
    counters.add(Counter::MadsReceived);
}

void WirePath::send_mad(const Mad& mad) {
    const std::optional<uint32_t> index = link_of(state_.vnics[mad.vnic].network);
    Counters& counters = state_.counters[mad.vnic];
    std::optional<net::HopId> hop;
    PacketBuffer packet;
    if (index && links_[*index].queue.size() < kWaitingMads) {
        hop = datagram_hop(*index, mad.own, mad.peer);
    }
    if (!hop || links_[*index].link->allocate({&packet, 1}) == 0) {
        counters.add(Counter::MadsUnsent);
        return;
    }
    const wire::FlowTemplate flow(wire::Flow{
        .source_mac = {}, .destination_mac = {}, .source = mad.own, .destination = mad.peer});
    wire::HeaderFields fields;
    fields.opcode = wire::Opcode::UdSendOnly;
    fields.dqpn = wire::kGsiQpn;
    fields.psn = datagram_psn_++ & 0xffffff;
    fields.deth = {wire::kGsiQkey, wire::kGsiQpn};
    links_[*index].queue.push(
        *hop, packet, wire::build_frame({packet.data, packet.capacity}, flow, fields, mad.bytes));
    counters.add(Counter::MadsSent);
}

Reach WirePath::reach(uint32_t vnic, const wire::Address& own, const wire::Address& peer,
                      uint32_t& mtu) {
    const std::optional<uint32_t> index = link_of(state_.vnics[vnic].network);
    if (!index) {
        return Reach::NoPort;
    }
    net::Link& link = *links_[*index].link;
    const auto hop = link.acquire_hop(own, peer);
    if (!hop) {
        return hop.error() == net::NoRoute::TooManyHops ? Reach::Full : Reach::NoRoute;
    }
    mtu = link.mtu();
    Reach found = Reach::Asking;
    if (!link.resolving(*hop, state_.now)) {
        found = link.hop_state(*hop) == net::NeighbourState::Unreachable ? Reach::Unreachable
                                                                         : Reach::Reachable;
    }
    link.release_hop(*hop);
    return found;
}

}  // namespace vrdma
