// What the provider's log lines say (VRDMA_LOG=info).
#pragma once

#include <string>
#include <string_view>

#include "tools/vrdma-doctor/facts.h"

namespace vrdma::doctor {

// The kind and the reason of the registration that wrote these lines. A registration in several
// ranges has the kind of its slowest.
[[nodiscard]] Registration registration_in(std::string_view log);

// A line's worth of it: the last line, without the line's end.
[[nodiscard]] std::string last_line(std::string_view log);

}  // namespace vrdma::doctor
