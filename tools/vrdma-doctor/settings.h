// The variables that decide which network a program takes, from all places that count.
#pragma once

#include <filesystem>
#include <string>

#include "tools/vrdma-doctor/facts.h"

namespace vrdma::doctor {

// What the environment and the configuration files of NCCL and UCX say to a program that is started
// here. Files that are not there say nothing.
[[nodiscard]] Settings read_settings(const char* const* environment,
                                     const std::filesystem::path& system_directory = "/etc");

// Lines NAME=VALUE, as NCCL (`#` at the start) and UCX (`;` and sections besides) read them. Adds
// those that `settings` does not have.
void add_settings_of(const std::filesystem::path& file, Settings& settings);

}  // namespace vrdma::doctor
