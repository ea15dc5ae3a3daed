// One socket for each vNIC that rdma_cm programs of this process use. Commands wait for their
// answer at most a few seconds: the service answers them at once, and a program must not hang in
// rdma_bind_addr() because somebody stopped it.
#include "verbs/cm_service.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "verbs/log.h"

namespace vrdma::verbs {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr int kPatienceMs = 10'000;

}  // namespace

tl::expected<std::unique_ptr<CmService>, int> CmService::open(const std::string& socket_path,
                                                              std::uint64_t guid) {
    auto service = std::make_unique<CmService>();
    service->guid_ = guid;
    service->socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const int fd = service->socket_.get();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (fd < 0 || socket_path.size() >= sizeof address.sun_path) {
        return tl::unexpected(fd < 0 ? errno : ENAMETOOLONG);
    }
    std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
    vrdma_cm_message hello{};
    hello.type = VRDMA_CM_HELLO;
    hello.version = VRDMA_CM_VERSION;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::send(fd, &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) {
        return tl::unexpected(errno);
    }
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    vrdma_cm_message answer{};
    if (::poll(&ready, 1, kPatienceMs) != 1) {
        return tl::unexpected(ETIMEDOUT);
    }
    if (::recv(fd, &answer, sizeof answer, MSG_DONTWAIT) != static_cast<ssize_t>(sizeof answer) ||
        answer.type != (VRDMA_CM_HELLO | VRDMA_CM_ANSWER)) {
        return tl::unexpected(EPROTO);
    }
    std::copy(std::begin(answer.address), std::end(answer.address), service->address_.begin());
    service->mtu_ = answer.mtu;
    return service;
}

tl::expected<vrdma_cm_message, int> CmService::ask(vrdma_cm_message message) {
    std::unique_lock lock(mutex_);
    message.tag = ++last_tag_;
    if (!alive_ || ::send(fd(), &message, sizeof message, MSG_NOSIGNAL) < 0) {
        return tl::unexpected(EIO);
    }
    auto found = answers_.end();
    const bool answered = answered_.wait_for(lock, kPatience, [&] {
        found = std::ranges::find(answers_, message.tag, &vrdma_cm_message::tag);
        return found != answers_.end() || !alive_;
    });
    if (!answered || found == answers_.end()) {
        return tl::unexpected(answered ? EIO : ETIMEDOUT);
    }
    const vrdma_cm_message answer = *found;
    answers_.erase(found);
    return answer;
}

bool CmService::tell(vrdma_cm_message message) {
    return ::send(fd(), &message, sizeof message, MSG_NOSIGNAL) >= 0;
}

CmService::Received CmService::receive(vrdma_cm_message& notice) {
    const ssize_t bytes = ::recv(fd(), &notice, sizeof notice, MSG_DONTWAIT | MSG_TRUNC);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
        return Received::nothing;
    }
    if (bytes == static_cast<ssize_t>(sizeof notice) &&
        notice.private_bytes <= VRDMA_CM_PRIVATE_BYTES) {
        if ((notice.type & VRDMA_CM_ANSWER) == 0) {
            return Received::notice;
        }
        const std::lock_guard lock(mutex_);
        answers_.push_back(notice);
        answered_.notify_all();
        return Received::answer;
    }
    if (bytes > 0) {
        log(LogLevel::error,
            "event=cm_message_refused reason=\"the service sent %zd bytes of connection "
            "management, not %zu; install the provider and the service of the same release\"",
            bytes, sizeof notice);
    }
    const std::lock_guard lock(mutex_);
    alive_ = false;
    answered_.notify_all();
    return Received::gone;
}

bool CmService::alive() const {
    const std::lock_guard lock(mutex_);
    return alive_;
}

}  // namespace vrdma::verbs
