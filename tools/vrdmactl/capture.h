#pragma once

#include <iosfwd>
#include <string>

#include "tools/vrdmactl/invocation.h"

namespace vrdma::vrdmactl {

/// Starts the capture that invocation.request asks for, fetches it into the file until it is over,
/// and says what was captured. Returns an ExitCode.
[[nodiscard]] int run_capture(const Invocation& invocation, const std::string& socket,
                              std::ostream& out, std::ostream& err);

/// The summary of one for a person.
[[nodiscard]] std::string render_capture(const Json& capture);

}  // namespace vrdma::vrdmactl
