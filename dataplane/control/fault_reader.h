#pragma once

#include <optional>
#include <string_view>

#include <tl/expected.hpp>

#include "dataplane/control/configuration_error.h"
#include "dataplane/control/service_model.h"

namespace vrdma::control {

constexpr std::uint32_t kMostReorder = 256;
constexpr std::chrono::seconds kMostFaultDelay{1};

/// The body of a request that changes a port: {"faults": {...}} or {"faults": "off"}.
[[nodiscard]] tl::expected<std::optional<PortFaults>, ConfigurationErrors> parse_fault_request(
    std::string_view json);

}  // namespace vrdma::control
