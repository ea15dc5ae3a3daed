// Carries messages between drivers and the table that judges them; nothing is decided here but who
// is cut off: a driver that breaks the contract, and one that does not read while its notices pile
// up. Runs on the control thread, like the attach sockets: connections are made a few thousand
// times a second at most, and never on the path of the data.
//
// A driver is named by a number that is not used again, so that a callback which comes late finds
// nobody instead of somebody else.
#include "dataplane/app/connection_manager.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <spdlog/spdlog.h>

#include "dataplane/app/tenant_socket.h"

namespace vrdma::app {
namespace {

constexpr uint32_t kMostDrivers = 1024;  // of a vNIC
constexpr size_t kMostUnsent = 4096;
constexpr uint32_t kMessagesAtOnce = 32;  // then the others' turn
constexpr uint32_t kIpv4Gid = 3;
constexpr auto kPause = std::chrono::milliseconds(100);

uint64_t random_number() {
    uint64_t number = 0;
    while (getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) {
    }
    return number;
}

}  // namespace

ConnectionManager::ConnectionManager(boost::asio::io_context& io)
    : io_(io), table_(random_number, ConnectionTable::Limits{}) {}

void ConnectionManager::open_wire(const std::vector<platform::Worker*>& workers,
                                  MadMailbox& mailbox, Ports& ports) {
    wire_ = std::make_unique<WireConnections>(
        io_, workers, mailbox, ports, table_,
        [this](const ConnectionTable::Out& messages) { send(messages); });
}

tl::expected<void, control::ClaimError> ConnectionManager::open(
    const AttachedVnic& vnic, const std::string& path, const control::SocketAccess& access) {
    auto opened = TenantSocket::open(path, access);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    listeners_[vnic.index] = std::make_unique<Listener>(
        Listener{vnic.name, std::move(opened->claim),
                 boost::asio::posix::stream_descriptor(io_, opened->descriptor),
                 boost::asio::steady_timer(io_)});
    ConnectionTable::Address address{};
    const vrdma_gid_entry& gid = vnic.device.gids[kIpv4Gid];
    std::copy(std::begin(gid.gid), std::end(gid.gid), address.begin());
    table_.add_vnic(vnic.index, vnic.device.network, address, kLargestMtu);
    if (wire_) {
        wire_->add_vnic(vnic, wire::Address::from_gid(gid.gid));
    }
    accept(vnic.index);
    return {};
}

void ConnectionManager::accept(uint32_t vnic) {
    listeners_.at(vnic)->socket.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [this, vnic](const boost::system::error_code& error) {
            const auto found = listeners_.find(vnic);
            if (error || found == listeners_.end()) {
                return;
            }
            const int socket = accept4(found->second->socket.native_handle(), nullptr, nullptr,
                                       SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (socket >= 0) {
                welcome(vnic, socket);
            } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                spdlog::warn("vnic={} cannot take a connection: {}", found->second->name,
                             std::strerror(errno));
                found->second->pause.expires_after(kPause);
                found->second->pause.async_wait([this, vnic](const boost::system::error_code& e) {
                    if (!e && listeners_.contains(vnic)) {
                        accept(vnic);
                    }
                });
                return;
            }
            accept(vnic);
        });
}

void ConnectionManager::welcome(uint32_t vnic, int socket) {
    Listener& listener = *listeners_.at(vnic);
    if (listener.drivers >= kMostDrivers) {
        ::close(socket);
        return;
    }
    ++listener.drivers;
    const uint32_t driver = ++last_driver_;
    drivers_[driver] = std::make_unique<Driver>(
        Driver{vnic, boost::asio::posix::stream_descriptor(io_, socket), {}});
    table_.add_client(driver, vnic);
    wait(driver);
}

void ConnectionManager::wait(uint32_t driver) {
    drivers_.at(driver)->socket.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                           [this, driver](const boost::system::error_code& error) {
                                               if (!error && drivers_.contains(driver)) {
                                                   readable(driver);
                                               }
                                           });
}

void ConnectionManager::readable(uint32_t driver) {
    for (uint32_t i = 0; i < kMessagesAtOnce; ++i) {
        vrdma_cm_message message{};
        const ssize_t bytes = recv(drivers_.at(driver)->socket.native_handle(), &message,
                                   sizeof message, MSG_DONTWAIT | MSG_TRUNC);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (bytes <= 0) {
            end(driver, nullptr);
            return;
        }
        ConnectionTable::Out out;
        if (bytes != static_cast<ssize_t>(sizeof message) ||
            !table_.receive(driver, message, out)) {
            end(driver, "a message of connection management breaks the contract");
            return;
        }
        send(out);
        if (!drivers_.contains(driver)) {
            return;
        }
    }
    wait(driver);
}

void ConnectionManager::send(const ConnectionTable::Out& messages) {
    for (const ConnectionTable::Outgoing& outgoing : messages) {
        const uint32_t to = outgoing.client;
        if (to == ConnectionTable::kWire) {
            wire_->post(outgoing);
            continue;
        }
        const auto found = drivers_.find(to);
        if (found == drivers_.end()) {
            continue;
        }
        Driver& driver = *found->second;
        const bool waits = !driver.unsent.empty();
        driver.unsent.push_back(outgoing.message);
        if (driver.unsent.size() > kMostUnsent) {
            end(to, "it does not read its notices of connection management");
        } else if (!waits) {
            send_rest(to);
        }
    }
}

void ConnectionManager::send_rest(uint32_t number) {
    Driver& driver = *drivers_.at(number);
    while (!driver.unsent.empty()) {
        const ssize_t bytes = ::send(driver.socket.native_handle(), &driver.unsent.front(),
                                     sizeof driver.unsent.front(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (bytes < 0 && errno == EAGAIN) {
            driver.socket.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                                     [this, number](const boost::system::error_code& error) {
                                         if (!error && drivers_.contains(number)) {
                                             send_rest(number);
                                         }
                                     });
            return;
        }
        if (bytes < 0) {
            driver.unsent.clear();  // it hung up, which the wait for messages will notice
            return;
        }
        driver.unsent.pop_front();
    }
}

void ConnectionManager::end(uint32_t number, const char* reason) {
    const auto found = drivers_.find(number);
    const uint32_t vnic = found->second->vnic;
    if (const auto listener = listeners_.find(vnic); listener != listeners_.end()) {
        --listener->second->drivers;
        if (reason != nullptr) {
            spdlog::warn("vnic={} a driver is cut off: {}", listener->second->name, reason);
        }
    }
    drivers_.erase(found);
    ConnectionTable::Out out;
    table_.remove_client(number, out);
    send(out);
}

void ConnectionManager::close(uint32_t vnic) {
    if (listeners_.erase(vnic) == 0) {
        return;
    }
    std::vector<uint32_t> theirs;
    for (const auto& [number, driver] : drivers_) {
        if (driver->vnic == vnic) {
            theirs.push_back(number);
        }
    }
    for (const uint32_t number : theirs) {
        if (drivers_.contains(number)) {
            end(number, nullptr);
        }
    }
    table_.remove_vnic(vnic);
    if (wire_) {
        wire_->remove_vnic(vnic);
    }
}

void ConnectionManager::close_all() {
    while (!listeners_.empty()) {
        close(listeners_.begin()->first);
    }
}

}  // namespace vrdma::app
