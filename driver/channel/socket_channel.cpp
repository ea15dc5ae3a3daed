// Commands travel as messages of a SOCK_SEQPACKET socket: one request, one answer, in order, file
// descriptors as SCM_RIGHTS. The kernel keeps message boundaries, so a message is either whole or
// the connection is broken; nothing is parsed across reads.
//
// The module decides when the device counts as gone: a hang-up, or any answer that the contract
// does not allow (wrong tag, opcode, length, a descriptor too few). After that no command is tried,
// because a device that lost step with us cannot be told what to free. A refusal by the device is
// not that: it is an ordinary answer with an errno.
//
// State: the socket, the tag of the last command, the doorbell pages and the kick eventfd that OPEN
// hands over. Signals are not the caller's business: EINTR is retried, SIGPIPE never raised. There
// is no timeout, as there is none for a kernel's driver: a service that hangs is the operator's to
// see.
#include "driver/channel/socket_channel.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace vrdma::driver {
namespace {

constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(int) * VRDMA_MAX_FDS_PER_MESSAGE);

// A path longer than sun_path is reached through a descriptor of the socket file itself.
tl::expected<UniqueFd, CommandError> connect_to(const char* path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    UniqueFd file;
    if (std::strlen(path) < sizeof address.sun_path) {
        std::memcpy(address.sun_path, path, std::strlen(path));
    } else {
        file.reset(::open(path, O_PATH | O_CLOEXEC));
        if (!file.valid()) {
            return tl::unexpected(command_error(errno, "no such socket file"));
        }
        std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", file.get());
    }
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket.valid()) {
        return tl::unexpected(command_error(errno, "no socket could be created"));
    }
    int rc = 0;
    do {
        rc = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        return tl::unexpected(command_error(errno, "the service's socket does not answer"));
    }
    return socket;
}

// Takes the descriptors out of a received message: the first into `received`, the rest are closed.
void take_descriptors(msghdr& message, std::span<UniqueFd> received) {
    std::size_t taken = 0;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            UniqueFd owner(fd);
            if (taken < received.size()) {
                received[taken++] = std::move(owner);
            }
        }
    }
}

}  // namespace

tl::expected<std::unique_ptr<SocketChannel>, CommandError> SocketChannel::open(
    const char* path, std::string_view program, std::uint64_t features) {
    auto socket = connect_to(path);
    if (!socket) {
        return tl::unexpected(socket.error());
    }
    std::unique_ptr<SocketChannel> channel(new (std::nothrow) SocketChannel);
    if (channel == nullptr) {
        return tl::unexpected(command_error(ENOMEM, "out of memory"));
    }
    channel->socket_ = std::move(*socket);
    const auto opened = channel->open_device(program, features);
    if (!opened) {
        return tl::unexpected(opened.error());
    }
    return channel;
}

tl::expected<void, CommandError> SocketChannel::open_device(std::string_view program,
                                                            std::uint64_t features) {
    auto pages = SharedMemory::create("vrdma-doorbell", sizeof(vrdma_doorbell));
    if (!pages) {
        return tl::unexpected(command_error(pages.error(), "no memory for the doorbell pages"));
    }
    doorbell_pages_ = std::move(*pages);
    kick_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!kick_.valid()) {
        return tl::unexpected(command_error(errno, "no eventfd could be created"));
    }
    vrdma_cmd_open body{};
    body.abi_major = VRDMA_ABI_MAJOR;
    body.abi_minor = VRDMA_ABI_MINOR;
    body.features = features;
    body.process_id = static_cast<std::uint32_t>(::getpid());
    program.copy(body.program, sizeof body.program - 1);
    const std::array fds = {doorbell_pages_.fd(), kick_.get()};
    std::array<UniqueFd, 2> received;
    const auto answer = exchange({.opcode = VRDMA_CMD_OPEN,
                                  .body = std::as_bytes(std::span(&body, 1)),
                                  .tail = {},
                                  .fds = fds},
                                 std::as_writable_bytes(std::span(&info_, 1)), received);
    if (!answer) {
        return answer;
    }
    event_socket_ = std::move(received[0]);
    if (!event_socket_.valid()) {
        return broken(command_error(EPROTO, "the device answered OPEN without an event socket"));
    }
    if (info_.abi_major != VRDMA_ABI_MAJOR) {
        return broken(command_error(EPROTO,
                                    "the service speaks version %u of the contract, this "
                                    "driver version %u",
                                    info_.abi_major, unsigned{VRDMA_ABI_MAJOR}));
    }
    if ((info_.features & VRDMA_FEATURE_USERFAULT) != 0) {
        if (!received[1].valid()) {
            return broken(command_error(
                EPROTO, "the device announced /dev/userfaultfd and did not hand it over"));
        }
        userfault_device_ = std::move(received[1]);
    }
    doorbell_pages_.close_fd();
    doorbell_ = Doorbell(static_cast<vrdma_doorbell*>(doorbell_pages_.data()), kick_.get());
    return {};
}

tl::expected<void, CommandError> SocketChannel::request(const Command& command,
                                                        std::span<std::byte> response) {
    if (dead()) {
        return tl::unexpected(command_error(EIO, "the device is gone"));
    }
    const std::lock_guard lock(mutex_);
    return exchange(command, response, {});
}

tl::expected<void, CommandError> SocketChannel::exchange(const Command& command,
                                                         std::span<std::byte> response,
                                                         std::span<UniqueFd> received) {
    ++tag_;
    const auto sent = send(command);
    if (!sent) {
        return sent;
    }
    return receive(command, response, received);
}

tl::expected<void, CommandError> SocketChannel::send(const Command& command) {
    const std::size_t length =
        sizeof(vrdma_command_header) + command.body.size() + command.tail.size();
    if (length > VRDMA_MAX_MESSAGE_BYTES || command.fds.size() > VRDMA_MAX_FDS_PER_MESSAGE) {
        return tl::unexpected(command_error(EMSGSIZE,
                                            "a command of %zu bytes and %zu descriptors "
                                            "is larger than the contract allows",
                                            length, command.fds.size()));
    }
    vrdma_command_header header{.opcode = static_cast<std::uint16_t>(command.opcode),
                                .reserved = 0,
                                .length = static_cast<std::uint32_t>(length),
                                .tag = tag_};
    std::array<iovec, 3> parts = {{
        {&header, sizeof header},
        {const_cast<std::byte*>(command.body.data()), command.body.size()},
        {const_cast<std::byte*>(command.tail.data()), command.tail.size()},
    }};
    alignas(cmsghdr) std::array<std::byte, kControlBytes> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (!command.fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(command.fds.size_bytes());
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(command.fds.size_bytes());
        std::memcpy(CMSG_DATA(rights), command.fds.data(), command.fds.size_bytes());
    }
    ssize_t sent = 0;
    do {
        sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return {};
    }
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
        return broken(command_error(EIO, "the service closed the connection"));
    }
    return tl::unexpected(command_error(errno, "the command could not be sent"));
}

tl::expected<void, CommandError> SocketChannel::receive(const Command& command,
                                                        std::span<std::byte> response,
                                                        std::span<UniqueFd> received) {
    vrdma_response_header header{};
    std::array<iovec, 2> parts = {{{&header, sizeof header}, {response.data(), response.size()}}};
    alignas(cmsghdr) std::array<std::byte, kControlBytes> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t bytes = 0;
    do {
        bytes = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    } while (bytes < 0 && errno == EINTR);
    if (bytes <= 0) {
        return broken(command_error(EIO, "the service closed the connection"));
    }
    take_descriptors(message, received);
    const auto length = static_cast<std::size_t>(bytes);
    if (length < sizeof header || header.length != length || header.tag != tag_ ||
        header.opcode != command.opcode || (message.msg_flags & MSG_TRUNC) != 0) {
        return broken(command_error(EIO,
                                    "the service answered command %u out of turn or with a "
                                    "malformed message",
                                    unsigned{command.opcode}));
    }
    if (header.status != VRDMA_STATUS_OK) {
        header.reason[sizeof header.reason - 1] = '\0';
        CommandError refused = command_error(vrdma_status_errno(header.status), header.reason);
        if (header.status == VRDMA_STATUS_FATAL) {
            return broken(refused);
        }
        return tl::unexpected(refused);
    }
    if (length != sizeof header + response.size()) {
        return broken(command_error(EIO,
                                    "the service answered command %u with %zu bytes, expected "
                                    "%zu",
                                    unsigned{command.opcode}, length - sizeof header,
                                    response.size()));
    }
    return {};
}

tl::unexpected<CommandError> SocketChannel::broken(const CommandError& error) {
    mark_dead();
    return tl::unexpected(error);
}

void SocketChannel::abandon() {
    mark_dead();
    socket_.reset();
    event_socket_.reset();
    kick_.reset();
    userfault_device_.reset();
    doorbell_pages_.abandon();
}

void SocketChannel::say_goodbye() {
    if (dead()) {
        return;
    }
    vrdma_command_header header{
        .opcode = VRDMA_CMD_CLOSE, .reserved = 0, .length = sizeof header, .tag = 0};
    // Not under the mutex: this also runs when the program exits, where a thread may never give it
    // back. The message is whole or not sent; the device reads it before it sees the hang-up.
    [[maybe_unused]] const ssize_t sent =
        ::send(socket_.get(), &header, sizeof header, MSG_NOSIGNAL | MSG_DONTWAIT);
    mark_dead();
}

}  // namespace vrdma::driver
