// The validity rules of RFC 4861 7.1.1 and 7.1.2, one reason each: what passes may change the
// neighbour table. The hop limit of 255 is what keeps hosts behind a router out of it.
#include "dataplane/wire/neighbour.h"

#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

constexpr size_t kMessageBytes = 24;
constexpr size_t kOptionUnit = 8;
constexpr uint8_t kHopLimit = 255;
constexpr uint8_t kSourceLinkLayer = 1;
constexpr uint8_t kTargetLinkLayer = 2;
constexpr uint8_t kSolicitedFlag = 0x40;
constexpr uint8_t kOverrideFlag = 0x20;

uint8_t link_layer_option(Neighbour::Kind kind) {
    return kind == Neighbour::Kind::Solicitation ? kSourceLinkLayer : kTargetLinkLayer;
}

bool is_solicited_node(const Address& address) {
    return address == solicited_node(address);
}

// False when an option does not fit.
bool parse_options(std::span<const std::byte> options, uint8_t wanted, std::optional<Mac>& mac) {
    while (!options.empty()) {
        if (options.size() < 2) {
            return false;
        }
        const size_t length = load8(options.data() + 1) * kOptionUnit;
        if (length == 0 || length > options.size()) {
            return false;
        }
        if (load8(options.data()) == wanted && !mac) {
            mac.emplace();
            std::memcpy(mac->bytes.data(), options.data() + 2, mac->bytes.size());
        }
        options = options.subspan(length);
    }
    return true;
}

tl::expected<void, DropReason> check_addresses(const Neighbour& message) {
    if (message.target.multicast() || message.target.unspecified()) {
        return tl::unexpected(DropReason::NeighbourTarget);
    }
    if (message.source.unspecified() &&
        (message.kind != Neighbour::Kind::Solicitation || message.link_layer ||
         !is_solicited_node(message.destination))) {
        return tl::unexpected(DropReason::NeighbourSource);
    }
    if (message.solicited && message.destination.multicast()) {
        return tl::unexpected(DropReason::NeighbourSolicited);
    }
    if (message.link_layer && message.link_layer->group()) {
        return tl::unexpected(DropReason::NeighbourOption);
    }
    return {};
}

}  // namespace

Address solicited_node(const Address& address) {
    Address group{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0}};
    std::memcpy(group.bytes.data() + 13, address.bytes.data() + 13, 3);
    return group;
}

Mac multicast_mac(const Address& group) {
    if (group.is_v4()) {
        constexpr uint8_t kLow23 = 0x7f;
        return {{0x01, 0x00, 0x5e, static_cast<uint8_t>(group.bytes[13] & kLow23), group.bytes[14],
                 group.bytes[15]}};
    }
    Mac mac{{0x33, 0x33, 0, 0, 0, 0}};
    std::memcpy(mac.bytes.data() + 2, group.bytes.data() + 12, 4);
    return mac;
}

tl::expected<Neighbour, DropReason> parse_neighbour(std::span<const std::byte> frame) {
    Network network;
    IpPacket ip;
    if (const auto checked = parse_ip(frame, Ipv4Checksum::Trust, Unspecified::Allow, network, ip);
        !checked) {
        return tl::unexpected(checked.error());
    }
    const auto content = ip.content;
    if (!network.v6 || ip.protocol != kProtocolIcmpv6 || content.empty() ||
        (load8(content.data()) != static_cast<uint8_t>(Neighbour::Kind::Solicitation) &&
         load8(content.data()) != static_cast<uint8_t>(Neighbour::Kind::Advertisement))) {
        return tl::unexpected(DropReason::NotNeighbour);
    }
    if (network.hop_limit != kHopLimit) {
        return tl::unexpected(DropReason::NeighbourHopLimit);
    }
    if (content.size() < kMessageBytes) {
        return tl::unexpected(DropReason::NeighbourTruncated);
    }
    const uint32_t pseudo =
        checksum_pseudo_v6(network.source, network.destination,
                           static_cast<uint32_t>(content.size()), kProtocolIcmpv6);
    if (checksum_finish(checksum_add(pseudo, content)) != 0) {
        return tl::unexpected(DropReason::Icmpv6Checksum);
    }
    const std::byte* at = content.data();
    if (load8(at + 1) != 0) {
        return tl::unexpected(DropReason::NeighbourCode);
    }
    Neighbour result{.kind = static_cast<Neighbour::Kind>(load8(at)),
                     .source = network.source,
                     .destination = network.destination,
                     .source_mac = network.source_mac,
                     .destination_mac = network.destination_mac,
                     .target = {},
                     .link_layer = {}};
    if (result.kind == Neighbour::Kind::Advertisement) {
        result.solicited = (load8(at + 4) & kSolicitedFlag) != 0;
        result.override_entry = (load8(at + 4) & kOverrideFlag) != 0;
    }
    std::memcpy(result.target.bytes.data(), at + 8, 16);
    if (!parse_options(content.subspan(kMessageBytes), link_layer_option(result.kind),
                       result.link_layer)) {
        return tl::unexpected(DropReason::NeighbourOption);
    }
    if (const auto checked = check_addresses(result); !checked) {
        return tl::unexpected(checked.error());
    }
    return result;
}

size_t build_neighbour(std::span<std::byte> out, const Neighbour& neighbour) {
    const size_t bytes = kMessageBytes + (neighbour.link_layer ? kOptionUnit : 0);
    const size_t header = build_ip(out,
                                   {.source = neighbour.source,
                                    .destination = neighbour.destination,
                                    .source_mac = neighbour.source_mac,
                                    .destination_mac = neighbour.destination_mac,
                                    .v6 = true,
                                    .hop_limit = kHopLimit},
                                   kProtocolIcmpv6, bytes);
    std::byte* at = out.data() + header;
    std::memset(at, 0, bytes);
    store8(at, static_cast<uint8_t>(neighbour.kind));
    if (neighbour.kind == Neighbour::Kind::Advertisement) {
        store8(at + 4, static_cast<uint8_t>((neighbour.solicited ? kSolicitedFlag : 0) |
                                            (neighbour.override_entry ? kOverrideFlag : 0)));
    }
    std::memcpy(at + 8, neighbour.target.bytes.data(), 16);
    if (neighbour.link_layer) {
        store8(at + kMessageBytes, link_layer_option(neighbour.kind));
        store8(at + kMessageBytes + 1, 1);
        std::memcpy(at + kMessageBytes + 2, neighbour.link_layer->bytes.data(), 6);
    }
    const uint32_t pseudo = checksum_pseudo_v6(neighbour.source, neighbour.destination,
                                               static_cast<uint32_t>(bytes), kProtocolIcmpv6);
    store16(at + 2, checksum_finish(checksum_add(pseudo, {at, bytes})));
    return header + bytes;
}

}  // namespace vrdma::wire
