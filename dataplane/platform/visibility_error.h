// Why a device could not be made visible, for an operator. Threading: plain value.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace vrdma::platform {

struct VisibilityError {
    std::string problem;  // what is wrong, with the path and the system's reason
    std::string remedy;   // what to do about it

    [[nodiscard]] std::string sentence() const { return problem + "; " + remedy; }
};

template <typename T>
using Visibility = tl::expected<T, VisibilityError>;

// problem + ": " + the text of error number
[[nodiscard]] VisibilityError system_error(const std::string& problem, int error,
                                           const std::string& remedy);

}  // namespace vrdma::platform
