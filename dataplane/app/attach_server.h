// The attach sockets: one for every vNIC. Whoever can connect to it may use the vNIC.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <tl/expected.hpp>

#include "dataplane/app/connection.h"
#include "dataplane/app/connection_manager.h"
#include "dataplane/control/configuration.h"
#include "dataplane/control/socket_claim.h"

namespace vrdma::app {

class AttachServer {
  public:
    // Picks the worker of a new context.
    using Place = std::function<uint32_t(const AttachedVnic&)>;
    // A vNIC's last connection is gone with everything it had.
    using Empty = std::function<void(uint32_t vnic)>;

    AttachServer(boost::asio::io_context& io, std::vector<platform::Worker*> workers,
                 platform::DeferredReclaimer& reclaimer, Place place, Empty empty);
    ~AttachServer();

    // Before the first open(): their connections reach other hosts through these ports.
    void open_wire(MadMailbox& mailbox, Ports& ports) {
        manager_.open_wire(workers_, mailbox, ports);
    }

    // Listens on `path` for drivers of the vNIC, and beside it for those that want connections.
    [[nodiscard]] tl::expected<void, control::ClaimError> open(
        const std::shared_ptr<AttachedVnic>& vnic, const std::string& path,
        const control::SocketAccess& access);
    // Stops listening and ends every connection of the vNIC.
    void close(uint32_t vnic);
    void close_all();

    [[nodiscard]] bool in_use(uint32_t vnic) const;
    [[nodiscard]] const std::vector<std::shared_ptr<Connection>>& connections() const {
        return connections_;
    }

  private:
    struct Listener {
        std::shared_ptr<AttachedVnic> vnic;
        control::SocketClaim claim;
        boost::asio::posix::stream_descriptor socket;
        boost::asio::steady_timer pause;
    };
    void accept(uint32_t vnic);
    // Later, because it is not possible now.
    void accept_later(uint32_t vnic);
    void welcome(Listener& listener, int socket);
    void forget(const std::shared_ptr<Connection>& gone);

    boost::asio::io_context& io_;
    ConnectionManager manager_;
    std::vector<platform::Worker*> workers_;
    platform::DeferredReclaimer& reclaimer_;
    std::shared_ptr<Mailbox> mailbox_;
    Place place_;
    Empty empty_;
    std::map<uint32_t, std::unique_ptr<Listener>> listeners_;
    std::vector<std::shared_ptr<Connection>> connections_;
};

}  // namespace vrdma::app
