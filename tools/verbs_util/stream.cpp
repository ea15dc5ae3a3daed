#include "tools/verbs_util/stream.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <memory>
#include <thread>

#include "tools/verbs_util/tsc.h"

// A message is a 4-byte big-endian length and that many bytes of JSON. The length is bounded: a
// stray connection to the port must not make the program allocate gigabytes. JSON because the
// exchange happens once per connection and a person with a packet dump can then read it.

namespace vrdma::verbs_util {

namespace {

constexpr std::uint32_t kMaxMessage = 64U << 20;
constexpr int kRetryMs = 50;
constexpr std::string_view kUnixPrefix = "unix:";

struct FreeAddresses {
    void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

tl::unexpected<Error> partner_error(std::string what, int error_number, std::string remedy = {}) {
    return fail_errno(ErrorKind::kPartner, std::move(what), error_number, std::move(remedy));
}

Result<sockaddr_un> unix_address(std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return fail(ErrorKind::kUsage,
                    fmt::format("socket path \"{}\" is empty or too long", path));
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

Result<Addresses> resolve(const std::string& address, bool passive) {
    const auto colon = address.rfind(':');
    if (colon == std::string::npos) {
        return fail(ErrorKind::kUsage, fmt::format("\"{}\" has no port", address),
                    "write HOST:PORT or unix:PATH");
    }
    std::string host = address.substr(0, colon);
    const std::string port = address.substr(colon + 1);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = passive ? AI_PASSIVE : 0;
    addrinfo* found = nullptr;
    const int rc = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
    if (rc != 0) {
        return fail(ErrorKind::kUsage, fmt::format("resolving {}: {}", address, gai_strerror(rc)));
    }
    return Addresses(found);
}

void disable_delay(int fd) {
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/// The errno of the last attempt when nothing could be reached.
Result<UniqueFd> connect_once(const std::string& address) {
    if (address.starts_with(kUnixPrefix)) {
        auto target = unix_address(std::string_view(address).substr(kUnixPrefix.size()));
        if (!target) {
            return tl::make_unexpected(target.error());
        }
        UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*target), sizeof *target) == 0) {
            return fd;
        }
        return partner_error("connecting to " + address, errno, "start the other side first");
    }
    auto addresses = resolve(address, false);
    if (!addresses) {
        return tl::make_unexpected(addresses.error());
    }
    int last_error = 0;
    for (const addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) {
        UniqueFd fd(socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
        if (fd && ::connect(fd.get(), at->ai_addr, at->ai_addrlen) == 0) {
            disable_delay(fd.get());
            return fd;
        }
        last_error = errno;
    }
    return partner_error("connecting to " + address, last_error, "start the server side first");
}

}  // namespace

Result<Stream> Stream::connect(const std::string& address, int timeout_ms) {
    const std::uint64_t give_up =
        monotonic_ns() + static_cast<std::uint64_t>(timeout_ms) * 1'000'000U;
    while (true) {
        auto fd = connect_once(address);
        if (fd) {
            return Stream(std::move(*fd));
        }
        if (fd.error().kind == ErrorKind::kUsage || monotonic_ns() >= give_up) {
            return tl::make_unexpected(fd.error());
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(kRetryMs));
    }
}

Result<std::pair<Stream, Stream>> Stream::pair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return fail_errno(ErrorKind::kSetup, "socketpair", errno);
    }
    return std::pair(Stream(UniqueFd(fds[0])), Stream(UniqueFd(fds[1])));
}

Result<void> Stream::send(const nlohmann::json& message) {
    const std::string text = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const std::uint32_t length = htonl(static_cast<std::uint32_t>(text.size()));
    std::string frame(reinterpret_cast<const char*>(&length), sizeof length);
    frame += text;
    std::size_t sent = 0;
    while (sent < frame.size()) {
        const ssize_t n = ::send(fd_.get(), frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return partner_error("sending to the other side", errno);
        }
        sent += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return {};
}

Result<void> Stream::read_all(void* to, std::size_t bytes, int timeout_ms) {
    auto* out = static_cast<char*>(to);
    while (bytes > 0) {
        pollfd waiting{fd_.get(), POLLIN, 0};
        const int ready = poll(&waiting, 1, timeout_ms);
        if (ready == 0) {
            return partner_error("waiting for the other side", ETIMEDOUT);
        }
        const ssize_t n = ready < 0 ? -1 : ::recv(fd_.get(), out, bytes, 0);
        if (n == 0) {
            return fail(ErrorKind::kPartner, "the other side closed the connection",
                        "see its own messages");
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return partner_error("receiving from the other side", errno);
        }
        out += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return {};
}

Result<nlohmann::json> Stream::receive(int timeout_ms) {
    std::uint32_t length = 0;
    if (auto read = read_all(&length, sizeof length, timeout_ms); !read) {
        return tl::make_unexpected(read.error());
    }
    length = ntohl(length);
    if (length > kMaxMessage) {
        return fail(ErrorKind::kPartner,
                    fmt::format("the other side announced a message of {} bytes, limit {}", length,
                                kMaxMessage),
                    "check that it is the same program");
    }
    std::string text(length, '\0');
    if (auto read = read_all(text.data(), length, timeout_ms); !read) {
        return tl::make_unexpected(read.error());
    }
    auto message = nlohmann::json::parse(text, nullptr, false);
    if (!message.is_object()) {
        return fail(ErrorKind::kPartner, "the other side sent what is not a JSON object",
                    "check that it is the same program");
    }
    return message;
}

bool Stream::readable() const {
    pollfd waiting{fd_.get(), POLLIN, 0};
    return poll(&waiting, 1, 0) > 0;
}

Result<Listener> Listener::listen(const std::string& address) {
    Listener listener;
    constexpr int kBacklog = 16;
    if (address.starts_with(kUnixPrefix)) {
        const std::string path = address.substr(kUnixPrefix.size());
        auto target = unix_address(path);
        if (!target) {
            return tl::make_unexpected(target.error());
        }
        (void)unlink(path.c_str());
        listener.fd_ = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (bind(listener.fd(), reinterpret_cast<const sockaddr*>(&*target), sizeof *target) != 0 ||
            ::listen(listener.fd(), kBacklog) != 0) {
            return fail_errno(ErrorKind::kSetup, "listening on " + address, errno);
        }
        return listener;
    }
    auto addresses = resolve(address, true);
    if (!addresses) {
        return tl::make_unexpected(addresses.error());
    }
    const addrinfo* at = addresses->get();
    listener.fd_ = UniqueFd(socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol));
    const int on = 1;
    (void)setsockopt(listener.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener.fd(), at->ai_addr, at->ai_addrlen) != 0 ||
        ::listen(listener.fd(), kBacklog) != 0) {
        return fail_errno(ErrorKind::kSetup, "listening on " + address, errno,
                          "choose another --port, or stop the program that has it");
    }
    sockaddr_storage bound{};
    socklen_t length = sizeof bound;
    if (getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&bound), &length) == 0) {
        in_port_t port = 0;
        if (bound.ss_family == AF_INET) {
            port = reinterpret_cast<const sockaddr_in*>(&bound)->sin_port;
        } else if (bound.ss_family == AF_INET6) {
            port = reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port;
        }
        listener.port_ = ntohs(port);
    }
    return listener;
}

Result<Stream> Listener::accept(int timeout_ms) {
    while (true) {
        pollfd waiting{fd_.get(), POLLIN, 0};
        const int ready = poll(&waiting, 1, timeout_ms);
        if (ready == 0) {
            return partner_error("waiting for a connection", ETIMEDOUT);
        }
        const int fd = ready < 0 ? -1 : accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) {
            disable_delay(fd);
            return Stream(UniqueFd(fd));
        }
        if (errno != EINTR && errno != ECONNABORTED) {
            return partner_error("accepting a connection", errno);
        }
    }
}

}  // namespace vrdma::verbs_util
