#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "dataplane/control/api.h"
#include "dataplane/control/configuration_error.h"
#include "dataplane/control/json.h"
#include "dataplane/control/service_model.h"
#include "dataplane/control/target.h"

/// What the functions behind the routes have in common: a request on its way, and its answers.
namespace vrdma::control {

/// One request on its way through a resource's function.
struct Call {
    ServiceModel& model;
    const ApiRequest& request;
    const Target& target;
    std::string name;  ///< what stands for the first "*" of the path: NAME or QPN
    Respond respond;
};

[[nodiscard]] ApiResponse ok(const Json& json, unsigned status = 200);
/// A bug, or no memory: 500.
[[nodiscard]] ApiResponse failure();
[[nodiscard]] ApiResponse refused(const ModelError& error);
[[nodiscard]] ApiResponse refused(const ConfigurationErrors& errors);

/// Calls `answer` and responds with its result; whatever it throws becomes a 500.
template <class F>
void guarded(const Respond& respond, F answer) noexcept {
    try {
        ApiResponse response;
        try {
            response = answer();
        } catch (const std::exception&) {
            response = failure();
        }
        respond(std::move(response));
    } catch (const std::exception&) {  // not even that: the server's time limit answers
    }
}

/// Responds with `make(value)`, or with the model's refusal.
template <class T, class F>
Done<T> respond_with(const Call& call, F make) {
    return [respond = call.respond, make = std::move(make)](Outcome<T> outcome) {
        guarded(respond, [&] { return outcome ? make(*outcome) : refused(outcome.error()); });
    };
}

template <class T>
Done<T> respond_json(const Call& call, unsigned status = 200) {
    return respond_with<T>(call, [status](const T& value) { return ok(to_json(value), status); });
}

}  // namespace vrdma::control
