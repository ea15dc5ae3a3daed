// Who listens where, and which connections are being made: the rules of connection management,
// without sockets. Drivers are hostile: every message is checked here.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "driver/abi/connection.h"

namespace vrdma::app {

class ConnectionTable {
  public:
    using Address = std::array<uint8_t, 16>;
    using Random = std::function<uint64_t()>;

    struct Limits {
        uint32_t reservations = 1024;  // of a vNIC
        uint32_t connections = 8192;   // of a vNIC, both ends counted
    };
    // Stands in a driver's place for whoever is on another host.
    static constexpr uint32_t kWire = 0;
    // A message for a driver or for another host.
    struct Outgoing {
        uint32_t client;
        vrdma_cm_message message;
        uint32_t vnic = 0;   // to kWire: in whose name
        uint32_t asker = 0;  // of a RESOLVE to kWire: the driver that waits for the answer
    };
    using Out = std::vector<Outgoing>;

    ConnectionTable(Random random, const Limits& limits);

    void add_vnic(uint32_t vnic, uint32_t network, const Address& address, uint8_t mtu);
    // Of every vNIC of the network.
    void set_mtu(uint32_t network, uint8_t mtu);
    // Its clients must have been removed.
    void remove_vnic(uint32_t vnic);
    // Addresses that are no vNIC's are on other hosts: what is for them goes to kWire.
    void set_wire(uint32_t network) { wires_.insert(network); }
    // A driver of the vNIC; `client` is new and not kWire.
    void add_client(uint32_t client, uint32_t vnic);
    // It went away: its listeners end, and the other ends of its connections are told.
    void remove_client(uint32_t client, Out& out);

    // False: this is no message of the contract, and the driver must be cut off.
    [[nodiscard]] bool receive(uint32_t client, const vrdma_cm_message& message, Out& out);

    // Another host asks for a listener of the vNIC: `number` is of the new connection if OK.
    [[nodiscard]] vrdma_cm_status request_from_wire(uint32_t vnic, const vrdma_cm_message& message,
                                                    uint64_t& number, Out& out);
    // About a connection, from its end on another host.
    void receive_from_wire(const vrdma_cm_message& message, Out& out) {
        notice(kWire, message, out);
    }

    [[nodiscard]] size_t connections() const { return connections_.size(); }
    [[nodiscard]] size_t reservations() const { return ports_.size(); }

  private:
    struct Vnic {
        uint32_t network = 0;
        Address address{};
        uint8_t mtu = 0;
        uint32_t reservations = 0;
        uint32_t connections = 0;
    };
    // An address, a port space and a port of one network.
    using Port = std::tuple<uint32_t, Address, uint16_t, uint16_t>;
    struct Reservation {
        uint32_t client = 0;
        uint32_t handle = 0;
        uint32_t pending = 0;  // requests that its program has not answered
        uint32_t backlog = 0;  // 0: does not listen
    };
    struct Client {
        uint32_t vnic = 0;
        bool greeted = false;
        std::map<uint32_t, Port> reservations;  // by handle
    };
    enum class Step : uint8_t { Requested, Replied, Established };
    struct Connection {
        uint32_t requester = 0;
        uint32_t listener = 0;
        uint32_t requester_vnic = 0;
        uint32_t listener_vnic = 0;
        Port port;
        uint32_t requester_handle = 0;
        uint32_t listener_handle = 0;
        Step step = Step::Requested;
        bool datagram = false;

        // Its other end is on another host; then both vNICs are the same.
        [[nodiscard]] bool remote() const { return requester == kWire || listener == kWire; }
    };

    void hello(Client& client, const vrdma_cm_message& message, vrdma_cm_message& answer);
    [[nodiscard]] vrdma_cm_status reserve(uint32_t id, Client& client,
                                          const vrdma_cm_message& message,
                                          vrdma_cm_message& answer);
    [[nodiscard]] vrdma_cm_status listen(const Client& client, const vrdma_cm_message& message);
    [[nodiscard]] vrdma_cm_status release(Client& client, const vrdma_cm_message& message);
    [[nodiscard]] vrdma_cm_status request(uint32_t id, const Client& client,
                                          const vrdma_cm_message& message, vrdma_cm_message& answer,
                                          Out& out);
    [[nodiscard]] vrdma_cm_status request_to_wire(uint32_t id, const Client& client,
                                                  const vrdma_cm_message& message,
                                                  vrdma_cm_message& answer, Out& out);
    void notice(uint32_t id, const vrdma_cm_message& message, Out& out);
    // A message for one end of it.
    [[nodiscard]] static Outgoing addressed(const Connection& connection, bool to_listener,
                                            vrdma_cm_message message);
    void leave_requested(const Connection& connection);
    void end(uint64_t connection);
    [[nodiscard]] const Vnic* find_vnic(uint32_t network, const uint8_t (&address)[16]) const;
    [[nodiscard]] uint64_t new_connection();

    Random random_;
    Limits limits_;
    std::map<uint32_t, Vnic> vnics_;
    std::unordered_map<uint32_t, Client> clients_;
    std::map<Port, Reservation> ports_;
    std::set<uint32_t> wires_;  // networks with a port
    std::unordered_map<uint64_t, Connection> connections_;
};

}  // namespace vrdma::app
