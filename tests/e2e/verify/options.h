#pragma once

// What the user asked for.

#include <cstdint>
#include <string>
#include <variant>

#include "tests/e2e/verify/limits.h"
#include "tools/verbs_util/error.h"

namespace vrdma::verify {

struct Options {
    std::string device;       ///< of side A; empty: the first
    std::string peer_device;  ///< of side B; empty: the same
    int gid_index = -1;
    std::uint32_t pairs = 2;
    bool threads = false;  ///< both sides of a pair in one process
    std::uint64_t operations = 100'000;
    std::uint64_t seed = 0;
    std::uint32_t rounds_per_epoch = 200;
    bool progress = false;
    Limits limits;
};

/// Either the options, or the exit code after help or a usage error has been printed.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace vrdma::verify
