// Where the other parts of this vrdma are: the provider and the preload library.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tools/vrdma-run/run_error.h"

namespace vrdma::run {

// What to put into RDMAV_DRIVERS ("DIR/libvrdma"); nothing when libibverbs finds the installed
// provider by itself. Looks at the directory given, then around this program (a build or install
// tree), then at libibverbs' configuration.
[[nodiscard]] Outcome<std::optional<std::string>> provider_driver(
    const std::optional<std::string>& given_directory);

// What NCCL needs to be told about vRDMA devices.
[[nodiscard]] Outcome<std::filesystem::path> nccl_settings_file();

// The absolute path of libvrdma-preload.so.
[[nodiscard]] Outcome<std::filesystem::path> preload_library();

}  // namespace vrdma::run
