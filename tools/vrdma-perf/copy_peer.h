#pragma once

// How fast this machine copies memory: the limit of any one-copy transfer.

#include <cstddef>
#include <cstdint>

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/tsc.h"
#include "tools/vrdma-perf/initiator.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

/// Copies 1 MiB blocks with non-temporal stores from one part of memory to another, both larger
/// than any cache. One operation is one block.
class CopyPeer {
  public:
    static constexpr std::size_t kBlock = std::size_t{1} << 20;

    /// `cache_bytes` of the last level; 0 when unknown.
    [[nodiscard]] static verbs_util::Result<CopyPeer> create(std::uint64_t cache_bytes);

    [[nodiscard]] verbs_util::Result<RunResult> measure(const Budget& budget);

  private:
    verbs_util::Buffer source_;
    verbs_util::Buffer target_;
    std::size_t blocks_ = 0;
    std::size_t next_ = 0;
};

/// Both 16-byte aligned, a multiple of 64 bytes.
void copy_non_temporal(void* to, const void* from, std::size_t bytes);

}  // namespace vrdma::perf
