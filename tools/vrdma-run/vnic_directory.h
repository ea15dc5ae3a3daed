// Where a vNIC is found below a service's runtime directory, and whether it may be used.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/vrdma-run/run_error.h"

namespace vrdma::run {

// The runtime directories to look in: the one given, else those where a service of this user or of
// the machine lives.
[[nodiscard]] std::vector<std::filesystem::path> runtime_directories(
    const std::optional<std::string>& given);

// The directory of the vNIC (the root of its device tree), after its service was seen to answer
// there. Refuses when no service runs, when there is no such vNIC, and when this user may not use
// it.
[[nodiscard]] Outcome<std::filesystem::path> find_vnic(
    const std::vector<std::filesystem::path>& runtime_directories, const std::string& vnic);

}  // namespace vrdma::run
