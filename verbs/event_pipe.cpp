// Both kinds of event reach a program through a SOCK_SEQPACKET pair: one read, one event. The
// program's end is an ordinary descriptor that it may poll, make non-blocking or close.
//
// take_back exists because libibverbs dereferences the object an event names as soon as it has read
// the event: those of an object that is about to be freed must disappear first. They are read from
// the program's own end without blocking, and what belongs to others is sent again, in order. A
// program thread that reads at the same moment gets one or the other event, never a torn one.
#include "verbs/event_pipe.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "verbs/log.h"

namespace vrdma::verbs {
namespace {

// A message costs the kernel about 800 bytes of this; it grants what net.core.wmem_max allows.
constexpr int kSendBufferBytes = 1 << 20;

}  // namespace

tl::expected<driver::UniqueFd, int> EventPipe::open(std::size_t message_bytes) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        return tl::unexpected(errno);
    }
    end_.reset(ends[0]);
    message_bytes_ = message_bytes;
    ::setsockopt(end_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
    return driver::UniqueFd(ends[1]);
}

bool EventPipe::try_send(std::span<const std::byte> message) {
    ssize_t sent = 0;
    do {
        sent = ::send(end_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    // EPIPE and the like: the program closed its end, nobody will miss the event.
    return sent >= 0 || (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM);
}

void EventPipe::send(std::span<const std::byte> message) {
    if (pending_.empty() && try_send(message)) {
        return;
    }
    if (pending_.size() >= kMaxPending) {
        log(LogLevel::error, "event=lost reason=\"the program has not read %zu events\"",
            kMaxPending);
        return;
    }
    Message& kept = pending_.emplace_back();
    std::memcpy(kept.bytes.data(), message.data(), message.size());
}

void EventPipe::flush() {
    while (!pending_.empty() && try_send(std::span(pending_.front().bytes).first(message_bytes_))) {
        pending_.pop_front();
    }
}

std::uint32_t EventPipe::take_back(int program_fd,
                                   const std::function<bool(std::span<const std::byte>)>& matches) {
    // A program that closed its end leaves nothing to take, and program_fd may be another file now.
    pollfd peer{.fd = end_.get(), .events = 0, .revents = 0};
    if (::poll(&peer, 1, 0) != 0) {
        return 0;
    }
    std::vector<Message> unread;
    for (;;) {
        Message message;
        const ssize_t bytes =
            ::recv(program_fd, message.bytes.data(), message_bytes_, MSG_DONTWAIT);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes != static_cast<ssize_t>(message_bytes_)) {
            break;
        }
        unread.push_back(message);
    }
    unread.insert(unread.end(), pending_.begin(), pending_.end());
    pending_.clear();
    std::uint32_t taken = 0;
    for (const Message& message : unread) {
        const auto bytes = std::span(message.bytes).first(message_bytes_);
        if (matches(bytes)) {
            ++taken;
        } else {
            send(bytes);
        }
    }
    return taken;
}

}  // namespace vrdma::verbs
