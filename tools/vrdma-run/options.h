// The command line of vrdma-run. Threading: plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace vrdma::run {

enum class Mode : std::uint8_t {
    automatic,  // mount where that works, else preload
    mount,
    preload,
};

struct Options {
    std::string vnic;
    std::optional<std::string> runtime_directory;
    std::optional<std::string> provider_directory;
    Mode mode = Mode::automatic;
    bool verbose = false;
    std::vector<std::string> command;  // the program and its arguments, not empty
};

// The program ends here: after --help, or after a mistake that was reported.
struct Finished {
    int exit_status;
};

// Prints help and mistakes itself.
[[nodiscard]] std::variant<Options, Finished> parse_options(int argc, const char* const* argv);

[[nodiscard]] const char* to_string(Mode mode);

}  // namespace vrdma::run
