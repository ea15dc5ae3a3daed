// What a link says itself: that a vNIC's address is here (ARP and neighbour advertisements), that
// it is alive (echo), which multicast groups vNICs belong to, and the question who has a
// neighbour's address. The groups are those of this worker: every worker reports its own, and hears
// the questions.
//
// A request for one of our addresses also tells who asks; anything else only changes entries that
// exist. Probes for duplicate addresses (no sender) are answered and taught nothing.
#include <algorithm>

#include "dataplane/net/link.h"
#include "dataplane/wire/arp.h"
#include "dataplane/wire/icmp.h"
#include "dataplane/wire/neighbour.h"

namespace vrdma::net {
namespace {

std::span<std::byte> room(const PacketBuffer& packet) {
    return {packet.data, packet.capacity};
}

}  // namespace

void Link::receive_arp(std::span<const std::byte> frame, Instant now) {
    const auto arp = wire::parse_arp(frame);
    if (!arp) {
        counters_.drop(arp.error());
        return;
    }
    const bool for_us = local_.find(arp->target).has_value();
    if (!arp->sender.unspecified()) {
        neighbours_.learn(arp->sender, arp->sender_mac, for_us, now);
    }
    PacketBuffer packet;
    if (arp->operation != wire::Arp::Operation::Request || !for_us || !options_.answers ||
        !own_buffer(packet)) {
        return;
    }
    const wire::Arp answer{wire::Arp::Operation::Reply, mac(), arp->target, arp->sender_mac,
                           arp->sender};
    const size_t length = wire::build_arp(room(packet), answer, arp->sender_mac);
    send_own(packet, length, LinkCounter::ArpAnswered, now);
}

void Link::receive_neighbour(std::span<const std::byte> frame, Instant now) {
    const auto message = wire::parse_neighbour(frame);
    if (!message) {
        counters_.drop(message.error());
        return;
    }
    if (message->kind == wire::Neighbour::Kind::Advertisement) {
        // Without the option it says only that the neighbour is there (RFC 4861, 7.2.5).
        neighbours_.learn(message->target, message->link_layer.value_or(message->source_mac), false,
                          now);
        return;
    }
    const bool for_us = local_.find(message->target).has_value();
    const bool probe = message->source.unspecified();
    const wire::Mac asker = message->link_layer.value_or(message->source_mac);
    if (!probe) {
        neighbours_.learn(message->source, asker, for_us, now);
    }
    PacketBuffer packet;
    if (!for_us || !options_.answers || !own_buffer(packet)) {
        return;
    }
    const wire::Address all_nodes{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    const wire::Address to = probe ? all_nodes : message->source;
    const wire::Neighbour answer{
        .kind = wire::Neighbour::Kind::Advertisement,
        .source = message->target,
        .destination = to,
        .source_mac = mac(),
        .destination_mac = probe ? wire::multicast_mac(all_nodes) : asker,
        .target = message->target,
        .link_layer = mac(),
        .solicited = !probe,
        .override_entry = true,
    };
    const size_t length = wire::build_neighbour(room(packet), answer);
    send_own(packet, length, LinkCounter::SolicitationsAnswered, now);
}

void Link::receive_echo(std::span<const std::byte> frame, Instant now) {
    const auto echo = wire::parse_echo(frame);
    if (!echo) {
        counters_.drop(echo.error());
        return;
    }
    if (!local_.find(echo->network.destination)) {
        counters_.add(LinkCounter::ForeignDestination);
        return;
    }
    if (echo->reply || !options_.answers) {
        return;
    }
    const wire::Echo answer = echo->answer(mac());
    const size_t length = wire::echo_frame_bytes(answer);
    PacketBuffer packet;
    if (length > port_->max_frame_bytes()) {
        counters_.add(LinkCounter::EchoUnanswered);
        return;
    }
    if (own_buffer(packet)) {
        if (length > packet.capacity) {
            counters_.add(LinkCounter::EchoUnanswered);
            port_->release({&packet, 1});
            return;
        }
        send_own(packet, wire::build_echo(room(packet), answer), LinkCounter::EchoAnswered, now);
    }
}

void Link::receive_path_mtu(std::span<const std::byte> frame, Instant now,
                            PacketReceiver& receiver) {
    const auto report = wire::parse_path_mtu(frame);
    if (!report) {
        counters_.drop(report.error());
        return;
    }
    if (!local_.find(report->source)) {
        counters_.add(LinkCounter::ForeignDestination);
        return;
    }
    counters_.add(LinkCounter::PathMtuReports);
    receiver.path_mtu(*this, report->destination, report->mtu, now);
}

void Link::receive_query(std::span<const std::byte> frame, Instant now) {
    const auto query = wire::parse_membership_query(frame);
    if (!query) {
        counters_.drop(query.error());
        return;
    }
    counters_.add(LinkCounter::QueriesReceived);
    memberships_.queried(*query, now);
}

void Link::report(Instant now) {
    for (uint32_t n = 0; n < kReportsPerTurn; ++n) {
        std::optional<wire::MembershipMessage> message = memberships_.poll_transmit(now);
        PacketBuffer packet;
        if (!message || !own_buffer(packet)) {
            return;  // who did not hear asks
        }
        message->source_mac = mac();
        const size_t length = wire::build_membership(room(packet), *message);
        send_own(packet, length, LinkCounter::ReportsSent, now);
    }
}

void Link::solicit(Instant now) {
    while (const auto question = neighbours_.poll_transmit(now)) {
        PacketBuffer packet;
        if (!own_buffer(packet)) {
            continue;  // asked again at its deadline
        }
        size_t length = 0;
        if (question->target.is_v4()) {
            const wire::Arp arp{wire::Arp::Operation::Request, mac(), question->source, wire::Mac{},
                                question->target};
            length = wire::build_arp(room(packet), arp,
                                     question->known.value_or(wire::Mac::broadcast()));
        } else {
            const wire::Address group = wire::solicited_node(question->target);
            const wire::Neighbour message{
                .kind = wire::Neighbour::Kind::Solicitation,
                .source = question->source,
                .destination = question->known ? question->target : group,
                .source_mac = mac(),
                .destination_mac = question->known.value_or(wire::multicast_mac(group)),
                .target = question->target,
                .link_layer = mac(),
            };
            length = wire::build_neighbour(room(packet), message);
        }
        send_own(packet, length, LinkCounter::Solicited, now);
    }
}

}  // namespace vrdma::net
