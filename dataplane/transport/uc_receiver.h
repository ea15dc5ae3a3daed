// The receiving side of one UC queue pair (IBA 9.8.2): a message that lost a packet is dropped as a
// whole, and the next first packet begins anew. Nothing is answered.
#pragma once

#include <cstdint>

#include "dataplane/transport/inbound.h"
#include "dataplane/transport/limits.h"
#include "dataplane/transport/psn.h"
#include "dataplane/wire/packet.h"

namespace vrdma::transport {

struct UcReceiverConfig {
    Psn initial_psn;           // rq_psn
    uint32_t path_mtu = 1024;  // bytes: 256, 512, 1024, 2048 or 4096
};

class UcReceiver {
  public:
    UcReceiver() = default;  // all zero until reset(): for the arena
    void reset(const UcReceiverConfig& config);

    // Execute: do it, then executed(). Inbound::restarted says that a message before it was given
    // up; a receive entry that was taken for it serves the next message.
    [[nodiscard]] Inbound receive(const wire::Packet& packet);
    // Anything but Ok drops the rest of the message.
    void executed(const ExecuteResult& result);

  private:
    enum class Progress : uint8_t { Between, InSend, InWrite, Dropping };

    [[nodiscard]] Inbound drop_message(DropReason reason);
    void give_up();

    UcReceiverConfig config_;
    Sequence expected_ = 0;
    // The message in progress.
    uint64_t address_ = 0;
    uint32_t rkey_ = 0;
    uint32_t total_ = 0;
    uint32_t offset_ = 0;
    Progress progress_ = Progress::Between;
    bool abandoned_ = false;  // a message was given up since the last Execute
};

}  // namespace vrdma::transport
