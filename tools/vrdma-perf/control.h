#pragma once

// What client and server say to each other, as JSON (verbs_util/stream.h carries it).
//
//     client                                server
//     {"request":"open", ...}               {"ok":true, "endpoint":{...}}
//     {"request":"connect", "endpoint":{}}  {"ok":true}
//     {"request":"begin", "workload":{}}    {"ok":true}
//     {"request":"end", "sent":N}           {"ok":true, "messages":N, "bytes":N}
//     {"request":"prepare"|"check", ...}    {"ok":true}
//
// A failed request is answered with {"error":{...}} instead. Closing the connection ends it all.

#include <nlohmann/json.hpp>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/endpoint.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

inline constexpr int kControlVersion = 1;

[[nodiscard]] nlohmann::json to_json(const EndpointOptions& options);
[[nodiscard]] verbs_util::Result<EndpointOptions> endpoint_options_from(const nlohmann::json& json);

[[nodiscard]] nlohmann::json to_json(const EndpointDescription& description);
[[nodiscard]] verbs_util::Result<EndpointDescription> endpoint_description_from(
    const nlohmann::json& json);

/// `buffer_bytes` of the responder bounds the layout.
[[nodiscard]] nlohmann::json to_json(const Workload& workload);
[[nodiscard]] verbs_util::Result<Workload> workload_from(const nlohmann::json& json,
                                                         const EndpointOptions& limits);

[[nodiscard]] nlohmann::json to_json(const VerifyBatch& batch);
[[nodiscard]] verbs_util::Result<VerifyBatch> batch_from(const nlohmann::json& json,
                                                         const Workload& workload);

[[nodiscard]] nlohmann::json to_json(const verbs_util::Error& error);
/// The error inside of an answer, marked as coming from the other side; otherwise the answer.
[[nodiscard]] verbs_util::Result<nlohmann::json> accept_answer(nlohmann::json answer);

}  // namespace vrdma::perf
