// The sending side of one UC queue pair (IBA 9.8.1): messages in, packets out, no answers. A
// message is complete when its last packet was polled.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataplane/transport/limits.h"
#include "dataplane/transport/message.h"
#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/psn.h"

namespace vrdma::transport {

struct UcSenderConfig {
    uint32_t destination_qpn = 0;
    Psn initial_psn;           // sq_psn
    uint32_t path_mtu = 1024;  // bytes: 256, 512, 1024, 2048 or 4096
};

class UcSender {
  public:
    UcSender() = default;  // all zero until reset(): for the arena
    void reset(const UcSenderConfig& config);

    // One message at a time.
    [[nodiscard]] bool can_post() const { return !posted_ && !completed_; }
    // SEND or WRITE, with or without immediate data.
    void post(const Message& message);
    // Into `plan`, which is as PacketPlan{} is.
    [[nodiscard]] bool poll_transmit(PacketPlan& plan);
    [[nodiscard]] std::optional<PacketPlan> poll_transmit() {
        return polled([&](PacketPlan& plan) { return poll_transmit(plan); });
    }
    // The message cannot be sent to its end: it completes with this status.
    void fail_message(uint32_t id, CompletionStatus status);
    [[nodiscard]] std::optional<Completion> poll_completion();

  private:
    UcSenderConfig config_;
    Sequence next_ = 0;
    Message message_;
    uint32_t offset_ = 0;
    bool posted_ = false;     // message_ is on its way
    bool completed_ = false;  // completion_ waits
    Completion completion_;
};

}  // namespace vrdma::transport
