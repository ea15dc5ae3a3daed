// Memory windows.
#pragma once

#include <infiniband/verbs.h>

namespace vrdma::verbs {

struct Context;

// The service knows memory windows.
[[nodiscard]] bool has_windows(const Context& context);

[[nodiscard]] ibv_mw* alloc_mw(ibv_pd* pd, ibv_mw_type type);
int dealloc_mw(ibv_mw* mw);
// Type 1: posts the bind to the queue pair and gives the window its next key.
int bind_mw(ibv_qp* qp, ibv_mw* mw, ibv_mw_bind* bind);

}  // namespace vrdma::verbs
