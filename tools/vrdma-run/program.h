// The program to run: where it is and what can be done to it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tools/vrdma-run/run_error.h"

namespace vrdma::run {

enum class Linkage : std::uint8_t {
    dynamic,  // the loader takes LD_PRELOAD
    static_,  // nothing can be preloaded
    musl,     // the loader takes LD_PRELOAD, but neither our library nor the provider works in it
    unknown,  // not an ELF file that we can read (a script whose interpreter we cannot read, say)
};

struct Program {
    std::filesystem::path path;
    Linkage linkage;        // of the program, or of the interpreter of a script
    bool gains_privileges;  // set-uid, set-gid or file capabilities that apply to this user
};

// Looks the program up as execvp does. 127: not found, 126: not executable.
[[nodiscard]] Outcome<Program> find_program(const std::string& name);

}  // namespace vrdma::run
