// The far ends of connections: what drivers say to other hosts goes out as management datagrams,
// and what comes in is said to them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "dataplane/app/connection.h"
#include "dataplane/app/connection_table.h"
#include "dataplane/app/mad_mailbox.h"
#include "dataplane/app/ports.h"
#include "dataplane/app/remote_connections.h"
#include "dataplane/platform/worker.h"

namespace vrdma::app {

class WireConnections {
  public:
    // Takes what the table says, and tells it to the drivers.
    using Send = std::function<void(const ConnectionTable::Out&)>;

    // `workers`: the first of them receives and sends management datagrams.
    WireConnections(boost::asio::io_context& io, const std::vector<platform::Worker*>& workers,
                    MadMailbox& mailbox, Ports& ports, ConnectionTable& table, Send send);

    void add_vnic(const AttachedVnic& vnic, const wire::Address& address);
    void remove_vnic(uint32_t vnic);
    // From the table, for the other side.
    void post(const ConnectionTable::Outgoing& said);

  private:
    struct Vnic {
        uint32_t network = 0;
        wire::Address address;
    };
    // A driver's RESOLVE, whose answer is not known yet.
    struct Question {
        uint32_t asker = 0;
        uint32_t vnic = 0;
        vrdma_cm_message message{};
        wire::Address own;
        wire::Address peer;
        Instant until;
        Duration pause;
    };

    void wait_for_mads();
    void take_mads();
    // Everything that the networks' objects have to say.
    void deliver();
    void deliver(uint32_t network, RemoteConnections& connections);
    void set_timer();
    void resolve(const ConnectionTable::Outgoing& said);
    void ask(const std::shared_ptr<Question>& question);
    void answer(const Question& question, vrdma_cm_status status, uint8_t mtu);
    [[nodiscard]] uint8_t mtu(uint32_t network) const;
    void take_mtu(uint32_t network);

    boost::asio::io_context& io_;
    const std::vector<platform::Worker*> worker_;  // one
    MadMailbox& mailbox_;
    Ports& ports_;
    ConnectionTable& table_;
    Send send_;
    boost::asio::posix::stream_descriptor arrivals_;
    boost::asio::steady_timer timer_;
    std::map<uint32_t, Vnic> vnics_;
    std::map<uint32_t, RemoteConnections> networks_;  // those with a port
    std::map<uint32_t, uint32_t> questions_;          // not yet answered, by asker
};

}  // namespace vrdma::app
