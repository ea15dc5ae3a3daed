// Completions when the device is gone: every request that was posted and has no completion is
// flushed, once, from the provider's own rings.
#pragma once

#include "driver/abi/cqe.h"

namespace vrdma::verbs {

struct Cq;

// Under the CQ's lock, when its ring is empty: the next flushed request of one of its queue pairs.
// False when nothing is outstanding.
[[nodiscard]] bool make_up_completion(Cq& cq, vrdma_cqe& cqe);
// The same question without taking one. Not under the CQ's lock.
[[nodiscard]] bool has_outstanding_requests(Cq& cq);

}  // namespace vrdma::verbs
