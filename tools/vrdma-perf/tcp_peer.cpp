#include "tools/vrdma-perf/tcp_peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#include <utility>

#include "tools/verbs_util/cpu.h"

// A key-value GET over TCP loopback, reduced to the transfer: the client asks for N bytes, a thread
// of this process sends them from memory. Blocking, this is what services do today; most of its
// time is waking an idle CPU. Spinning, both sides poll non-blocking sockets, which is the fair
// comparison for a polled RDMA device. The thread owns its socket and ends when the client's end is
// closed.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail_errno;
using verbs_util::Result;
using verbs_util::Tsc;
using verbs_util::UniqueFd;

constexpr unsigned kPollsBeforeYield = 4096;

/// Moves all bytes with `call(data, bytes, flags)`; false when the connection has ended.
template <typename Call>
bool move_all(char* data, std::size_t bytes, bool spinning, Call call) {
    const int flags = MSG_NOSIGNAL | (spinning ? MSG_DONTWAIT : 0);
    unsigned polls = 0;
    while (bytes > 0) {
        const ssize_t n = call(data, bytes, flags);
        if (n > 0) {
            data += n;
            bytes -= static_cast<std::size_t>(n);
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            return false;
        } else if (++polls % kPollsBeforeYield == 0) {
            (void)sched_yield();
        }
    }
    return true;
}

bool receive_all(int fd, void* to, std::size_t bytes, bool spinning) {
    return move_all(static_cast<char*>(to), bytes, spinning,
                    [fd](char* at, std::size_t n, int flags) { return recv(fd, at, n, flags); });
}

bool send_all(int fd, const void* from, std::size_t bytes, bool spinning) {
    // The cast is undone by send(), which takes const data.
    return move_all(const_cast<char*>(static_cast<const char*>(from)), bytes, spinning,
                    [fd](char* at, std::size_t n, int flags) { return send(fd, at, n, flags); });
}

void answer_requests(UniqueFd socket, bool spinning, int cpu) {
    if (cpu >= 0) {
        (void)verbs_util::pin_this_thread(cpu);
    }
    std::vector<char> data;
    std::uint64_t wanted = 0;
    while (receive_all(socket.get(), &wanted, sizeof wanted, spinning)) {
        if (data.size() < wanted) {
            data.assign(wanted, 'x');
        }
        if (!send_all(socket.get(), data.data(), wanted, spinning)) {
            return;
        }
    }
}

/// Two ends of one TCP connection over loopback.
Result<std::pair<UniqueFd, UniqueFd>> connected_pair() {
    const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (bind(listener.get(), generic, length) != 0 || listen(listener.get(), 1) != 0 ||
        getsockname(listener.get(), generic, &length) != 0 ||
        connect(client.get(), generic, length) != 0) {
        return fail_errno(ErrorKind::kSetup, "TCP connection over loopback", errno,
                          "run without --peers where there is no loopback interface");
    }
    UniqueFd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const int on = 1;
    (void)setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(server.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return std::pair(std::move(client), std::move(server));
}

}  // namespace

Result<std::unique_ptr<TcpPeer>> TcpPeer::start(bool spinning, int server_cpu, const Tsc& tsc) {
    auto ends = connected_pair();
    if (!ends) {
        return tl::make_unexpected(ends.error());
    }
    std::unique_ptr<TcpPeer> peer(new TcpPeer(spinning, tsc));
    peer->socket_ = std::move(ends->first);
    peer->server_ = std::thread(answer_requests, std::move(ends->second), spinning, server_cpu);
    return peer;
}

TcpPeer::~TcpPeer() {
    socket_.reset();
    if (server_.joinable()) {
        server_.join();
    }
}

Result<RunResult> TcpPeer::measure(std::uint64_t bytes, const Budget& budget,
                                   Histogram& histogram) {
    if (buffer_.size() < bytes) {
        buffer_.assign(bytes, 0);
    }
    RunResult result;
    const std::uint64_t start = Tsc::now();
    std::uint64_t now = start;
    while ((budget.operations == 0 || result.operations < budget.operations) &&
           (budget.ticks == 0 || now - start < budget.ticks)) {
        const std::uint64_t asked = Tsc::now();
        if (!send_all(socket_.get(), &bytes, sizeof bytes, spinning_) ||
            !receive_all(socket_.get(), buffer_.data(), bytes, spinning_)) {
            return fail_errno(ErrorKind::kTransfer, "TCP GET over loopback", errno);
        }
        now = Tsc::now();
        histogram.record(now - asked);
        ++result.operations;
    }
    result.ticks = now - start;
    return result;
}

}  // namespace vrdma::perf
