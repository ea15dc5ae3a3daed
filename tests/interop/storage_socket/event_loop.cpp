// A side that only waits posts nothing, and so is never told that its partner has gone. 3FS checks
// its connections now and then by a request that does nothing, as is done here when it is quiet.
#include "tests/interop/storage_socket/event_loop.h"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::Result;

namespace {

constexpr int kCheckMs = 100;

}  // namespace

Result<EventLoop> EventLoop::create(const StorageDevice& device, Socket& socket) {
    verbs_util::UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    std::vector<int> fds = socket.event_fds();
    fds.push_back(device.context()->async_fd);
    for (const int fd : fds) {
        epoll_event wanted{};
        wanted.events = EPOLLIN | EPOLLET;
        if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &wanted) != 0) {
            return fail_errno(ErrorKind::kSetup, "epoll_ctl", errno);
        }
    }
    return EventLoop(device, socket, std::move(epoll));
}

Result<void> EventLoop::wait() {
    constexpr int kMost = 4;
    std::array<epoll_event, kMost> events{};
    const int count = epoll_wait(epoll(), events.data(), kMost, kCheckMs);
    if (count < 0 && errno != EINTR) {
        return fail_errno(ErrorKind::kTransfer, "epoll_wait", errno);
    }
    if (count == 0 && socket_->state() == Socket::State::kReady) {
        if (auto done = socket_->check(); !done) {
            return done;
        }
    }
    const auto now = std::chrono::steady_clock::now();
    const std::uint64_t achieved = socket_->messages_received() + socket_->rdma_requests();
    if (std::exchange(achieved_, achieved) != achieved) {
        last_ = now;
    } else if (now - last_ > std::chrono::milliseconds(kPatienceMs)) {
        return fail(ErrorKind::kTransfer,
                    fmt::format("nothing moves any more: {} messages sent, {} received",
                                socket_->messages_sent(), socket_->messages_received()));
    }
    if (auto done = device_->take_async_events(); !done) {
        return done;
    }
    return socket_->poll();
}

}  // namespace vrdma::storage_socket
