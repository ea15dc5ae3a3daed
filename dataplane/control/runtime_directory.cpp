// Where the running service is found.
//
// The service and every tool must agree on these paths without asking each other, so they are
// decided here, once, and the tools link this file. It is the address of the control API and
// depends on nothing else. The layout below the directory is part of what operators
// bind-mount into containers (docs/operations.md) and therefore does not change between releases.

#include "dataplane/control/runtime_directory.h"

#include <cstdlib>

#include <unistd.h>

namespace vrdma::control {

std::string default_runtime_directory(std::uint32_t uid,
                                      std::optional<std::string_view> xdg_runtime) {
    if (uid == 0) {
        return "/run/vrdma";
    }
    if (xdg_runtime && xdg_runtime->starts_with('/')) {
        return std::string(*xdg_runtime) + "/vrdma";
    }
    return "/tmp/vrdma-" + std::to_string(uid);
}

std::string default_runtime_directory() {
    const char* const xdg = std::getenv("XDG_RUNTIME_DIR");
    return default_runtime_directory(
        ::geteuid(), xdg == nullptr ? std::nullopt : std::optional<std::string_view>(xdg));
}

std::string control_socket_path(std::string_view runtime_directory) {
    return std::string(runtime_directory) + "/control.sock";
}

std::string device_socket_path(std::string_view runtime_directory, std::string_view vnic) {
    return std::string(runtime_directory) + "/vnic/" + std::string(vnic) + "/device.sock";
}

}  // namespace vrdma::control
