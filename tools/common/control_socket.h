#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vrdma::tools {

/// How the user named the service, from the command line.
struct ServiceChoice {
    std::optional<std::string> socket;       ///< --socket
    std::optional<std::string> runtime_dir;  ///< --runtime-dir
};

/// Where the control socket may be, most likely first: the one that was named, or else that of this
/// user's own service and then that of the system's.
[[nodiscard]] std::vector<std::string> control_socket_candidates(const ServiceChoice& choice);

/// The first candidate that exists; if none does, the first.
[[nodiscard]] std::string find_control_socket(const ServiceChoice& choice);

}  // namespace vrdma::tools
