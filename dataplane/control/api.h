#pragma once

#include <functional>
#include <string>

namespace vrdma::control {

/// One request of the control API, without its transport.
struct ApiRequest {
    std::string method;
    std::string target;  ///< path and query as sent
    std::string body;
};

struct ApiResponse {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;   ///< empty with 204
    std::string allow;  ///< methods, with 405
};

/// Called exactly once for a request, on the control thread, at once or later.
using Respond = std::function<void(ApiResponse)>;
using ApiHandler = std::function<void(const ApiRequest&, Respond)>;

/// What the API says when it says no: {"error", "expected", "remedy"}.
[[nodiscard]] ApiResponse problem(unsigned status, const std::string& error,
                                  const std::string& expected, const std::string& remedy);

}  // namespace vrdma::control
