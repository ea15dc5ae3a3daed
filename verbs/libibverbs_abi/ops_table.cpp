// Places operations into a verbs_context_ops of the layout at hand. The library copies the table
// when it is given to verbs_set_ops and skips null members, so a table may live on the stack and a
// second, smaller table may override single operations later (a QP type with another post_send,
// say).
#include "verbs/libibverbs_abi/ops_table.h"

namespace vrdma::verbs_abi {

void OpsTable::store(Op op, Slot function) {
    const std::optional<std::size_t> offset = offset_of(layout_, op);
    if (offset) {
        slots_[*offset / sizeof(Slot)] = function;
    }
}

}  // namespace vrdma::verbs_abi
