#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

/// Reading the service's JSON without trusting that a field is there.
namespace vrdma::vrdmactl {

using Json = nlohmann::ordered_json;

/// A member of an object, or null.
[[nodiscard]] const Json& member(const Json& object, std::string_view key);

/// A member as text: text as it is, numbers and booleans in words, anything else "-".
[[nodiscard]] std::string text_of(const Json& object, std::string_view key);

/// A member as a number; 0 if it is none.
[[nodiscard]] std::uint64_t number_of(const Json& object, std::string_view key);

/// The texts of an array, with `separator` between; "-" if there is none.
[[nodiscard]] std::string join(const Json& array, std::string_view separator);

}  // namespace vrdma::vrdmactl
