// One service per socket.
//
// A unix socket's file outlives a service that crashed, and removing it is only safe if nobody
// listens. Probing with connect() alone is a race: of two services that start together, both may
// find the file dead, and the second removes the first one's new socket. So the right to touch the
// path is a lock on a file beside it (PATH.lock), which the kernel releases with the process.
//
// The holder removes the lock file before it lets go. Whoever opened that file earlier then locks a
// file without a name, notices that the name means another file or none, and starts over; so two
// services cannot each hold a lock and both believe it is the one of the path.
//
// Open-file-description locks, because the older kind is lost when any descriptor of the file is
// closed and does not conflict within one process.

#include "dataplane/control/socket_claim.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "dataplane/control/runtime_directory.h"

namespace vrdma::control {
namespace {

namespace fs = std::filesystem;

constexpr int kLockAttempts = 16;

std::string reason_of(int error) {
    return std::generic_category().message(error);
}

ClaimError in_use(const std::string& path) {
    return {fmt::format("{} is in use: another vrdmad runs", path),
            "stop it, or choose another service.runtime_dir"};
}

/// Does anybody accept connections there? A second without an answer counts as yes.
bool is_alive(const std::string& path) {
    boost::asio::io_context context;
    boost::asio::local::stream_protocol::socket socket(context);
    bool alive = true;
    socket.async_connect(path, [&](const boost::system::error_code& error) {
        alive = error != boost::asio::error::connection_refused;
    });
    context.run_for(std::chrono::seconds(1));
    return alive;
}

/// Is the file that fd has open still the one that the path names?
bool is_at(const std::string& path, int fd) {
    struct stat named {};
    struct stat opened {};
    return ::lstat(path.c_str(), &named) == 0 && ::fstat(fd, &opened) == 0 &&
           named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

tl::expected<int, ClaimError> try_lock(const std::string& path, const std::string& lock_path) {
    int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return tl::unexpected(ClaimError{
            fmt::format("{} cannot be opened: {}", lock_path, reason_of(errno)),
            "create the runtime directory and make it writable for the service, or choose another "
            "service.runtime_dir"});
    }
    struct flock whole_file {};
    whole_file.l_type = F_WRLCK;
    if (::fcntl(fd, F_OFD_SETLK, &whole_file) != 0) {
        const int error = errno;
        ::close(fd);
        if (error == EAGAIN || error == EACCES) {
            return tl::unexpected(in_use(path));
        }
        return tl::unexpected(
            ClaimError{fmt::format("{} cannot be locked: {}", lock_path, reason_of(error)),
                       "choose a service.runtime_dir on a local file system"});
    }
    return fd;
}

tl::expected<int, ClaimError> lock(const std::string& path) {
    const std::string lock_path = path + ".lock";
    for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
        auto fd = try_lock(path, lock_path);
        if (!fd || is_at(lock_path, *fd)) {
            return fd;
        }
        ::close(*fd);
    }
    return tl::unexpected(in_use(path));  // services come and go faster than we look
}

void unlock(const std::string& path, int fd) {
    std::error_code ignored;  // a lock file that stays is taken over
    fs::remove(path + ".lock", ignored);
    ::close(fd);
}

/// Removes what a dead service left. Nothing if the path is free now.
std::optional<ClaimError> clear(const std::string& path) {
    std::error_code error;
    const fs::file_status status = fs::symlink_status(path, error);
    if (status.type() == fs::file_type::not_found) {
        return std::nullopt;
    }
    if (status.type() != fs::file_type::socket) {
        return ClaimError{fmt::format("{} exists and is not a socket", path),
                          "move it away, or choose another service.runtime_dir"};
    }
    if (is_alive(path)) {
        return in_use(path);
    }
    if (!fs::remove(path, error) && error) {
        return ClaimError{
            fmt::format("{} of a dead service cannot be removed: {}", path, error.message()),
            "remove it, or start the service as its owner"};
    }
    return std::nullopt;
}

}  // namespace

tl::expected<SocketClaim, ClaimError> SocketClaim::take(const std::string& path) {
    if (path.size() > kMaxSocketPath) {
        return tl::unexpected(ClaimError{
            fmt::format("{} is longer than the {} bytes of a socket path", path, kMaxSocketPath),
            "choose a shorter service.runtime_dir"});
    }
    const auto lock_fd = lock(path);
    if (!lock_fd) {
        return tl::unexpected(lock_fd.error());
    }
    if (auto error = clear(path)) {
        unlock(path, *lock_fd);
        return tl::unexpected(std::move(*error));
    }
    return SocketClaim(path, *lock_fd);
}

SocketClaim::SocketClaim(SocketClaim&& other) noexcept
    : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

SocketClaim::~SocketClaim() {
    if (lock_fd_ >= 0) {
        std::error_code ignored;  // the next service removes what stays
        fs::remove(path_, ignored);
        unlock(path_, lock_fd_);
    }
}

}  // namespace vrdma::control
