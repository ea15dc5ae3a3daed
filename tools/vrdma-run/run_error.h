// Why vrdma-run does not start a program. Threading: plain value.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace vrdma::run {

// Exit statuses as env(1) and the shells have them.
inline constexpr int kExitRefused = 2;
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;

struct RunError {
    std::string sentence;  // what is wrong and what to do, one sentence
    int exit_status = kExitRefused;
};

template <typename T>
using Outcome = tl::expected<T, RunError>;

[[nodiscard]] inline tl::unexpected<RunError> refuse(std::string sentence,
                                                     int exit_status = kExitRefused) {
    return tl::unexpected(RunError{std::move(sentence), exit_status});
}

}  // namespace vrdma::run
