// The receiving side of a queue pair before packets that a fuzzer makes; the first byte says of
// which service.
#include "tests/fuzz/responder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    vrdma::fuzz::Tape tape(data, size);
    const bool uc = (tape.byte() & 1) != 0;
    vrdma::fuzz::fuzz_transport(tape, uc);
    return 0;
}
