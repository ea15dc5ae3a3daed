// Paths to a peer: ibv_ah_attr on the program's side, vrdma_address on the device's.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

#include "driver/abi/command.h"

namespace vrdma::verbs {

struct Context;

inline constexpr std::uint8_t kPort = 1;  // a vNIC has one port

// nullptr: the attributes name a path this device can take. Otherwise why not.
[[nodiscard]] const char* check_address(const Context& context, const ibv_ah_attr& attr);

[[nodiscard]] vrdma_address to_device(const ibv_ah_attr& attr);
[[nodiscard]] ibv_ah_attr from_device(const vrdma_address& address, std::uint8_t port);

}  // namespace vrdma::verbs
