// XRC domains and target queue pairs. SRQs of a domain are in srq.h; an initiator is an ordinary
// queue pair whose requests name an SRQ.
#pragma once

#include <infiniband/verbs.h>

#include "verbs/libibverbs_abi/structs.h"

namespace vrdma::verbs {

struct Context;
struct Qp;

struct Xrcd {
    verbs_abi::VerbsXrcd base{};  // first: an ibv_xrcd* is an Xrcd*

    [[nodiscard]] static Xrcd* of(ibv_xrcd* xrcd) { return reinterpret_cast<Xrcd*>(xrcd); }
};

// The service can do XRC.
[[nodiscard]] bool has_xrc(const Context& context);

[[nodiscard]] ibv_xrcd* open_xrcd(ibv_context* context, ibv_xrcd_init_attr* attr);
int close_xrcd(ibv_xrcd* xrcd);

// The parts of create_qp_ex and destroy_qp for IBV_QPT_XRC_RECV.
[[nodiscard]] ibv_qp* create_target(ibv_context* context, ibv_qp_init_attr_ex* attr);
int destroy_target(Qp& qp);
// Another handle of a target that some process of the vNIC has made in a shared domain.
[[nodiscard]] ibv_qp* open_qp(ibv_context* context, ibv_qp_open_attr* attr);

}  // namespace vrdma::verbs
