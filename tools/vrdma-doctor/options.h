// What the user asked for.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace vrdma::doctor {

struct Options {
    std::string program;  // empty: none
    std::string peer;     // empty: none
    std::uint16_t port = 0;
    double seconds = 2;  // of measuring; 0: do not
    bool serve = false;
    bool json = false;
};

// Either the options, or the exit code after help, the version or a usage error has been printed.
[[nodiscard]] std::variant<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace vrdma::doctor
