// A sender's addresses go into the neighbour table, so they are checked here: a group address would
// make us send to many, and a MAC other than the frame's would let one host speak for another
// behind a switch that filters by MAC.
#include "dataplane/wire/arp.h"

#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

constexpr uint16_t kHardwareEthernet = 1;
constexpr size_t kArpBytes = 28;

}  // namespace

tl::expected<Arp, DropReason> parse_arp(std::span<const std::byte> frame) {
    const auto ethernet = parse_ethernet(frame);
    if (!ethernet) {
        return tl::unexpected(ethernet.error());
    }
    if (ethernet->type != kEtherTypeArp) {
        return tl::unexpected(DropReason::NotArp);
    }
    if (ethernet->content.size() < kArpBytes) {
        return tl::unexpected(DropReason::ArpTruncated);
    }
    const std::byte* at = ethernet->content.data();
    Arp arp;
    arp.operation = static_cast<Arp::Operation>(load16(at + 6));
    if (load16(at) != kHardwareEthernet || load16(at + 2) != kEtherTypeIpv4 ||
        load8(at + 4) != sizeof(Mac) || load8(at + 5) != 4 ||
        (arp.operation != Arp::Operation::Request && arp.operation != Arp::Operation::Reply)) {
        return tl::unexpected(DropReason::ArpFormat);
    }
    std::memcpy(arp.sender_mac.bytes.data(), at + 8, 6);
    arp.sender = load_v4(at + 14);
    std::memcpy(arp.target_mac.bytes.data(), at + 18, 6);
    arp.target = load_v4(at + 24);
    const bool probe = arp.operation == Arp::Operation::Request && arp.sender.unspecified();
    if (arp.sender_mac.group() || arp.sender_mac != ethernet->source || arp.sender.multicast() ||
        (arp.sender.unspecified() && !probe)) {
        return tl::unexpected(DropReason::ArpSender);
    }
    return arp;
}

size_t build_arp(std::span<std::byte> out, const Arp& arp, const Mac& destination_mac) {
    VR_CHECK(out.size() >= kArpFrameBytes && arp.sender.is_v4() && arp.target.is_v4());
    std::byte* at = out.data();
    std::memcpy(at, destination_mac.bytes.data(), 6);
    std::memcpy(at + 6, arp.sender_mac.bytes.data(), 6);
    store16(at + 12, kEtherTypeArp);
    at += kEthernetBytes;
    store16(at, kHardwareEthernet);
    store16(at + 2, kEtherTypeIpv4);
    store8(at + 4, sizeof(Mac));
    store8(at + 5, 4);
    store16(at + 6, static_cast<uint16_t>(arp.operation));
    std::memcpy(at + 8, arp.sender_mac.bytes.data(), 6);
    std::memcpy(at + 14, arp.sender.bytes.data() + 12, 4);
    std::memcpy(at + 18, arp.target_mac.bytes.data(), 6);
    std::memcpy(at + 24, arp.target.bytes.data() + 12, 4);
    return kArpFrameBytes;
}

}  // namespace vrdma::wire
