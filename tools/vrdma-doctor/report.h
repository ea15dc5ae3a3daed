// The findings for people and for programs.
#pragma once

#include <string>

#include "tools/vrdma-doctor/facts.h"
#include "tools/vrdma-doctor/finding.h"

namespace vrdma::doctor {

// One line for a finding, one for its remedy, and the verdict at the end.
[[nodiscard]] std::string as_text(const Findings& findings);

// The document that vrdma-doctor(1) describes.
[[nodiscard]] std::string as_json(const Facts& facts, const Findings& findings);

}  // namespace vrdma::doctor
