// Queue pairs whose peer is on another host: send entries become RoCEv2 packets, packets become
// work for the responder.
//
// A connected queue pair is put on this path when it reaches RTR and nobody on this host has the
// destination address while its network has a port; it stays there until it is reset. The protocol
// is in dataplane/transport; here memory, queues and completions meet it.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "dataplane/device/mad.h"
#include "dataplane/device/multicast.h"
#include "dataplane/device/queue_pairs.h"
#include "dataplane/device/remote.h"
#include "dataplane/device/remote_hosts.h"
#include "dataplane/device/responder.h"
#include "dataplane/device/send_entry.h"
#include "dataplane/net/link.h"
#include "dataplane/transport/peer.h"
#include "dataplane/wire/build.h"

namespace vrdma {

// What a vNIC says of itself (enum ibv_mtu) when the longest IP packet of its network's port has so
// many bytes: programs take their path MTU from it. 0, no port or one whose device has not been
// seen: the largest there is.
[[nodiscard]] constexpr uint8_t active_mtu(uint32_t port_mtu) {
    constexpr uint8_t kSmallest = 1;
    return port_mtu == 0 ? kLargestMtu
                         : std::max(wire::largest_path_mtu(port_mtu, true, true), kSmallest);
}

class WirePath final : public net::PacketReceiver {
  public:
    WirePath(DeviceState& state, QueuePairs& queue_pairs, Responder& responder,
             Multicast& multicast);

    // Before the first turn: the port of a network, what its hosts speak, and whether a queue
    // pair's packets to vRDMA hosts may take several paths (transport::Flowlets).
    void add_link(net::Link& link, transport::PeerPolicy peers, bool spray = false);
    // After the last turn: the ports get their buffers back.
    void close();

    // RTR: decides how the destination is reached. Text of a refusal (static) when the port cannot
    // reach it or a table is full; nothing has changed then.
    [[nodiscard]] const char* connect(uint32_t slot);
    // RTS: the send queue works from now on.
    void start(uint32_t slot);
    // It is reset or destroyed.
    void disconnect(uint32_t slot);

    // Its share of a turn: takes entries, sends, completes.
    void visit(uint32_t slot);
    void on_deadline(uint32_t slot);
    // Nothing of its send queue is under way.
    [[nodiscard]] bool drained(const Qp& qp) const;

    // Its network has one.
    [[nodiscard]] bool has_port(const Qp& qp) const;
    // Of the vNICs of a network.
    [[nodiscard]] uint8_t active_mtu(uint32_t network) const;
    // A datagram to an address that nobody on this host has, or to a group. False: no port leads
    // there.
    [[nodiscard]] bool send_datagram(const Qp& qp, const Slice& slice);

    // The vNIC of a queue pair belongs to a multicast group, or no longer. False: the port has no
    // room for one more.
    [[nodiscard]] bool join(uint32_t slot, const vrdma_gid_entry& group);
    void leave(uint32_t slot, const vrdma_gid_entry& group);
    // What the port says of it to others; None without a port.
    [[nodiscard]] net::MembershipState membership(uint32_t slot,
                                                  const vrdma_gid_entry& group) const;
    // Before the first turn: who gets what comes for queue pair 1. Nobody: it is dropped.
    void set_mad_receiver(MadReceiver& receiver) { mads_ = &receiver; }
    // Sends it from a vNIC's queue pair 1 to the peer's. Lost when no port leads there or there is
    // no room, as anywhere on the way.
    void send_mad(const Mad& mad);
    // Can the peer be reached from the vNIC's address? Asks its neighbour when nobody has. With an
    // `mtu` of the port, unless there is no way.
    [[nodiscard]] Reach reach(uint32_t vnic, const wire::Address& own, const wire::Address& peer,
                              uint32_t& mtu);

    // When the next turn is needed for what belongs to no queue pair.
    [[nodiscard]] Instant next_deadline() const;
    // Once a turn, after the queue pairs: sends what was built.
    void flush();

    // What the host of a queue pair's peer is taken for, and why; for tools.
    [[nodiscard]] transport::PeerKind peer_kind(const Remote& remote) const;
    [[nodiscard]] std::string_view peer_reason(const Remote& remote) const;

    void receive(net::Link& link, std::span<net::ReceivedPacket> packets, Instant now) override;
    void path_mtu(net::Link& link, const wire::Address& destination, uint32_t mtu,
                  Instant now) override;

  private:
    // Built in this turn, or left over by the port. The buffers lie side by side, as the port takes
    // them.
    class Outgoing {
      public:
        explicit Outgoing(size_t room) {
            packets_.reserve(room);
            hops_.reserve(room);
        }
        [[nodiscard]] size_t size() const { return packets_.size(); }
        [[nodiscard]] bool empty() const { return packets_.empty(); }
        // `buffer` with a frame of `length` bytes in it.
        void push(net::HopId hop, const PacketBuffer& buffer, size_t length) {
            packets_.push_back(
                {buffer.data, static_cast<uint32_t>(length), buffer.capacity, buffer.handle});
            hops_.push_back(hop);
        }
        // A burst that begins at `at` and goes to one hop.
        [[nodiscard]] std::span<PacketBuffer> burst(size_t at, net::HopId& hop);
        void erase(size_t count);
        [[nodiscard]] std::span<PacketBuffer> packets() { return packets_; }

      private:
        std::vector<PacketBuffer> packets_;
        std::vector<net::HopId> hops_;
    };
    struct Attached {
        net::Link* link;
        transport::PeerPolicy peers;
        bool spray;
        Outgoing queue;
        // Ready for the next packets: the first `spare` of them are empty buffers.
        std::array<PacketBuffer, 8> spares{};
        size_t spare = 0;
    };
    struct Held {
        PacketBuffer packet;
        uint32_t link;
    };
    // The next hops of datagrams, by destination.
    struct KnownHop {
        bool present = false;
        uint32_t link = 0;
        wire::Address own;
        wire::Address destination;
        net::HopId hop = 0;
    };

    void send_probe(const ProbeToSend& probe);
    void receive_probe(const net::Link& link, uint32_t vnic, const wire::Packet& packet);
    void peer_changed(uint32_t host);
    [[nodiscard]] std::optional<uint32_t> link_of(uint32_t network) const;
    [[nodiscard]] wire::Address own_address(const Qp& qp, const wire::Address& peer) const;
    [[nodiscard]] std::optional<net::HopId> datagram_hop(uint32_t link, const wire::Address& own,
                                                         const wire::Address& destination);

    void take_entries(uint32_t slot, Remote& remote);
    void post(const Qp& qp, Remote& remote, std::optional<EntryFault> fault);
    // The entry was taken and cannot be sent; it completes in its turn.
    static void fail_message(const Qp& qp, Remote& remote, uint32_t id, const EntryFault& fault);
    [[nodiscard]] uint32_t packets_per_visit(const Qp& qp, Remote& remote) const;
    void transmit(uint32_t slot, Remote& remote);
    [[nodiscard]] bool next_plan(const Qp& qp, Remote& remote, transport::PacketPlan& plan);
    void choose_path(const Qp& qp, Remote& remote) const;
    // Bytes of the frame; 0: the payload cannot be had, and the transport has been told.
    [[nodiscard]] size_t build(uint32_t slot, Remote& remote, transport::PacketPlan& plan,
                               const PacketBuffer& packet);
    [[nodiscard]] bool read_entry(const Qp& qp, Remote& remote, const transport::PacketPlan& plan,
                                  std::byte* to, uint32_t& crc);
    [[nodiscard]] bool read_memory(uint32_t slot, const transport::PacketPlan& plan, std::byte* to,
                                   uint32_t& crc);
    // True when an entry was completed, so that the transport may have room for another.
    bool complete(uint32_t slot, Remote& remote);
    void abandon(Remote& remote);
    void set_deadline(uint32_t slot, const Remote& remote);

    void receive_one(net::Link& link, net::ReceivedPacket& received);
    void receive_datagram(uint32_t vnic, const wire::Packet& packet);
    void receive_from_group(uint32_t network, const wire::Packet& packet);
    void receive_mad(uint32_t vnic, const wire::Packet& packet);
    // A packet of its peer. True: the buffer is kept.
    [[nodiscard]] bool dispatch(uint32_t slot, Remote& remote, const wire::Packet& packet,
                                const PacketBuffer& buffer);
    [[nodiscard]] bool dispatch_request(uint32_t slot, Remote& remote, const wire::Packet& packet,
                                        const PacketBuffer& buffer);
    [[nodiscard]] bool dispatch_answer(uint32_t slot, Remote& remote, const wire::Packet& packet,
                                       const PacketBuffer& buffer);
    void replay_held(uint32_t slot, Remote& remote);
    [[nodiscard]] transport::ExecuteResult execute(uint32_t slot, const transport::Inbound& work,
                                                   std::span<const std::byte> payload);
    void place(const Qp& qp, Remote& remote, const transport::Answer& answer,
               std::span<const std::byte> payload);
    [[nodiscard]] std::optional<uint32_t> keep(uint32_t link, const PacketBuffer& packet);
    void release_held(uint32_t handle);
    void drop(uint32_t vnic, transport::DropReason reason);

    DeviceState& state_;
    QueuePairs& queue_pairs_;
    Responder& responder_;
    Multicast& multicast_;
    std::vector<Attached> links_;
    RemoteHosts hosts_;
    std::vector<Held> held_;
    std::vector<uint32_t> free_held_;
    std::array<KnownHop, 64> known_hops_{};
    uint32_t datagram_psn_ = 0;
    MadReceiver* mads_ = nullptr;
};

}  // namespace vrdma
