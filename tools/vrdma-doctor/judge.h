// From facts to findings. Nothing here looks at the machine.
#pragma once

#include "tools/vrdma-doctor/facts.h"
#include "tools/vrdma-doctor/finding.h"

namespace vrdma::doctor {

// In the order in which they are to be read: what is wrong first hides what comes after it.
[[nodiscard]] Findings judge(const Facts& facts);

// The parts of it.
void judge_device(const Facts& facts, Findings& findings);
void judge_memory(const Facts& facts, Findings& findings);
void judge_limits(const Facts& facts, Findings& findings);
void judge_settings(const Facts& facts, Findings& findings);
void judge_program(const Facts& facts, Findings& findings);
void judge_peer(const Facts& facts, Findings& findings);

}  // namespace vrdma::doctor
