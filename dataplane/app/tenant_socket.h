// A listening socket of a vNIC, for its tenants: made with the configured rights.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "dataplane/control/configuration.h"
#include "dataplane/control/socket_claim.h"

namespace vrdma::app {

struct TenantSocket {
    control::SocketClaim claim;
    int descriptor;  // listens, does not block; the taker closes it

    [[nodiscard]] static tl::expected<TenantSocket, control::ClaimError> open(
        const std::string& path, const control::SocketAccess& access);
};

// Beside the attach socket at `path`: connection management.
[[nodiscard]] std::string connection_socket_path(const std::string& path);

}  // namespace vrdma::app
