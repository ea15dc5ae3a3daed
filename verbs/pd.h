// Protection domains.
#pragma once

#include <infiniband/verbs.h>

namespace vrdma::verbs {

[[nodiscard]] ibv_pd* alloc_pd(ibv_context* context);
int dealloc_pd(ibv_pd* pd);

}  // namespace vrdma::verbs
