#pragma once

// Waits for a socket's completions and its device's asynchronous events, in one epoll that tells of
// changes only.

#include <chrono>
#include <cstdint>

#include "tests/interop/storage_socket/socket.h"
#include "tests/interop/storage_socket/storage_device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/unique_fd.h"

namespace vrdma::storage_socket {

inline constexpr int kPatienceMs = 20'000;

class EventLoop {
  public:
    [[nodiscard]] static verbs_util::Result<EventLoop> create(const StorageDevice& device,
                                                              Socket& socket);

    [[nodiscard]] int epoll() const { return epoll_.get(); }
    /// Waits until something happens and polls the socket; asks now and then whether the partner is
    /// still there. An error when nothing is achieved for long.
    [[nodiscard]] verbs_util::Result<void> wait();

  private:
    EventLoop(const StorageDevice& device, Socket& socket, verbs_util::UniqueFd epoll)
        : device_(&device), socket_(&socket), epoll_(std::move(epoll)) {}

    const StorageDevice* device_;
    Socket* socket_;
    verbs_util::UniqueFd epoll_;
    std::uint64_t achieved_ = 0;
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace vrdma::storage_socket
