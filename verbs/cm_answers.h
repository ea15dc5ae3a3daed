// What connection management tells a program about queue pairs and addresses.
#pragma once

#include <rdma/rdma_user_cm.h>

#include <cstdint>

#include "verbs/cm_channel.h"

namespace vrdma::verbs {

inline constexpr std::uint32_t kDatagramQkey = 0x01234567;  // RDMA_UDP_QKEY
// The status of a datagram resolution that failed (IBA 12.11.2).
inline constexpr int kSidrUnsupported = 1;
inline constexpr int kSidrReject = 2;

[[nodiscard]] ib_uverbs_ah_attr address_handle(const CmId& id);
[[nodiscard]] std::uint32_t random_psn();  // 24 bits, not guessable

}  // namespace vrdma::verbs
