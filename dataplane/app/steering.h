// Which worker a frame from a port is for: RoCEv2 packets go to the shard of their queue pair, what
// concerns neighbours to everybody, the rest, and queue pair 1, to the worker that answers.
#pragma once

#include <cstdint>

#include "dataplane/base/permutation.h"
#include "dataplane/port/packet_steering.h"

namespace vrdma::app {

class QueuePairSteering final : public PacketSteering {
  public:
    // As in ShardConfig.
    QueuePairSteering(uint32_t shards, uint64_t qpn_key) : shards_(shards), qpns_(qpn_key) {}

    void steer(std::span<const PacketBuffer> frames, std::span<uint16_t> workers) const override;

  private:
    const uint32_t shards_;
    const Permutation24 qpns_;
};

}  // namespace vrdma::app
