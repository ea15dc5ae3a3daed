// A program that stops with "operation not supported" rarely says which one. The library answers so
// for every operation that is not set, in silence; these are set only to name themselves.
//
// Importing: an object belongs to the connection of the process that made it, and the descriptor
// that programs hand to each other for ibv_import_device (cmd_fd) leads to no connection. The
// library refuses that one itself, because there is no operation to ask.
#include "verbs/not_there.h"

#include <cerrno>
#include <type_traits>

#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

using verbs_abi::Op;

template <Op op, typename Signature>
struct Refusal;

template <Op op, typename Result, typename... Arguments>
struct Refusal<op, Result(Arguments...)> {
    static Result answer(Arguments...) {
        const int error =
            fail(verbs_abi::name_of(op).data(), EOPNOTSUPP, "this device does not do that");
        if constexpr (std::is_pointer_v<Result>) {
            return nullptr;
        } else {
            return error;
        }
    }
};

template <Op... operations>
void refuse(verbs_abi::OpsTable& ops) {
    (ops.set<operations>(
         &Refusal<operations, typename verbs_abi::OpSignature<operations>::Type>::answer),
     ...);
}

}  // namespace

void set_refusals(verbs_abi::OpsTable& ops) {
    refuse<Op::advise_mr, Op::alloc_dm, Op::alloc_null_mr, Op::create_counters, Op::create_flow,
           Op::create_flow_action_esp, Op::create_rwq_ind_table, Op::create_wq, Op::import_dm,
           Op::import_mr, Op::import_pd, Op::modify_cq, Op::modify_qp_rate_limit, Op::post_srq_ops,
           Op::query_ece, Op::reg_dm_mr, Op::set_ece>(ops);
}

}  // namespace vrdma::verbs
