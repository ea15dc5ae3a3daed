#pragma once

// The asynchronous events of a device, taken without waiting.

#include <infiniband/verbs.h>

#include <optional>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"

namespace vrdma::fault {

struct AsyncEvent {
    ibv_event_type type = IBV_EVENT_DEVICE_FATAL;
    std::uint32_t qpn = 0;  ///< 0 for events of no QP
};

class AsyncEvents {
  public:
    /// Makes the device's event file non-blocking.
    [[nodiscard]] static verbs_util::Result<AsyncEvents> watch(const verbs_util::Device& device);

    /// The next event, acknowledged; nothing when there is none.
    [[nodiscard]] std::optional<AsyncEvent> take() const;

  private:
    ibv_context* context_ = nullptr;
};

}  // namespace vrdma::fault
