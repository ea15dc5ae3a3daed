// Which frames a capture keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/wire/address.h"
#include "dataplane/wire/pcapng.h"

namespace vrdma::net {

// Which multicast groups the queue pairs of a worker belong to. Asked on that worker.
class QueuePairGroups {
  public:
    virtual ~QueuePairGroups() = default;
    [[nodiscard]] virtual bool belongs(uint32_t qpn, const wire::Address& group) const = 0;
};

struct CaptureFilter {
    // A queue pair of this host. Packets do not say who sent them, except datagrams: those of a
    // connected queue pair are known by its peer. What is for a group is for those that belong to
    // it now.
    struct QueuePair {
        uint32_t own = 0;
        std::optional<uint32_t> connected_to{};
    };
    std::optional<QueuePair> queue_pair{};
    std::optional<wire::Address> peer{};  // IP or ARP, to it or from it
};

// A frame has to pass all that is set; one that is too short to tell does not. Anything at all may
// be in `frame`. Without `groups` the queue pair belongs to none.
[[nodiscard]] bool passes(const CaptureFilter& filter, std::span<const std::byte> frame,
                          wire::CaptureDirection direction,
                          const QueuePairGroups* groups = nullptr);

}  // namespace vrdma::net
