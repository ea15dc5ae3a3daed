#pragma once

// Work requests that are built once and aimed before each post.

#include <infiniband/verbs.h>

#include <cstdint>
#include <vector>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/endpoint.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

class SendRequests {
  public:
    /// `list` requests for `workload`, towards the buffer of `remote`.
    SendRequests(Endpoint& endpoint, const EndpointDescription& remote, const Workload& workload,
                 std::uint32_t list);

    /// Points request `index` at `slot` on both sides.
    void aim(std::uint32_t index, std::uint64_t slot);
    /// Points it at the next slot of the cycle.
    void aim_next(std::uint32_t index) {
        aim(index, next_slot_);
        next_slot_ = next_slot_ + 1 == slots_ ? 0 : next_slot_ + 1;
    }
    [[nodiscard]] ibv_send_wr& operator[](std::uint32_t index) { return requests_[index]; }
    /// Posts the first `count` requests, which have been aimed, as one list.
    [[nodiscard]] verbs_util::Result<void> post(std::uint32_t qp_index, std::uint32_t count);

  private:
    Endpoint& endpoint_;
    Operation operation_;
    std::vector<ibv_send_wr> requests_;
    std::vector<ibv_sge> segments_;
    std::uint64_t next_slot_ = 0;
    std::uint64_t slots_;
    std::uint64_t stride_;
    std::uint64_t local_base_;
    std::uint64_t remote_base_;
};

}  // namespace vrdma::perf
