// A device as the driver sees it: something that answers commands and has doorbells.
//
// The interface exists so that the verbs objects do not know whether the device is a service on
// this host (socket_channel.h) or something else that speaks driver/abi.
//
// Threading: every function may be called from any thread; one command is in flight at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <tl/expected.hpp>

#include "driver/abi/command.h"
#include "driver/abi/status.h"
#include "driver/channel/doorbell.h"

namespace vrdma::driver {

// Why a command did not happen: what the caller of a verb gets (errno) and a sentence for people.
struct CommandError {
    int error = 0;
    char reason[112] = {};
};

// The reason is cut to what a response carries.
template <typename... Args>
[[nodiscard]] CommandError command_error(int error, const char* format, Args... args) {
    CommandError result;
    result.error = error;
    std::snprintf(result.reason, sizeof result.reason, format, args...);
    return result;
}
[[nodiscard]] inline CommandError command_error(int error, const char* reason) {
    return command_error(error, "%s", reason);
}

// One command, as bytes: `body` is the fixed struct, `tail` what follows it (the ranges of REG_MR).
struct Command {
    vrdma_command_opcode opcode;
    std::span<const std::byte> body;
    std::span<const std::byte> tail;
    std::span<const int> fds;  // travel with the message; stay the caller's
};

class Channel {
  public:
    virtual ~Channel() = default;

    // Runs one command and fills exactly `response`.
    // Errors: what vrdma_status_errno makes of the device's answer; EIO when the device is gone or
    // answered against the contract, and for good after that; the errno of sendmsg.
    [[nodiscard]] virtual tl::expected<void, CommandError> request(
        const Command& command, std::span<std::byte> response) = 0;

    // Everything the device said at OPEN.
    [[nodiscard]] virtual const vrdma_rsp_open& info() const = 0;
    [[nodiscard]] virtual const Doorbell& doorbell() const = 0;
    // The socket that carries vrdma_event messages; its hang-up means that the device is gone.
    [[nodiscard]] virtual int event_socket() const = 0;

    // The device is gone: commands fail with EIO without trying.
    [[nodiscard]] virtual bool dead() const = 0;
    virtual void mark_dead() = 0;

    // In a child after fork: lets go of the device without telling it, so that the parent stays its
    // only user. Async-signal-safe.
    virtual void abandon() = 0;
    // Tells the device that the tenant ends in good order, without waiting for an answer.
    virtual void say_goodbye() = 0;
};

// A command without a response body.
template <typename Request>
[[nodiscard]] tl::expected<void, CommandError> run_command(Channel& channel,
                                                           vrdma_command_opcode opcode,
                                                           const Request& request,
                                                           std::span<const int> fds = {}) {
    return channel.request(
        {.opcode = opcode, .body = std::as_bytes(std::span(&request, 1)), .tail = {}, .fds = fds},
        {});
}

// A command with one: query_command<vrdma_handle>(channel, VRDMA_CMD_..., request).
template <typename Response, typename Request>
[[nodiscard]] tl::expected<Response, CommandError> query_command(
    Channel& channel, vrdma_command_opcode opcode, const Request& request,
    std::span<const std::byte> tail = {}, std::span<const int> fds = {}) {
    Response response{};
    const auto done = channel.request(
        {.opcode = opcode, .body = std::as_bytes(std::span(&request, 1)), .tail = tail, .fds = fds},
        std::as_writable_bytes(std::span(&response, 1)));
    if (!done) {
        return tl::unexpected(done.error());
    }
    return response;
}

// A question without a request body.
template <typename Response>
[[nodiscard]] tl::expected<Response, CommandError> query_command(Channel& channel,
                                                                 vrdma_command_opcode opcode,
                                                                 std::span<const int> fds = {}) {
    Response response{};
    const auto done = channel.request({.opcode = opcode, .body = {}, .tail = {}, .fds = fds},
                                      std::as_writable_bytes(std::span(&response, 1)));
    if (!done) {
        return tl::unexpected(done.error());
    }
    return response;
}

}  // namespace vrdma::driver
