#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vrdma::control {

/// Where the service of this user lives when nobody says otherwise: /run/vrdma for root, else
/// $XDG_RUNTIME_DIR/vrdma, else /tmp/vrdma-UID. An XDG_RUNTIME_DIR that is not absolute is ignored,
/// as the XDG specification demands.
[[nodiscard]] std::string default_runtime_directory(std::uint32_t uid,
                                                    std::optional<std::string_view> xdg_runtime);

/// default_runtime_directory() of this process.
[[nodiscard]] std::string default_runtime_directory();

/// The control API's socket below a runtime directory.
[[nodiscard]] std::string control_socket_path(std::string_view runtime_directory);

/// The attach socket of a vNIC below a runtime directory.
[[nodiscard]] std::string device_socket_path(std::string_view runtime_directory,
                                             std::string_view vnic);

/// Longest path a unix socket can be bound to: sizeof(sockaddr_un::sun_path) less its zero.
constexpr std::size_t kMaxSocketPath = 107;

}  // namespace vrdma::control
