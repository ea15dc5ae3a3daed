// How the device reaches a tenant that sleeps. Called by a worker; never blocks.
#pragma once

#include <cstdint>

#include "driver/abi/command.h"

namespace vrdma {

class Notifier {
  public:
    virtual ~Notifier() = default;
    // One completion event on a channel. False when the channel's socket is full: ask again later.
    // A channel whose other end is gone swallows the event (true).
    [[nodiscard]] virtual bool completion(int channel_file, uint64_t cookie) = 0;
    // One asynchronous event on a context's event socket. False when the socket is full.
    [[nodiscard]] virtual bool asynchronous(int event_file, const vrdma_event& event) = 0;
};

}  // namespace vrdma
