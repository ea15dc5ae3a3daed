// Looks at a few bytes at the places where a good packet has them, and checks nothing else:
// somebody who captures wants to see the bad packets of a peer, too. A packet whose address or
// queue pair number was damaged does not look like the peer's any more, and is not kept.
#include "dataplane/net/capture_filter.h"

#include <cstring>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/network.h"
#include "dataplane/wire/opcode.h"
#include "dataplane/wire/parse.h"

namespace vrdma::net {
namespace {

constexpr size_t kArpSender = 14;  // protocol addresses of Ethernet and IPv4 (RFC 826)
constexpr size_t kArpTarget = 24;
constexpr size_t kIpv4Source = 12;
constexpr size_t kIpv4Destination = 16;
constexpr size_t kIpv6Source = 8;
constexpr size_t kIpv6Destination = 24;
constexpr size_t kIpv4Address = 4;
constexpr size_t kIpv6Address = 16;

constexpr size_t kBthQpn = 4;   // below a reserved byte
constexpr size_t kDethQpn = 4;  // of the sender, likewise
constexpr uint8_t kClassShift = 5;
constexpr uint8_t kDatagramClass = 3;  // IBA 9.2: the upper three bits of the opcode

bool has(std::span<const std::byte> content, size_t at, std::span<const uint8_t> address) {
    return content.size() >= at + address.size() &&
           std::memcmp(content.data() + at, address.data(), address.size()) == 0;
}

bool concerns(const wire::Address& peer, std::span<const std::byte> frame) {
    const auto ethernet = wire::parse_ethernet(frame);
    if (!ethernet) {
        return false;
    }
    const std::span<const std::byte> content = ethernet->content;
    if (ethernet->type == wire::kEtherTypeIpv6 && !peer.is_v4()) {
        return has(content, kIpv6Source, peer.bytes) || has(content, kIpv6Destination, peer.bytes);
    }
    if (!peer.is_v4()) {
        return false;
    }
    const auto v4 = std::span(peer.bytes).last<kIpv4Address>();
    if (ethernet->type == wire::kEtherTypeIpv4) {
        return has(content, kIpv4Source, v4) || has(content, kIpv4Destination, v4);
    }
    return ethernet->type == wire::kEtherTypeArp &&
           (has(content, kArpSender, v4) || has(content, kArpTarget, v4));
}
static_assert(sizeof(wire::Address::bytes) == kIpv6Address);

wire::Address destination(std::span<const std::byte> ip, bool v6) {
    return v6 ? wire::load_v6(ip.data() + kIpv6Destination)
              : wire::load_v4(ip.data() + kIpv4Destination);
}

bool concerns(const CaptureFilter::QueuePair& queue_pair, std::span<const std::byte> frame,
              wire::CaptureDirection direction, const QueuePairGroups* groups) {
    if (wire::classify(frame) != wire::FrameKind::Roce) {
        return false;
    }
    const auto ethernet = wire::parse_ethernet(frame);
    const bool v6 = ethernet->type == wire::kEtherTypeIpv6;
    const size_t at = (v6 ? wire::kIpv6Bytes : wire::kIpv4Bytes) + wire::kUdpBytes;
    const std::span<const std::byte> content = ethernet->content;
    if (content.size() < at + wire::kBthBytes) {
        return false;
    }
    const std::byte* const bth = content.data() + at;
    const uint32_t to = wire::load24(bth + kBthQpn);
    if (direction == wire::CaptureDirection::Inbound) {
        return to == queue_pair.own || (to == wire::kGroupQpn && groups != nullptr &&
                                        groups->belongs(queue_pair.own, destination(content, v6)));
    }
    if (queue_pair.connected_to) {
        return to == *queue_pair.connected_to;
    }
    return wire::load8(bth) >> kClassShift == kDatagramClass &&
           content.size() >= at + wire::kBthBytes + wire::kDethBytes &&
           wire::load24(bth + wire::kBthBytes + kDethQpn) == queue_pair.own;
}

}  // namespace

bool passes(const CaptureFilter& filter, std::span<const std::byte> frame,
            wire::CaptureDirection direction, const QueuePairGroups* groups) {
    return (!filter.peer || concerns(*filter.peer, frame)) &&
           (!filter.queue_pair || concerns(*filter.queue_pair, frame, direction, groups));
}

}  // namespace vrdma::net
