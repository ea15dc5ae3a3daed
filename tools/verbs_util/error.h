#pragma once

// What went wrong in a measuring or verifying program, in the three parts a person needs: what was
// attempted, what the system answered, what to do about it. Every program that uses verbs_util
// exits with the code of the kind of its first error (listed in its man page or --help).

#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace vrdma::verbs_util {

/// The value is the exit code of the program.
enum class ErrorKind : int {
    kUsage = 1,         ///< the options contradict each other or the device
    kNoDevice = 2,      ///< no RDMA device, or it cannot be opened
    kSetup = 3,         ///< creating or connecting a verbs object, memory or a thread failed
    kTransfer = 4,      ///< a work request failed or never completed
    kVerification = 5,  ///< data, a completion or a count is not what it must be
    kPartner = 6,       ///< the other process cannot be reached or went away
};

struct Error {
    ErrorKind kind = ErrorKind::kSetup;
    std::string what;      ///< what was attempted, with the values that matter
    int error_number = 0;  ///< errno of the failed call, 0 when there is none
    std::string remedy;    ///< what to do; may be empty

    /// "what: strerror; remedy" on one line.
    [[nodiscard]] std::string message() const;
    [[nodiscard]] int exit_code() const { return static_cast<int>(kind); }
};

template <typename T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorKind kind, std::string what,
                                                std::string remedy = {}) {
    return tl::make_unexpected(Error{kind, std::move(what), 0, std::move(remedy)});
}

/// For a call that reports through errno or returns an errno value.
[[nodiscard]] tl::unexpected<Error> fail_errno(ErrorKind kind, std::string what, int error_number,
                                               std::string remedy = {});

/// The advice that goes with an errno from creating a verbs object; empty when there is none.
[[nodiscard]] std::string remedy_for(int error_number);

}  // namespace vrdma::verbs_util
