// Multicast groups of datagram queue pairs.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

namespace vrdma::verbs {

struct Context;

// The service knows multicast.
[[nodiscard]] bool has_multicast(const Context& context);

// 0, or an errno. A LID means nothing on Ethernet.
int attach_mcast(ibv_qp* qp, const ibv_gid* gid, std::uint16_t lid);
int detach_mcast(ibv_qp* qp, const ibv_gid* gid, std::uint16_t lid);

}  // namespace vrdma::verbs
