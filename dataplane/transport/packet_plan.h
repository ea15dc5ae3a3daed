// One packet to be sent: its headers are final, its payload is still where it comes from.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/wire/build.h"

namespace vrdma::transport {

// Where the payload comes from.
enum class PayloadSource : uint8_t {
    None,     // no payload
    Message,  // bytes [offset, offset + length) of the message `message_id`
    Memory,   // a READ response: `length` bytes at `address` under `rkey`, checked again by the
              // caller; if they cannot be had, response_failed() instead of sending this packet
};

struct PacketPlan {
    wire::HeaderFields fields;
    PayloadSource source = PayloadSource::None;
    bool retransmission = false;
    uint32_t message_id = 0;
    uint32_t offset = 0;
    uint32_t length = 0;
    uint64_t address = 0;
    uint32_t rkey = 0;
    // READ response: the whole range that the request named, for the access check.
    uint64_t request_address = 0;
    uint32_t request_length = 0;
    uint32_t request_srqn = 0;  // XRC
};

// For callers who do not mind a copy: the plan that fill(plan) makes, unless it says false.
template <class F>
[[nodiscard]] std::optional<PacketPlan> polled(F fill) {
    std::optional<PacketPlan> plan(std::in_place);
    if (!fill(*plan)) {
        plan.reset();
    }
    return plan;
}

}  // namespace vrdma::transport
