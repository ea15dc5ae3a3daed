// The packet trace: one line for each frame sent, arrived or dropped, and each timer.
#pragma once

#include <cstdio>
#include <string_view>

#include "dataplane/transport/inbound.h"
#include "dataplane/transport/packet_plan.h"
#include "dataplane/transport/rc_requester.h"
#include "dataplane/wire/packet.h"
#include "tests/sim/link.h"

namespace vrdma::sim {

class Trace {
  public:
    explicit Trace(std::FILE* to) : to_(to) {}

    void sent(Instant now, uint8_t host, const transport::PacketPlan& plan);
    void passage(const Passage& passage);
    void arrived(Instant now, uint8_t host, const wire::Packet& packet);
    void dropped(Instant now, uint8_t host, std::string_view why);
    void verdict(const transport::Inbound& in);
    void verdict(const transport::Answer& answer);
    void timer(Instant now, uint8_t host, uint32_t qpn);
    void note(Instant now, std::string_view text);

  private:
    std::FILE* to_;
};

}  // namespace vrdma::sim
