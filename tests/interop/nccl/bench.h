#pragma once

// How fast messages of one size go one way.

#include <cstdint>

#include "tests/interop/nccl/channel.h"
#include "tools/verbs_util/stream.h"

namespace vrdma::nccl_net {

struct Rate {
    double gigabytes_per_second = 0;
    double messages_per_second = 0;
};

/// Both sides call it; `sends`: this one sends. The sender's clock, from its first message until
/// the receiver says that it has all of them.
[[nodiscard]] verbs_util::Result<Rate> measure(const Channel& channel, verbs_util::Stream& partner,
                                               std::uint64_t size, std::uint64_t messages,
                                               bool sends);

}  // namespace vrdma::nccl_net
