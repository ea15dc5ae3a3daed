#pragma once

// The command line: a role and its options.

#include <variant>

#include "tests/e2e/fault_client/bystander.h"
#include "tests/e2e/fault_client/churn.h"
#include "tests/e2e/fault_client/session.h"

namespace vrdma::fault {

enum class Role : std::uint8_t { kVictim, kPartner, kBystander, kChurn };

struct Options {
    Role role = Role::kVictim;
    SessionOptions session;
    BystanderOptions bystander;
    ChurnOptions churn;
};

[[nodiscard]] const char* role_name(Role role);

/// Either the options, or the exit code after help or a usage error has been printed.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace vrdma::fault
