#pragma once

#include <string>

#include <tl/expected.hpp>

namespace vrdma::control {

/// Why a socket cannot be had, for the operator.
struct ClaimError {
    std::string error;
    std::string remedy;
};

/// The right to bind a unix socket at a path: held by at most one process, ends with the object or
/// with the process, however it dies. Movable.
class SocketClaim {
  public:
    /// Takes the path: a socket file that a dead service left is removed. Refused when another
    /// service holds the path, when something that is not a socket is there, when the path is too
    /// long, or when the operating system refuses.
    [[nodiscard]] static tl::expected<SocketClaim, ClaimError> take(const std::string& path);

    SocketClaim(SocketClaim&& other) noexcept;
    SocketClaim& operator=(SocketClaim&&) = delete;
    SocketClaim(const SocketClaim&) = delete;
    SocketClaim& operator=(const SocketClaim&) = delete;

    /// Removes the socket file.
    ~SocketClaim();

    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    SocketClaim(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

    std::string path_;
    int lock_fd_;  ///< -1: moved from
};

}  // namespace vrdma::control
