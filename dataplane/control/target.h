#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vrdma::control {

/// The parts of a request target such as /v1/qps?vnic=a&limit=5.
struct Target {
    std::vector<std::string> path;  ///< "v1", "qps"
    std::vector<std::pair<std::string, std::string>> query;

    /// The value of a query key; nothing if it is not there.
    [[nodiscard]] std::optional<std::string> find(std::string_view key) const;
};

/// Splits a target. Nothing if it is not an absolute path, has an empty segment, a key twice, or a
/// percent sign: no name of this API needs one.
[[nodiscard]] std::optional<Target> parse_target(std::string_view text);

}  // namespace vrdma::control
