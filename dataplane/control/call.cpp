// Answers that all resources give: the status for each kind of refusal, and what a refusal says.

#include "dataplane/control/call.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace vrdma::control {

ApiResponse ok(const Json& json, unsigned status) {
    ApiResponse response;
    response.status = status;
    response.body = serialize(json);
    return response;
}

ApiResponse failure() {
    return problem(500, "the service could not make an answer", "",
                   "see the service's log; try again");
}

ApiResponse refused(const ModelError& error) {
    unsigned status = 500;
    switch (error.refusal) {
        case Refusal::kNotFound:
            status = 404;
            break;
        case Refusal::kConflict:
            status = 409;
            break;
        case Refusal::kInvalid:
            status = 400;
            break;
        case Refusal::kExhausted:
            status = 507;
            break;
        case Refusal::kFailed:
            status = 500;
            break;
    }
    return problem(status, error.error, error.expected, error.remedy);
}

ApiResponse refused(const ConfigurationErrors& errors) {
    const bool conflict = std::all_of(errors.begin(), errors.end(), [](const auto& error) {
        return error.fault == Fault::kDuplicate;
    });
    const ConfigurationError& first = errors.front();
    const std::string key = first.key.empty() ? "the body" : first.key;
    Json json = {{"error", fmt::format("{} is {}", key, first.found)},
                 {"expected", first.expected},
                 {"remedy", first.remedy},
                 {"details", to_json(errors)}};
    return ok(json, conflict ? 409 : 400);
}

ApiResponse problem(unsigned status, const std::string& error, const std::string& expected,
                    const std::string& remedy) {
    return ok({{"error", error}, {"expected", expected}, {"remedy", remedy}}, status);
}

}  // namespace vrdma::control
