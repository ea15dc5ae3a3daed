#pragma once

#include <chrono>
#include <string>

#include <tl/expected.hpp>

namespace vrdma::tools {

/// A request of the control API (docs/operations.md).
struct ControlRequest {
    std::string method;
    std::string target;
    std::string body;  ///< JSON, or empty
};

struct ControlResponse {
    unsigned status{};
    std::string body;
};

/// Why there is no response: one sentence that names the socket and says what to do.
struct ControlError {
    enum class Kind : std::uint8_t {
        kNotRunning,  ///< no socket, or nobody listens
        kPermission,  ///< this user may not connect
        kTimeout,     ///< the service is there but does not answer
        kBroken,      ///< what answers does not speak the control API
    };
    Kind kind{};
    std::string message;
};

/// Sends one request and waits for its response, at most `timeout` in all.
[[nodiscard]] tl::expected<ControlResponse, ControlError> ask_control(
    const std::string& socket_path, const ControlRequest& request,
    std::chrono::milliseconds timeout = std::chrono::seconds(40));

}  // namespace vrdma::tools
