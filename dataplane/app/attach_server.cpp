// Boost.Asio has no sequenced-packet acceptor, so the listening socket is a plain descriptor that
// is waited for. A tenant that opens connections without end is stopped at its quota of contexts.
#include "dataplane/app/attach_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <spdlog/spdlog.h>

#include "dataplane/app/tenant_socket.h"

namespace vrdma::app {
namespace {

constexpr uint64_t kConnectionsBeyondQuota = 16;  // that have not sent OPEN yet
constexpr auto kPause = std::chrono::milliseconds(100);

}  // namespace

AttachServer::AttachServer(boost::asio::io_context& io, std::vector<platform::Worker*> workers,
                           platform::DeferredReclaimer& reclaimer, Place place, Empty empty)
    : io_(io),
      manager_(io),
      workers_(std::move(workers)),
      reclaimer_(reclaimer),
      mailbox_(std::make_shared<Mailbox>(io)),
      place_(std::move(place)),
      empty_(std::move(empty)) {}

AttachServer::~AttachServer() {
    mailbox_->close();
}

tl::expected<void, control::ClaimError> AttachServer::open(
    const std::shared_ptr<AttachedVnic>& vnic, const std::string& path,
    const control::SocketAccess& access) {
    auto opened = TenantSocket::open(path, access);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    boost::asio::posix::stream_descriptor descriptor(io_, opened->descriptor);
    if (auto ready = manager_.open(*vnic, connection_socket_path(path), access); !ready) {
        return ready;
    }
    listeners_[vnic->index] = std::make_unique<Listener>(Listener{
        vnic, std::move(opened->claim), std::move(descriptor), boost::asio::steady_timer(io_)});
    accept(vnic->index);
    return {};
}

void AttachServer::accept(uint32_t vnic) {
    Listener& listener = *listeners_.at(vnic);
    listener.socket.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [this, vnic](const boost::system::error_code& error) {
            const auto found = listeners_.find(vnic);
            if (error || found == listeners_.end()) {
                return;
            }
            Listener& ready = *found->second;
            const int socket = accept4(ready.socket.native_handle(), nullptr, nullptr,
                                       SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (socket >= 0) {
                welcome(ready, socket);
            } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                spdlog::warn("vnic={} cannot take a connection: {}", ready.vnic->name,
                             std::strerror(errno));
                accept_later(vnic);
                return;
            }
            accept(vnic);
        });
}

void AttachServer::accept_later(uint32_t vnic) {
    Listener& listener = *listeners_.at(vnic);
    listener.pause.expires_after(kPause);
    listener.pause.async_wait([this, vnic](const boost::system::error_code& error) {
        if (!error && listeners_.contains(vnic)) {
            accept(vnic);
        }
    });
}

void AttachServer::welcome(Listener& listener, int socket) {
    const std::shared_ptr<AttachedVnic>& vnic = listener.vnic;
    uint64_t already = 0;
    for (const auto& connection : connections_) {
        already += connection->vnic().index == vnic->index ? 1U : 0U;
    }
    const uint64_t allowed = vnic->quota.limits()[Resource::Contexts] + kConnectionsBeyondQuota;
    const bool stuck = vnic->aside.waiting() > kMostWaitingCalls;
    if (already >= allowed || stuck) {
        const auto now = std::chrono::steady_clock::now();
        if (now >= vnic->quiet_until) {
            vnic->quiet_until = now + std::chrono::seconds(1);
            spdlog::warn("vnic={} a connection is refused: {}", vnic->name,
                         stuck ? "too many descriptors of its tenants do not close"
                               : "too many connections");
        }
        ::close(socket);
        return;
    }
    const uint32_t worker = place_(*vnic);
    auto connection = std::make_shared<Connection>(
        io_, socket,
        Connection::Environment{*workers_[worker], worker, vnic, reclaimer_, mailbox_,
                                [this](const std::shared_ptr<Connection>& gone) { forget(gone); }});
    connections_.push_back(connection);
    connection->start();
}

bool AttachServer::in_use(uint32_t vnic) const {
    return std::any_of(connections_.begin(), connections_.end(),
                       [vnic](const auto& connection) { return connection->vnic().index == vnic; });
}

void AttachServer::forget(const std::shared_ptr<Connection>& gone) {
    std::erase(connections_, gone);
    if (!in_use(gone->vnic().index)) {
        empty_(gone->vnic().index);
    }
}

void AttachServer::close(uint32_t vnic) {
    listeners_.erase(vnic);
    manager_.close(vnic);
    const std::vector<std::shared_ptr<Connection>> all = connections_;
    for (const auto& connection : all) {
        if (connection->vnic().index == vnic) {
            connection->shut_down(true);
        }
    }
}

void AttachServer::close_all() {
    listeners_.clear();
    manager_.close_all();
    const std::vector<std::shared_ptr<Connection>> all = connections_;
    for (const auto& connection : all) {
        connection->shut_down(true);
    }
}

}  // namespace vrdma::app
