// What the responder target feeds; it ends the process when an invariant does not hold.
#pragma once

#include "tests/fuzz/tape.h"

namespace vrdma::fuzz {

// The transport's receiving halves.
void fuzz_transport(Tape& tape, bool uc);

}  // namespace vrdma::fuzz
