#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

/// The API's answers as text for a person. A field that is missing shows as "-": a newer tool can
/// read an older service.
namespace vrdma::vrdmactl {

using Json = nlohmann::ordered_json;

[[nodiscard]] std::string render_status(const Json& status);
[[nodiscard]] std::string render_vnics(const Json& answer);
[[nodiscard]] std::string render_ports(const Json& answer);
[[nodiscard]] std::string render_port(const Json& port, bool all);
[[nodiscard]] std::string render_vnic(const Json& vnic);
[[nodiscard]] std::string render_qps(const Json& answer);
[[nodiscard]] std::string render_qp(const Json& qp);
/// The faults of a port in the words of "vrdmactl port fault": "drop=0.01 seed=1", or "off".
[[nodiscard]] std::string faults_text(const Json& faults);
/// The capture of a port: which one and how much, or "off".
[[nodiscard]] std::string capture_text(const Json& capture);
[[nodiscard]] std::string render_mrs(const Json& answer);
[[nodiscard]] std::string render_groups(const Json& answer);

/// Leaves out counters that are zero unless `all`.
[[nodiscard]] std::string render_counters(const Json& answer, bool all);

/// {"error", "expected", "remedy"} as one sentence.
[[nodiscard]] std::string render_problem(const Json& problem);

}  // namespace vrdma::vrdmactl
