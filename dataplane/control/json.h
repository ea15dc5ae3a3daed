#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

#include "dataplane/control/configuration_error.h"
#include "dataplane/control/service_model.h"

/// The result structs of the service model as the API's JSON. docs/operations.md describes it.
namespace vrdma::control {

using Json = nlohmann::ordered_json;

[[nodiscard]] Json to_json(const ServiceStatus& status);
[[nodiscard]] Json to_json(const VnicInfo& vnic);
[[nodiscard]] Json to_json(const QpInfo& qp);
[[nodiscard]] Json to_json(const MrInfo& mr);
[[nodiscard]] Json to_json(const GroupInfo& group);
[[nodiscard]] Json to_json(const PortFaults& faults);
[[nodiscard]] Json to_json(const CaptureInfo& capture);
[[nodiscard]] Json to_json(const PortInfo& port);
[[nodiscard]] Json to_json(const Counters& counters);
[[nodiscard]] Json to_json(const ConfigurationErrors& errors);

/// One line of text. Bytes that are not UTF-8 become U+FFFD: nothing throws.
[[nodiscard]] std::string serialize(const Json& json);

}  // namespace vrdma::control
