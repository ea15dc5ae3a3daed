// A connected queue pair whose peer is on another host: its protocol state and the send entries
// that are on their way. Stands in the arena beside the queue pair.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/device/objects.h"
#include "dataplane/net/link.h"
#include "dataplane/transport/flowlets.h"
#include "dataplane/transport/rc_requester.h"
#include "dataplane/transport/rc_responder.h"
#include "dataplane/transport/uc_receiver.h"
#include "dataplane/transport/uc_sender.h"
#include "dataplane/wire/build.h"

namespace vrdma {

// The private copy of a send entry until it completes.
struct SentEntry {
    alignas(vrdma_send_wqe) std::array<std::byte, kSendWqeBytes> wqe;  // read as one
    uint32_t length;                                                   // of the message
    uint32_t data_offset;
    uint8_t reason;  // enum vrdma_reason, when it failed here

    [[nodiscard]] const vrdma_send_wqe& entry() const {
        return *reinterpret_cast<const vrdma_send_wqe*>(wqe.data());
    }
};

struct Remote {
    uint32_t qp;  // slot
    uint32_t link;
    net::HopId hop;
    uint32_t host;  // of RemoteHosts; kNone when its table was full
    uint32_t
        taken;      // entries of the send ring taken so far; Qp::sq_consumer counts those completed
    bool can_send;  // RTS was reached
    bool knocked;   // a packet of it waits for the neighbour's answer
    bool abandoned;  // the queue pair failed; only a NAK may still leave
    wire::Address own;
    wire::Address peer;
    wire::FlowTemplate flow;
    transport::Flowlets flowlets;
    transport::RcRequester requester;
    transport::RcResponder responder;
    transport::UcSender sender;
    transport::UcReceiver receiver;
    std::array<SentEntry, transport::kWindowMessages> entries;  // by index & (kWindowMessages - 1)
};

}  // namespace vrdma
