// What NCCL is told about vRDMA devices.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vrdma::run {

struct NcclSettings {
    std::vector<std::string> given;  // "NAME=VALUE", now in the environment
    std::vector<std::string> kept;   // "NAME (where the user has set it)"
};

// Puts the variables of `file` into the environment that the user has set neither there nor in a
// configuration file of NCCL's.
[[nodiscard]] NcclSettings give_nccl_settings(const std::filesystem::path& file);

}  // namespace vrdma::run
