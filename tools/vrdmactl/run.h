#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace vrdma::vrdmactl {

/// The whole program: understands the arguments (without the program's name), asks the service,
/// prints the answer. Returns an ExitCode.
[[nodiscard]] int run(const std::vector<std::string>& arguments, std::ostream& out,
                      std::ostream& err);

}  // namespace vrdma::vrdmactl
