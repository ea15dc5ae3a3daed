#pragma once

#include <string_view>

#include <tl/expected.hpp>

#include "dataplane/control/configuration_error.h"
#include "dataplane/control/service_model.h"

namespace vrdma::control {

/// Fewer bytes would end before the transport headers of some packets.
constexpr std::uint32_t kLeastSnapLength = 64;
constexpr std::uint32_t kMostSnapLength = 65536;

/// The body of a request that starts a capture: {}, or some of "snaplen", "count", and "qp" or
/// "peer".
[[nodiscard]] tl::expected<CaptureRequest, ConfigurationErrors> parse_capture_request(
    std::string_view json);

}  // namespace vrdma::control
