// The sockets of connection management: one for every vNIC, and its drivers' conversations.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <tl/expected.hpp>

#include "dataplane/app/connection.h"
#include "dataplane/app/connection_table.h"
#include "dataplane/app/wire_connections.h"
#include "dataplane/control/configuration.h"
#include "dataplane/control/socket_claim.h"

namespace vrdma::app {

class ConnectionManager {
  public:
    explicit ConnectionManager(boost::asio::io_context& io);

    // Connections with other hosts, through the ports; before the first open().
    void open_wire(const std::vector<platform::Worker*>& workers, MadMailbox& mailbox,
                   Ports& ports);

    [[nodiscard]] tl::expected<void, control::ClaimError> open(const AttachedVnic& vnic,
                                                               const std::string& path,
                                                               const control::SocketAccess& access);
    // Stops listening and ends every conversation of the vNIC.
    void close(uint32_t vnic);
    void close_all();

  private:
    struct Listener {
        std::string name;
        control::SocketClaim claim;
        boost::asio::posix::stream_descriptor socket;
        boost::asio::steady_timer pause;
        uint32_t drivers = 0;
    };
    struct Driver {
        uint32_t vnic;
        boost::asio::posix::stream_descriptor socket;
        std::deque<vrdma_cm_message> unsent;  // its socket was full
    };

    void accept(uint32_t vnic);
    void welcome(uint32_t vnic, int socket);
    void wait(uint32_t driver);
    void readable(uint32_t driver);
    void send(const ConnectionTable::Out& messages);
    void send_rest(uint32_t driver);
    void end(uint32_t driver, const char* reason);

    boost::asio::io_context& io_;
    ConnectionTable table_;
    std::unique_ptr<WireConnections> wire_;  // null: no port
    std::map<uint32_t, std::unique_ptr<Listener>> listeners_;
    std::map<uint32_t, std::unique_ptr<Driver>> drivers_;
    uint32_t last_driver_ = 0;
};

}  // namespace vrdma::app
