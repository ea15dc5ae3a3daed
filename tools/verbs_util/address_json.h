#pragma once

// QueuePairAddress as JSON, for the exchange between two processes.

#include <nlohmann/json.hpp>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::verbs_util {

[[nodiscard]] nlohmann::json address_to_json(const QueuePairAddress& address);
/// Fails with kPartner, naming the field, when the JSON is not a complete address.
[[nodiscard]] Result<QueuePairAddress> address_from_json(const nlohmann::json& json);

/// An unsigned field of a message, within [0, limit].
[[nodiscard]] Result<std::uint64_t> number_field(const nlohmann::json& json, const char* name,
                                                 std::uint64_t limit);

/// A text field of a message; empty when it is missing or no text.
[[nodiscard]] std::string text_field(const nlohmann::json& json, const char* name);
/// An object in a message; an empty object when it is missing or no object.
[[nodiscard]] const nlohmann::json& object_field(const nlohmann::json& json, const char* name);

}  // namespace vrdma::verbs_util
