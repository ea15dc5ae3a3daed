// Which worker a received frame is for.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/port/packet_port.h"

namespace vrdma {

class PacketSteering {
  public:
    // Every worker gets a copy: what all of them have to learn from (ARP).
    static constexpr uint16_t kEveryWorker = UINT16_MAX;

    virtual ~PacketSteering() = default;
    // Any worker's thread. Sets workers[i] for frames[i]: below the number of workers, or
    // kEveryWorker.
    virtual void steer(std::span<const PacketBuffer> frames, std::span<uint16_t> workers) const = 0;
};

}  // namespace vrdma
