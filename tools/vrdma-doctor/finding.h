// One thing the doctor has to say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vrdma::doctor {

enum class Level : std::uint8_t {
    ok,
    note,     // good to know; nothing will fail because of it
    warning,  // vRDMA will be used, but slower or not by everything
    error,    // something will not use vRDMA at all
};

struct Finding {
    std::string id;  // stable: scripts may depend on it; vrdma-doctor(1) lists them
    Level level = Level::ok;
    std::string text;    // what was found
    std::string remedy;  // what to do; empty at ok
};

using Findings = std::vector<Finding>;

inline constexpr int kExitFine = 0;
inline constexpr int kExitWarnings = 1;
inline constexpr int kExitErrors = 2;
inline constexpr int kExitUsage = 3;

[[nodiscard]] std::string_view name_of(Level level);
[[nodiscard]] int exit_code(const Findings& findings);

}  // namespace vrdma::doctor
