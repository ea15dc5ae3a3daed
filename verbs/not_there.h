// What this device does not do.
#pragma once

#include "verbs/libibverbs_abi/ops_table.h"

namespace vrdma::verbs {

// Operations that answer EOPNOTSUPP, as the library's own do, and say in the log which one it was.
// What the device does do is set afterwards.
void set_refusals(verbs_abi::OpsTable& ops);

}  // namespace vrdma::verbs
