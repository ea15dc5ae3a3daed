// Management datagrams: what comes for queue pair 1 of a vNIC and what leaves in its name. The
// device only carries them; what they say is connection management's business, on another thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dataplane/wire/address.h"
#include "dataplane/wire/cm_message.h"

namespace vrdma {

struct Mad {
    uint32_t vnic = 0;  // whose queue pair 1
    wire::Address own;  // the vNIC's address on the wire
    wire::Address peer;
    std::array<std::byte, wire::kMadBytes> bytes{};
};

// Gets what arrives, on the worker's thread.
class MadReceiver {
  public:
    virtual ~MadReceiver() = default;
    // False: there is no room.
    [[nodiscard]] virtual bool receive(const Mad& mad) = 0;
};

// Whether a neighbour can be reached through the port of a network, as far as is known.
enum class Reach : uint8_t {
    Asking,       // it has been asked for its address
    Reachable,    // it answered
    Unreachable,  // it did not
    NoPort,       // the network has none
    NoRoute,      // a group, another family, or outside the prefix and no gateway
    Full,         // every entry of the neighbour table is in use
};

}  // namespace vrdma
