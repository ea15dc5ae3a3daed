// Only looks where the queue pair number would be: whether the packet is right is found out by the
// worker that gets it.
#include "dataplane/app/steering.h"

#include "dataplane/device/limits.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/cm_message.h"
#include "dataplane/wire/network.h"
#include "dataplane/wire/parse.h"
#include "driver/abi/command.h"

namespace vrdma::app {
namespace {

constexpr uint16_t kAnsweringWorker = 0;
constexpr size_t kQpnOffset = 5;  // in the BTH

// wire::classify() has seen a whole header up to the UDP port; the BTH may be missing.
uint32_t destination_qpn(std::span<const std::byte> frame) {
    const bool tagged =
        wire::load16(frame.data() + wire::kEthernetBytes - 2) == wire::kEtherTypeVlan;
    const size_t ip = wire::kEthernetBytes + (tagged ? wire::kVlanBytes : 0);
    const bool v6 = wire::load8(frame.data() + ip) >> 4 == 6;
    const size_t at =
        ip + (v6 ? wire::kIpv6Bytes : wire::kIpv4Bytes) + wire::kUdpBytes + kQpnOffset;
    return frame.size() < at + 3 ? 0 : wire::load24(frame.data() + at - 1);
}

}  // namespace

void QueuePairSteering::steer(std::span<const PacketBuffer> frames,
                              std::span<uint16_t> workers) const {
    constexpr uint32_t kSlotMask = (1U << kQpnSlotBits) - 1;
    for (size_t i = 0; i < frames.size(); ++i) {
        const std::span<const std::byte> frame(frames[i].data, frames[i].length);
        switch (wire::classify(frame)) {
            case wire::FrameKind::Roce: {
                const uint32_t qpn = destination_qpn(frame);
                const uint32_t place = qpns_.decrypt(qpn) & kSlotMask;
                if (qpn == VRDMA_MCAST_QPN) {
                    workers[i] = PacketSteering::kEveryWorker;  // any may have members of a group
                } else {
                    workers[i] = qpn == wire::kGsiQpn ? kAnsweringWorker
                                                      : static_cast<uint16_t>(place % shards_);
                }
                break;
            }
            case wire::FrameKind::Arp:
            case wire::FrameKind::Neighbour:
            case wire::FrameKind::PathMtu:
            case wire::FrameKind::Query:
                workers[i] = PacketSteering::kEveryWorker;
                break;
            case wire::FrameKind::Echo:
            case wire::FrameKind::Other:
                workers[i] = kAnsweringWorker;
                break;
        }
    }
}

}  // namespace vrdma::app
