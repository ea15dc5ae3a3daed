#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

#include "tools/common/control_client.h"
#include "tools/common/control_socket.h"

namespace vrdma::vrdmactl {

using Json = nlohmann::ordered_json;

/// Turns the API's answer into text for a person.
using Render = std::function<std::string(const Json&)>;

/// Where the packets of a capture go, and how long.
struct CaptureFile {
    std::string name;  ///< "-": standard output
    std::optional<std::chrono::nanoseconds> duration;
};

/// What one command line asks for.
struct Invocation {
    tools::ServiceChoice service;
    bool json = false;
    tools::ControlRequest request;
    Render render;
    std::optional<CaptureFile> capture;  ///< the request starts a capture, which goes on from there
};

/// The program ends without asking the service: help, version, or a usage error.
struct Ending {
    int exit_code{};
    std::string text;
};

/// Understands a command line; `arguments` without the program's name.
[[nodiscard]] tl::expected<Invocation, Ending> parse_command_line(
    const std::vector<std::string>& arguments);

}  // namespace vrdma::vrdmactl
