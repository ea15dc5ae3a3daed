// The vNIC's one port.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

namespace vrdma::verbs {

int query_port(ibv_context* context, std::uint8_t port, ibv_port_attr* attr);
// rdma-core 62 and later: the speed in units of 100 Mb/s.
int query_port_speed(ibv_context* context, std::uint32_t port, std::uint64_t* speed);

}  // namespace vrdma::verbs
