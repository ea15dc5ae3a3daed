// Connections of a port's vNICs with other hosts: InfiniBand's communication management (IBA 12) as
// an object that is given time and randomness.
//
//     post(), receive(), on_deadline()           in, in any order
//     poll_transmit(), poll_event()              out, after each of them, until there is nothing
//
// Toward drivers it speaks the messages of driver/abi/connection.h, as one more end of the
// connections in ConnectionTable, which decides who may connect. Control thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>

#include "dataplane/app/cm_counters.h"
#include "dataplane/base/time.h"
#include "dataplane/device/mad.h"
#include "dataplane/wire/cm_message.h"
#include "driver/abi/connection.h"

namespace vrdma::app {

class RemoteConnections {
  public:
    using Random = std::function<uint64_t()>;

    struct LocalEnd {
        wire::Address address;
        uint64_t guid = 0;
    };
    // What comes of the wire, for ConnectionTable.
    struct Event {
        vrdma_cm_message message{};  // a REQUEST has no connection yet
        uint32_t vnic = 0;
        uint32_t exchange = 0;  // of a REQUEST: for taken() or refused()
    };

    explicit RemoteConnections(Random random) : random_(std::move(random)) {}

    void add_vnic(uint32_t vnic, const LocalEnd& end) { vnics_[vnic] = end; }
    // What it had ends without a word.
    void remove_vnic(uint32_t vnic);

    // What a driver says to the other end, as ConnectionTable passes it on: a REQUEST, or about a
    // connection of before.
    void post(uint32_t vnic, const vrdma_cm_message& message, Instant now);
    // From the wire, for one of the vNICs. `mtu`: the largest path MTU of the port.
    void receive(const Mad& mad, uint8_t mtu, Instant now);
    [[nodiscard]] std::optional<Mad> poll_transmit();
    [[nodiscard]] std::optional<Event> poll_event();
    [[nodiscard]] Instant next_deadline() const;
    void on_deadline(Instant now);

    // The answers to a REQUEST event.
    void taken(uint32_t exchange, uint64_t connection);
    void refused(uint32_t exchange, vrdma_cm_status why);

    [[nodiscard]] const CmCounters& counters() const { return counters_; }
    [[nodiscard]] CmCounters& counters() { return counters_; }
    [[nodiscard]] size_t exchanges() const { return exchanges_.size(); }

  private:
    // IBA 12.9.6, 12.9.7; the names of its states in parentheses.
    enum class State : uint8_t {
        Asked,          // our request is on its way (REQ sent)
        Answered,       // the reply is with our program (REP received)
        BeingAsked,     // a request is with our program (REQ received)
        Replied,        // our reply is on its way (REP sent)
        Established,    // (established)
        Disconnecting,  // our DREQ is on its way (DREQ sent)
        Ended,          // kept for what the other side repeats (time wait)
    };
    struct Exchange {
        uint32_t id = 0;         // our communication id; the request id of a SIDR that we asked
        uint32_t remote_id = 0;  // the other side's
        uint64_t transaction = 0;
        uint64_t connection = 0;  // ConnectionTable's number; 0: not yet
        uint64_t service_id = 0;
        uint32_t vnic = 0;
        uint32_t own_qpn = 0;
        uint32_t peer_qpn = 0;
        State state = State::Asked;
        bool requester = false;
        bool datagram = false;
        uint8_t response_timeout = 0;  // 4.096 us << n, of the other side
        uint8_t max_retries = 0;
        uint8_t repeats = 0;  // of `said`, so far
        uint8_t delays = 0;   // MRAs heard
        wire::Address peer;
        Instant deadline = Instant::never();
        wire::CmAttribute said_attribute = wire::CmAttribute::Req;
        std::array<std::byte, wire::kMadBytes> said{};  // our last message, to be repeated
    };
    // Who asks us: a request is known again by the vNIC, the other side's address and id.
    using Asker = std::tuple<uint32_t, wire::Address, uint32_t, bool>;
    using PeerQp = std::tuple<uint32_t, wire::Address, uint32_t>;

    // remote_connections.cpp: what our side says, timers
    [[nodiscard]] Exchange& make(uint32_t vnic, const wire::Address& peer);
    [[nodiscard]] Exchange* of_connection(uint64_t connection);
    void ask(Exchange& exchange, const vrdma_cm_message& message, Instant now);
    void reply(Exchange& exchange, const vrdma_cm_message& message, Instant now);
    void reject(Exchange& exchange, const vrdma_cm_message& message, Instant now);
    void disconnect(Exchange& exchange, Instant now);
    [[nodiscard]] wire::CmMessage about(const Exchange& exchange,
                                        wire::CmAttribute attribute) const;
    void say(Exchange& exchange, const wire::CmMessage& message);
    void say_reject(Exchange& exchange, wire::CmReason reason, Instant now);
    void send(uint32_t vnic, const wire::Address& own, const wire::Address& peer,
              const wire::CmMessage& message);
    void repeat(Exchange& exchange);
    void start_repeating(Exchange& exchange, Instant now);
    void wait_for_program(Exchange& exchange, Instant now);
    void wait_until(Exchange& exchange, Instant deadline);
    void give_up(Exchange& exchange, Instant now);
    // Its connection is over; it is kept for a while.
    void end(Exchange& exchange, Instant now);
    void forget(uint32_t id);
    // For the driver.
    void tell(const Exchange& exchange, vrdma_cm_message message);
    void tell_timeout(const Exchange& exchange);

    // remote_connections_receive.cpp: what the other side says
    void receive_request(const Mad& mad, const wire::CmMessage& message, uint8_t mtu, Instant now);
    void receive_again(Exchange& exchange, const wire::CmMessage& message);
    void receive_datagram_request(const Mad& mad, const wire::CmMessage& message, Instant now);
    // A request is with our program from now on.
    [[nodiscard]] Exchange& begin(const Mad& mad, const wire::CmMessage& message, Instant now);
    // Nothing: it has been refused.
    [[nodiscard]] std::optional<wire::CmIpHeader> check_request(const Mad& mad,
                                                                const wire::CmMessage& message);
    void refuse(const Mad& mad, const wire::CmMessage& message, wire::CmReason reason,
                CmCounter counter, uint8_t info = 0);
    void receive_reply(const Mad& mad, const wire::CmMessage& message, Instant now);
    void receive_ready(const Mad& mad, const wire::CmMessage& message);
    void receive_delay(const Mad& mad, const wire::CmMessage& message, Instant now);
    void receive_reject(const Mad& mad, const wire::CmMessage& message, Instant now);
    void receive_disconnect(const Mad& mad, const wire::CmMessage& message, Instant now);
    void receive_disconnected(const Mad& mad, const wire::CmMessage& message, Instant now);
    void receive_datagram_reply(const Mad& mad, const wire::CmMessage& message, Instant now);
    // The exchange that a message is about, if it comes from its other end; else it is counted.
    [[nodiscard]] Exchange* find(const Mad& mad, uint32_t own_id, bool datagram);
    [[nodiscard]] Exchange* find_both(const Mad& mad, const wire::CmMessage& message);

    Random random_;
    CmCounters counters_;
    std::map<uint32_t, LocalEnd> vnics_;
    std::unordered_map<uint32_t, Exchange> exchanges_;  // by our id
    std::map<Asker, uint32_t> asked_;                   // to our id
    std::map<PeerQp, uint32_t> peers_;                  // queue pairs that are connected here
    std::unordered_map<uint64_t, uint32_t> connections_;
    std::set<std::pair<Instant, uint32_t>> deadlines_;
    std::map<uint32_t, uint32_t> leaving_;  // by vNIC: connections whose end is being told
    std::deque<uint32_t> ended_;            // the oldest first
    std::deque<Mad> outgoing_;
    std::deque<Event> events_;
};

}  // namespace vrdma::app
