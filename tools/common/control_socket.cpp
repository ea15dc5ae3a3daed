// Which service a tool talks to.
//
// A name on the command line is final. Without one, an ordinary user may mean a service of their
// own or the system's, so both places are looked at in this order; the tools name the socket they
// used in every error. The layout of the runtime directory is the service's
// (dataplane/control/runtime_directory.h).

#include "tools/common/control_socket.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "dataplane/control/runtime_directory.h"

namespace vrdma::tools {

std::vector<std::string> control_socket_candidates(const ServiceChoice& choice) {
    if (choice.socket) {
        return {*choice.socket};
    }
    if (choice.runtime_dir) {
        return {control::control_socket_path(*choice.runtime_dir)};
    }
    constexpr std::uint32_t kRoot = 0;
    const std::string own = control::control_socket_path(control::default_runtime_directory());
    const std::string system =
        control::control_socket_path(control::default_runtime_directory(kRoot, std::nullopt));
    return own == system ? std::vector{system} : std::vector{own, system};
}

std::string find_control_socket(const ServiceChoice& choice) {
    const auto candidates = control_socket_candidates(choice);
    const auto exists = [](const std::string& path) {
        std::error_code error;
        return std::filesystem::is_socket(path, error);
    };
    const auto it = std::find_if(candidates.begin(), candidates.end(), exists);
    return it == candidates.end() ? candidates.front() : *it;
}

}  // namespace vrdma::tools
