// What happens to a frame that arrives: RoCEv2 is parsed and checked in full and goes to the device
// if a vNIC of this network has its destination address; ARP, neighbour discovery and echo are
// answered here, because the port has no kernel behind it that would. All else is counted and
// dropped. Only one of a port's workers answers, but all of them learn: they get copies of what
// everybody has to know (port/packet_steering.h).
//
// What the link itself sends (answers, solicitations) is dropped when the device has no room: the
// other side asks again. What a queue pair sends waits for the neighbour at most as long as the
// neighbour table allows, and is otherwise the transport's to send again.
#include "dataplane/net/link.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/neighbour.h"
#include "dataplane/wire/network.h"
#include "dataplane/wire/parse.h"

namespace vrdma::net {
namespace {

constexpr uint32_t kEthernetBytes = 14;
constexpr uint32_t kMacBytes = 6;

bool same_prefix(const wire::Address& a, const wire::Address& b, uint32_t length) {
    constexpr uint32_t kV4Offset = 12;
    for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t bits = std::min(8U, length - std::min(length, 8 * i));
        const auto mask = static_cast<uint8_t>(0xff00U >> bits);
        if (((a.bytes[kV4Offset + i] ^ b.bytes[kV4Offset + i]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

void write_macs(const PacketBuffer& packet, const wire::Mac& to, const wire::Mac& from) {
    std::memcpy(packet.data, to.bytes.data(), kMacBytes);
    std::memcpy(packet.data + kMacBytes, from.bytes.data(), kMacBytes);
}

// Of a packet that we built.
wire::Address destination_of(const PacketBuffer& packet) {
    const std::byte* ip = packet.data + kEthernetBytes;
    return wire::load8(ip) >> 4 == 4 ? wire::load_v4(ip + 16) : wire::load_v6(ip + 24);
}

// Of the six bytes of a MAC address.
uint64_t mac_word(const void* mac) {
    const auto* at = static_cast<const std::byte*>(mac);
    return uint64_t{wire::load_raw<uint16_t>(at + 4)} << 32 | wire::load_raw<uint32_t>(at);
}

bool is_from(std::span<const std::byte> frame, uint64_t mac) {
    return frame.size() >= kEthernetBytes && mac_word(frame.data() + kMacBytes) == mac;
}

}  // namespace

Link::Link(PacketPort& port, const LinkOptions& options) : port_(&port), options_(options) {}

Link::~Link() {
    neighbours_.abandon_waiting();
    while (auto released = neighbours_.next_released()) {
        port_->release({&released->packet, 1});
    }
}

uint32_t Link::mtu() const {
    const uint32_t frame = port_->max_frame_bytes();
    return frame < kEthernetBytes ? 0 : frame - kEthernetBytes;
}

bool Link::turn(Instant now, PacketReceiver& receiver) {
    bool worked = false;
    for (uint32_t left = kFramesPerTurn; left > 0;) {
        const size_t burst = std::min<size_t>(left, kMaxBurst);
        const size_t count = port_->receive(std::span(frames_).first(burst), now);
        if (count == 0) {
            break;
        }
        worked = true;
        receive_burst(std::span(frames_).first(count), now, receiver);
        left -= static_cast<uint32_t>(count);
        if (count < burst) {
            break;
        }
    }
    if (now >= neighbours_.next_deadline()) {
        neighbours_.on_deadline(now);
        worked = true;
    }
    solicit(now);
    report(now);
    send_released(now);
    return worked;
}

Instant Link::next_deadline() const {
    return std::min(
        {neighbours_.next_deadline(), memberships_.next_deadline(), port_->next_deadline()});
}

void Link::receive_burst(std::span<PacketBuffer> frames, Instant now, PacketReceiver& receiver) {
    size_t roce = 0;
    const uint64_t own = mac_word(mac().bytes.data());
    for (PacketBuffer& buffer : frames) {
        const std::span<const std::byte> frame(buffer.data, buffer.length);
        if (is_from(frame, own)) [[unlikely]] {
            counters_.add(LinkCounter::OwnFrames);
            continue;
        }
        switch (wire::classify(frame)) {
            case wire::FrameKind::Roce:
                receive_roce(buffer, received_, roce);
                break;
            case wire::FrameKind::Arp:
                receive_arp(frame, now);
                break;
            case wire::FrameKind::Neighbour:
                receive_neighbour(frame, now);
                break;
            case wire::FrameKind::Echo:
                receive_echo(frame, now);
                break;
            case wire::FrameKind::PathMtu:
                receive_path_mtu(frame, now, receiver);
                break;
            case wire::FrameKind::Query:
                receive_query(frame, now);
                break;
            case wire::FrameKind::Other:
                counters_.add(LinkCounter::OtherFrames);
                break;
        }
    }
    if (roce != 0) {
        receiver.receive(*this, std::span(received_).first(roce), now);
    }
    // All go back but those that the receiver kept.
    size_t left = 0;
    size_t next = 0;
    for (const PacketBuffer& buffer : frames) {
        if (next < roce && received_[next].packet.ip_header.data() >= buffer.data &&
            received_[next].packet.ip_header.data() < buffer.data + buffer.length) {
            if (received_[next++].buffer.handle == nullptr) {
                continue;
            }
        }
        frames[left++] = buffer;
    }
    port_->release(frames.first(left));
}

void Link::receive_roce(const PacketBuffer& frame, std::array<ReceivedPacket, kMaxBurst>& into,
                        size_t& count) {
    ReceivedPacket& received = into[count];
    received.packet = wire::Packet{};
    const wire::Packet& packet = received.packet;
    const auto parsed = wire::parse(std::span<const std::byte>(frame.data, frame.length),
                                    wire::Verify::All, received.packet);
    if (!parsed) {
        counters_.drop(parsed.error());
        return;
    }
    received.buffer = frame;
    const wire::Address& destination = packet.network.destination;
    if (destination.multicast()) [[unlikely]] {
        if (packet.bth.dqpn != wire::kGroupQpn || packet.info().service != wire::Service::Ud) {
            counters_.add(LinkCounter::GroupMisaddressed);
        } else if (!memberships_.has(destination)) {
            counters_.add(LinkCounter::ForeignGroup);
        } else {
            counters_.add(LinkCounter::RocePackets);
            received.vnic = kGroup;
            ++count;
        }
        return;
    }
    const auto vnic = local_.find(destination);
    if (!vnic) {
        counters_.add(LinkCounter::ForeignDestination);
        return;
    }
    counters_.add(LinkCounter::RocePackets);
    received.vnic = *vnic;
    ++count;
}

tl::expected<HopId, NoRoute> Link::acquire_hop(const wire::Address& source,
                                               const wire::Address& destination) {
    if (destination.multicast() || destination.unspecified()) {
        return tl::unexpected(NoRoute::Group);
    }
    if (source.is_v4() != destination.is_v4()) {
        return tl::unexpected(NoRoute::Family);
    }
    wire::Address next = destination;
    if (destination.is_v4() && !same_prefix(source, destination, options_.prefix_length)) {
        if (!options_.gateway) {
            return tl::unexpected(NoRoute::NoGateway);
        }
        next = *options_.gateway;
    }
    const auto hop = neighbours_.acquire(next, source);
    if (!hop) {
        return tl::unexpected(NoRoute::TooManyHops);
    }
    return *hop;
}

void Link::release_hop(HopId hop) {
    neighbours_.release(hop);
}

size_t Link::send(HopId hop, std::span<PacketBuffer> packets, Instant now) {
    if (hop == kGroupHop) [[unlikely]] {
        return send_to_group(packets, now);
    }
    const size_t most = std::min(packets.size(), kMaxBurst);
    wire::Mac to;
    switch (neighbours_.use(hop, now, to)) {
        case NeighbourTable::Fate::Send: {
            const wire::Mac from = mac();
            for (size_t i = 0; i < most; ++i) {
                write_macs(packets[i], to, from);
            }
            return port_->send(packets.first(most), now);
        }
        case NeighbourTable::Fate::Wait:
            for (PacketBuffer& packet : packets.first(most)) {
                if (!neighbours_.wait(hop, packet)) {
                    port_->release({&packet, 1});
                }
            }
            return most;
        case NeighbourTable::Fate::Drop:
            port_->release(packets.first(most));
            return most;
    }
    return 0;
}

size_t Link::send_to_group(std::span<PacketBuffer> packets, Instant now) {
    const size_t most = std::min(packets.size(), kMaxBurst);
    const wire::Mac from = mac();
    for (PacketBuffer& packet : packets.first(most)) {
        write_macs(packet, wire::multicast_mac(destination_of(packet)), from);
    }
    return port_->send(packets.first(most), now);
}

void Link::send_released(Instant now) {
    while (auto released = neighbours_.next_released()) {
        PacketBuffer& packet = released->packet;
        if (!released->send) {
            port_->release({&packet, 1});
            continue;
        }
        write_macs(packet, released->mac, mac());
        if (port_->send({&packet, 1}, now) == 0) {
            counters_.add(LinkCounter::SendDropped);
            port_->release({&packet, 1});
        }
    }
}

bool Link::own_buffer(PacketBuffer& packet) {
    if (port_->allocate({&packet, 1}) == 1) {
        return true;
    }
    counters_.add(LinkCounter::NoBuffer);
    return false;
}

void Link::send_own(PacketBuffer& packet, size_t length, LinkCounter sent, Instant now) {
    packet.length = static_cast<uint32_t>(length);
    if (length <= port_->max_frame_bytes() && port_->send({&packet, 1}, now) == 1) {
        counters_.add(sent);
        return;
    }
    counters_.add(LinkCounter::SendDropped);
    port_->release({&packet, 1});
}

}  // namespace vrdma::net
