// One worker's end of a network's port: from frames to RoCEv2 packets for the vNICs of the network,
// and back to the right neighbour.
//
// The worker's loop:
//
//     link.turn(now, device)                    receives; device.receive() gets RoCEv2 packets
//     ... the device's own turn: link.allocate(), wire::build_*(), link.send(hop, ...)
//     link.next_deadline()                      before sleeping
//
// A queue pair that reaches RTR calls acquire_hop(its GID, the peer's GID) once, keeps the HopId
// and gives it back with release_hop() when it leaves. Frames it builds need no MAC addresses:
// send() writes both.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/net/group_memberships.h"
#include "dataplane/net/link_counters.h"
#include "dataplane/net/local_addresses.h"
#include "dataplane/net/neighbour_table.h"
#include "dataplane/port/packet_port.h"
#include "dataplane/wire/packet.h"

namespace vrdma::net {

class Link;

// The hop of packets to a multicast group: their MAC address follows from the group's.
inline constexpr HopId kGroupHop = UINT32_MAX;
// ReceivedPacket::vnic of a datagram to a multicast group.
inline constexpr uint32_t kGroup = UINT32_MAX;

// A packet that passed every check that needs no queue pair: lengths, checksums, ICRC, opcode, and
// its destination address is a vNIC's, or that of a group that one belongs to.
struct ReceivedPacket {
    wire::Packet packet;  // points into buffer
    PacketBuffer buffer;  // set handle to null to keep it; then it has to be released later
    uint32_t vnic = 0;    // who has the destination address; kGroup: it is a group's
};

class PacketReceiver {
  public:
    virtual ~PacketReceiver() = default;
    virtual void receive(Link& link, std::span<ReceivedPacket> packets, Instant now) = 0;
    // A router says that packets to `destination` may have at most `mtu` bytes (RFC 1191, 8201);
    // anybody can say that.
    virtual void path_mtu(Link& link, const wire::Address& destination, uint32_t mtu,
                          Instant now) = 0;
};

struct LinkOptions {
    uint32_t network = 0;         // id; all vNICs behind this link belong to it
    uint32_t prefix_length = 24;  // of IPv4
    std::optional<wire::Address> gateway;
    // One of the workers of a port answers for all: ARP, solicitations, echo.
    bool answers = true;
};

// Why there is no way to an address.
enum class NoRoute : uint8_t {
    Group,        // a group address, or none
    Family,       // IPv4 from IPv6, or the other way
    NoGateway,    // outside the prefix, and the port has no gateway
    TooManyHops,  // every entry of the neighbour table is in use
};

class Link {
  public:
    Link(PacketPort& port, const LinkOptions& options);
    // Nobody holds a buffer of it.
    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    // True when something was done.
    bool turn(Instant now, PacketReceiver& receiver);
    // When turn() is needed even if nothing arrives.
    [[nodiscard]] Instant next_deadline() const;

    [[nodiscard]] tl::expected<HopId, NoRoute> acquire_hop(const wire::Address& source,
                                                           const wire::Address& destination);
    void release_hop(HopId hop);
    // Its address is not known yet: what is sent waits, but not much of it can. Asks, if nobody
    // has.
    [[nodiscard]] bool resolving(HopId hop, Instant now) { return neighbours_.resolving(hop, now); }
    [[nodiscard]] NeighbourState hop_state(HopId hop) const { return neighbours_.state(hop); }
    // The transport saw an acknowledgement from there: spares a solicitation now and then.
    void confirm_hop(HopId hop, Instant now) { neighbours_.confirm(hop, now); }

    [[nodiscard]] size_t allocate(std::span<PacketBuffer> into) { return port_->allocate(into); }
    // A vNIC with the address `source` belongs to a multicast group: it gets the group's packets,
    // and routers and switches are told. False: there is no room.
    [[nodiscard]] bool join(const wire::Address& group, const wire::Address& source, Instant now) {
        return memberships_.join(group, source, now);
    }
    void leave(const wire::Address& group, const wire::Address& source) {
        memberships_.leave(group, source);
    }

    // Writes the MAC addresses and sends. Takes the first N and returns N; the rest stay the
    // caller's, for a later turn. Packets for a neighbour that is being looked for are kept for it;
    // for one that does not answer they are dropped and counted.
    [[nodiscard]] size_t send(HopId hop, std::span<PacketBuffer> packets, Instant now);
    void release(std::span<PacketBuffer> packets) { port_->release(packets); }

    // The longest IP packet.
    [[nodiscard]] uint32_t mtu() const;
    [[nodiscard]] uint32_t network() const { return options_.network; }
    [[nodiscard]] PacketPort& port() { return *port_; }
    [[nodiscard]] const PacketPort& port() const { return *port_; }
    // Puts a layer between link and device, or takes it away. Between two turns.
    void set_port(PacketPort& port) { port_ = &port; }
    void set_local_addresses(std::span<const LocalAddress> addresses) { local_.set(addresses); }

    [[nodiscard]] const NeighbourTable& neighbours() const { return neighbours_; }
    [[nodiscard]] const GroupMemberships& memberships() const { return memberships_; }
    [[nodiscard]] const LinkCounters& counters() const { return counters_; }

  private:
    void receive_burst(std::span<PacketBuffer> frames, Instant now, PacketReceiver& receiver);
    void receive_roce(const PacketBuffer& frame, std::array<ReceivedPacket, kMaxBurst>& into,
                      size_t& count);
    void receive_arp(std::span<const std::byte> frame, Instant now);
    void receive_neighbour(std::span<const std::byte> frame, Instant now);
    void receive_echo(std::span<const std::byte> frame, Instant now);
    void receive_path_mtu(std::span<const std::byte> frame, Instant now, PacketReceiver& receiver);
    void receive_query(std::span<const std::byte> frame, Instant now);
    [[nodiscard]] size_t send_to_group(std::span<PacketBuffer> packets, Instant now);
    void solicit(Instant now);
    void report(Instant now);
    void send_released(Instant now);
    void send_own(PacketBuffer& packet, size_t length, LinkCounter sent, Instant now);
    [[nodiscard]] bool own_buffer(PacketBuffer& packet);
    [[nodiscard]] wire::Mac mac() const { return {port_->mac()}; }

    PacketPort* port_;
    const LinkOptions options_;
    LocalAddresses local_;
    NeighbourTable neighbours_;
    GroupMemberships memberships_;
    LinkCounters counters_;
    std::array<PacketBuffer, kMaxBurst> frames_;
    std::array<ReceivedPacket, kMaxBurst> received_;
};

}  // namespace vrdma::net
