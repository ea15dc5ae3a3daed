// Makes the vNIC visible to this process, and so to the program it becomes.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "tools/vrdma-run/options.h"
#include "tools/vrdma-run/program.h"
#include "tools/vrdma-run/run_error.h"

namespace vrdma::run {

using Say = std::function<void(const std::string&)>;

// Changes the mounts or the environment of this process. explain: what was chosen and why (-v).
// warn: something that will probably not work, said always.
[[nodiscard]] Outcome<void> make_visible(Mode mode, const std::filesystem::path& vnic_directory,
                                         const Program& program, const Say& explain,
                                         const Say& warn);

}  // namespace vrdma::run
