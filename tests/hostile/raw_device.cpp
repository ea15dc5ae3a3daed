// One command, one answer, as the contract says; but nothing here checks what is sent, and an
// answer that does not come within seconds is a finding, not a wait.
#include "tests/hostile/raw_device.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

namespace vrdma::hostile {
namespace {

constexpr size_t kMostFiles = 253;  // SCM_MAX_FD

}  // namespace

bool RawDevice::connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return false;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    return socket_.valid() &&
           ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

bool RawDevice::send(std::span<const std::byte> bytes, std::span<const int> files) {
    iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFiles)> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (!files.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(files.size_bytes());
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(files.size_bytes());
        std::memcpy(CMSG_DATA(rights), files.data(), files.size_bytes());
    }
    return sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(bytes.size());
}

bool RawDevice::post(uint16_t opcode, std::span<const std::byte> body, std::span<const int> files) {
    std::vector<std::byte> message(sizeof(vrdma_command_header) + body.size());
    const vrdma_command_header header{opcode, 0, static_cast<uint32_t>(message.size()), ++tag_};
    std::memcpy(message.data(), &header, sizeof header);
    std::copy(body.begin(), body.end(), message.begin() + sizeof header);
    return send(message, files);
}

Answer RawDevice::receive(int timeout_ms) {
    Answer answer;
    pollfd ready{socket_.get(), POLLIN, 0};
    if (poll(&ready, 1, timeout_ms) <= 0) {
        answer.status = kNoAnswer;
        return answer;
    }
    std::vector<std::byte> buffer(4096);
    iovec data{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (size < static_cast<ssize_t>(sizeof(vrdma_response_header))) {
        return answer;
    }
    if (const cmsghdr* part = CMSG_FIRSTHDR(&message);
        part != nullptr && part->cmsg_type == SCM_RIGHTS) {
        int file = -1;
        std::memcpy(&file, CMSG_DATA(part), sizeof file);
        answer.file.reset(file);
    }
    vrdma_response_header header{};
    std::memcpy(&header, buffer.data(), sizeof header);
    header.reason[sizeof header.reason - 1] = '\0';
    answer.status = header.status;
    answer.reason = header.reason;
    answer.body.assign(buffer.begin() + sizeof header, buffer.begin() + size);
    return answer;
}

Answer RawDevice::call(uint16_t opcode, std::span<const std::byte> body,
                       std::span<const int> files) {
    if (!post(opcode, body, files)) {
        return Answer{};
    }
    return receive();
}

}  // namespace vrdma::hostile
