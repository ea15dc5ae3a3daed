// The little languages in which NCCL and UCX are told what to use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vrdma::doctor {

[[nodiscard]] std::vector<std::string> split(std::string_view list);

// NCCL_IB_HCA: names by their beginnings, `=` for whole names, `^` for all others, each with an
// optional `:port`. Whether port 1 of `device` is used.
[[nodiscard]] bool nccl_takes_device(std::string_view setting, std::string_view device);

// UCX_NET_DEVICES: names with ports, `all`, `^` for all others.
[[nodiscard]] bool ucx_takes_device(std::string_view setting, std::string_view device);

// UCX_TLS: transports and their aliases, `all`, `^` for all others. Whether rc_verbs or ud_verbs is
// left.
[[nodiscard]] bool ucx_takes_verbs(std::string_view setting);

}  // namespace vrdma::doctor
