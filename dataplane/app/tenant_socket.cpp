// Reaching one of these sockets is what permits the use of a vNIC, so nobody may connect before its
// owner, group and mode are the configured ones.
#include "dataplane/app/tenant_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace vrdma::app {
namespace {

constexpr int kBacklog = 128;

control::ClaimError failed(const std::string& what, const std::string& path) {
    return {fmt::format("{} {}: {}", what, path, std::strerror(errno)),
            "check the rights of the runtime directory and the vNIC's owner, group and mode"};
}

}  // namespace

tl::expected<TenantSocket, control::ClaimError> TenantSocket::open(
    const std::string& path, const control::SocketAccess& access) {
    auto claim = control::SocketClaim::take(path);
    if (!claim) {
        return tl::unexpected(claim.error());
    }
    const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0) {
        return tl::unexpected(failed("no socket for", path));
    }
    const auto refuse = [&](const char* what) {
        const control::ClaimError error = failed(what, path);
        ::close(socket);
        return tl::unexpected(error);
    };
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
    const mode_t old_mask = umask(0777);
    const int bound = bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    umask(old_mask);
    if (bound != 0) {
        return refuse("cannot bind");
    }
    const bool owned = access.owner || access.group;
    if (owned && chown(path.c_str(), access.owner.value_or(static_cast<uid_t>(-1)),
                       access.group.value_or(static_cast<gid_t>(-1))) != 0) {
        return refuse("cannot change the owner of");
    }
    if (chmod(path.c_str(), access.mode) != 0 || listen(socket, kBacklog) != 0) {
        return refuse("cannot listen on");
    }
    return TenantSocket{.claim = std::move(*claim), .descriptor = socket};
}

std::string connection_socket_path(const std::string& path) {
    return path.substr(0, path.rfind('/') + 1) + "cm.sock";
}

}  // namespace vrdma::app
