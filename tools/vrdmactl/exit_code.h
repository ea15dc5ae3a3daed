#pragma once

namespace vrdma::vrdmactl {

/// What vrdmactl ends with; scripts rely on it (vrdmactl(1)).
enum ExitCode : int {
    kDone = 0,
    kRefused = 1,  ///< the service said no, or cannot be reached
    kUsage = 2,    ///< the command line is wrong
};

}  // namespace vrdma::vrdmactl
