#pragma once

// Owners of verbs objects: unique_ptr with the destroy call of the object. The order in which the
// holder declares them is the order of creation; destruction runs backwards, as verbs demands.
// A failing destroy call cannot be handled by anyone at that point and is ignored.

#include <infiniband/verbs.h>

#include <memory>

namespace vrdma::verbs_util {

struct DestroyVerbsObject {
    void operator()(ibv_context* object) const { (void)ibv_close_device(object); }
    void operator()(ibv_pd* object) const { (void)ibv_dealloc_pd(object); }
    void operator()(ibv_mr* object) const { (void)ibv_dereg_mr(object); }
    void operator()(ibv_cq* object) const { (void)ibv_destroy_cq(object); }
    void operator()(ibv_qp* object) const { (void)ibv_destroy_qp(object); }
    void operator()(ibv_srq* object) const { (void)ibv_destroy_srq(object); }
    void operator()(ibv_ah* object) const { (void)ibv_destroy_ah(object); }
    void operator()(ibv_comp_channel* object) const { (void)ibv_destroy_comp_channel(object); }
};

template <typename T>
using Owned = std::unique_ptr<T, DestroyVerbsObject>;

}  // namespace vrdma::verbs_util
