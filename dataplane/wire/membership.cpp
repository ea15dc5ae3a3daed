// These are the only messages with IPv4 options or IPv6 extension headers (the router alert), so
// their headers are read here and not by parse_ip(), which refuses both.
//
// Queries of the later versions are longer and mean the same to a host of these: who gets one
// answers with a report, and the asker falls back to what the answer speaks (RFC 3376 7.3.2, RFC
// 3810 8.3.2). A query can only make us say what we said before, so it is believed from anybody on
// the link, but from nobody behind a router.
#include "dataplane/wire/membership.h"

#include <algorithm>
#include <cstring>

#include "dataplane/base/check.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/neighbour.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

constexpr uint8_t kIgmpQuery = 0x11;
constexpr uint8_t kIgmpReport = 0x16;
constexpr uint8_t kIgmpLeave = 0x17;
constexpr uint8_t kMldQuery = 130;
constexpr uint8_t kMldReport = 131;
constexpr uint8_t kMldDone = 132;
constexpr size_t kIgmpBytes = 8;
constexpr size_t kMldBytes = 24;
constexpr size_t kAlertV4Bytes = 4;
constexpr size_t kHopByHopBytes = 8;
constexpr uint32_t kAlertV4 = 0x94040000;  // RFC 2113
constexpr uint16_t kAlertV6 = 0x0502;      // RFC 2711, followed by the value 0
constexpr uint8_t kHopLimit = 1;
constexpr uint8_t kControlClass = 0xc0;  // internetwork control, as routers send these
constexpr Address kAllRoutersV4 = Address::v4(224, 0, 0, 2);
constexpr Address kAllHostsV4 = Address::v4(224, 0, 0, 1);
constexpr Address kAllRoutersV6{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
constexpr Address kAllNodesV6{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

using Parsed = tl::expected<MembershipQuery, DropReason>;

// A count with an exponent above `mantissa_bits` bits, as the later versions write long times.
uint32_t decode_time(uint32_t code, unsigned mantissa_bits) {
    const uint32_t linear = 1U << (mantissa_bits + 3);
    if (code < linear) {
        return code;
    }
    const uint32_t mantissa = (code & ((1U << mantissa_bits) - 1)) | 1U << mantissa_bits;
    return mantissa << ((code >> mantissa_bits & 7) + 3);
}

Parsed with_group(MembershipQuery query, const Address& group) {
    if (!group.unspecified()) {
        if (!group.multicast() || group.limited_broadcast()) {
            return tl::unexpected(DropReason::QueryGroup);
        }
        query.group = group;
    }
    return query;
}

Parsed parse_v4(std::span<const std::byte> ip) {
    if (ip.size() < kIpv4Bytes) {
        return tl::unexpected(DropReason::QueryTruncated);
    }
    const std::byte* at = ip.data();
    if (load8(at + 9) != kProtocolIgmp) {
        return tl::unexpected(DropReason::NotQuery);
    }
    const size_t header = (load8(at) & 0xf) * size_t{4};
    const size_t total = load16(at + 2);
    if (header < kIpv4Bytes || total > ip.size() || total < header + kIgmpBytes) {
        return tl::unexpected(DropReason::QueryTruncated);
    }
    const std::span<const std::byte> message = ip.subspan(header, total - header);
    if (load8(message.data()) != kIgmpQuery) {
        return tl::unexpected(DropReason::NotQuery);
    }
    if (load8(at + 8) != kHopLimit) {
        return tl::unexpected(DropReason::QueryHopLimit);
    }
    if (checksum_finish(checksum_add(0, message)) != 0) {
        return tl::unexpected(DropReason::QueryChecksum);
    }
    constexpr uint32_t kVersion1Tenths = 100;  // RFC 2236 4: version 1 has no such field
    const uint32_t code = load8(message.data() + 1);
    const uint32_t tenths = code == 0 ? kVersion1Tenths : decode_time(code, 4);
    return with_group({.v6 = false, .group = {}, .within = Duration::milliseconds(tenths * 100)},
                      load_v4(message.data() + 4));
}

Parsed parse_v6(std::span<const std::byte> ip) {
    if (ip.size() < kIpv6Bytes) {
        return tl::unexpected(DropReason::QueryTruncated);
    }
    const std::byte* at = ip.data();
    const size_t length = load16(at + 4);
    if (length > ip.size() - kIpv6Bytes) {
        return tl::unexpected(DropReason::QueryTruncated);
    }
    std::span<const std::byte> content = ip.subspan(kIpv6Bytes, length);
    if (load8(at + 6) != kProtocolHopByHop || content.size() < kHopByHopBytes ||
        load8(content.data()) != kProtocolIcmpv6) {
        return tl::unexpected(DropReason::NotQuery);
    }
    const size_t options = (load8(content.data() + 1) + size_t{1}) * 8;
    if (content.size() < options + kMldBytes) {
        return tl::unexpected(DropReason::QueryTruncated);
    }
    const std::span<const std::byte> message = content.subspan(options);
    if (load8(message.data()) != kMldQuery) {
        return tl::unexpected(DropReason::NotQuery);
    }
    if (load8(at + 7) != kHopLimit) {
        return tl::unexpected(DropReason::QueryHopLimit);
    }
    Address source;
    Address destination;
    std::memcpy(source.bytes.data(), at + 8, 16);
    std::memcpy(destination.bytes.data(), at + 24, 16);
    if (source.bytes[0] != 0xfe || (source.bytes[1] & 0xc0) != 0x80) {
        return tl::unexpected(DropReason::QuerySource);
    }
    const uint32_t pseudo = checksum_pseudo_v6(
        source, destination, static_cast<uint32_t>(message.size()), kProtocolIcmpv6);
    if (checksum_finish(checksum_add(pseudo, message)) != 0) {
        return tl::unexpected(DropReason::QueryChecksum);
    }
    Address group;
    std::memcpy(group.bytes.data(), message.data() + 8, 16);
    const uint32_t milliseconds = decode_time(load16(message.data() + 4), 12);
    return with_group({.v6 = true, .group = {}, .within = Duration::milliseconds(milliseconds)},
                      group);
}

size_t build_v4(std::span<std::byte> out, const MembershipMessage& message) {
    const bool leave = message.kind == MembershipMessage::Kind::Leave;
    const Address& to = leave ? kAllRoutersV4 : message.group;
    std::byte* at = out.data() + kEthernetBytes;
    constexpr size_t kHeader = kIpv4Bytes + kAlertV4Bytes;
    store16(at - 2, kEtherTypeIpv4);
    std::memset(at, 0, kHeader + kIgmpBytes);
    store8(at, 0x40 | kHeader / 4);
    store8(at + 1, kControlClass);
    store16(at + 2, kHeader + kIgmpBytes);
    store8(at + 8, kHopLimit);
    store8(at + 9, kProtocolIgmp);
    std::memcpy(at + 12, message.source.bytes.data() + 12, 4);
    std::memcpy(at + 16, to.bytes.data() + 12, 4);
    store32(at + kIpv4Bytes, kAlertV4);
    store16(at + 10, checksum_finish(checksum_add(0, {at, kHeader})));
    std::byte* igmp = at + kHeader;
    store8(igmp, leave ? kIgmpLeave : kIgmpReport);
    std::memcpy(igmp + 4, message.group.bytes.data() + 12, 4);
    store16(igmp + 2, checksum_finish(checksum_add(0, {igmp, kIgmpBytes})));
    return kEthernetBytes + kHeader + kIgmpBytes;
}

size_t build_v6(std::span<std::byte> out, const MembershipMessage& message) {
    const bool leave = message.kind == MembershipMessage::Kind::Leave;
    const Address& to = leave ? kAllRoutersV6 : message.group;
    std::byte* at = out.data() + kEthernetBytes;
    store16(at - 2, kEtherTypeIpv6);
    std::memset(at, 0, kIpv6Bytes + kHopByHopBytes + kMldBytes);
    store32(at, uint32_t{6} << 28);
    store16(at + 4, kHopByHopBytes + kMldBytes);
    store8(at + 6, kProtocolHopByHop);
    store8(at + 7, kHopLimit);
    std::memcpy(at + 8, message.source.bytes.data(), 16);
    std::memcpy(at + 24, to.bytes.data(), 16);
    std::byte* options = at + kIpv6Bytes;
    store8(options, kProtocolIcmpv6);
    store16(options + 2, kAlertV6);
    store16(options + 6, 0x0100);  // PadN without content
    std::byte* mld = options + kHopByHopBytes;
    store8(mld, leave ? kMldDone : kMldReport);
    std::memcpy(mld + 8, message.group.bytes.data(), 16);
    const uint32_t pseudo = checksum_pseudo_v6(message.source, to, kMldBytes, kProtocolIcmpv6);
    store16(mld + 2, checksum_finish(checksum_add(pseudo, {mld, kMldBytes})));
    return kEthernetBytes + kIpv6Bytes + kHopByHopBytes + kMldBytes;
}

}  // namespace

bool is_reported(const Address& group) {
    if (group.is_v4()) {
        return group != kAllHostsV4;
    }
    constexpr uint8_t kInterfaceLocal = 1;
    return (group.bytes[1] & 0xf) > kInterfaceLocal && group != kAllNodesV6;
}

tl::expected<MembershipQuery, DropReason> parse_membership_query(std::span<const std::byte> frame) {
    const auto ethernet = parse_ethernet(frame);
    if (!ethernet) {
        return tl::unexpected(ethernet.error());
    }
    if (ethernet->type == kEtherTypeIpv4) {
        return parse_v4(ethernet->content);
    }
    return ethernet->type == kEtherTypeIpv6 ? parse_v6(ethernet->content)
                                            : Parsed(tl::unexpected(DropReason::NotIp));
}

size_t build_membership(std::span<std::byte> out, const MembershipMessage& message) {
    VR_CHECK(out.size() >= kMaxMembershipFrameBytes);
    VR_CHECK(message.source.is_v4() == message.group.is_v4());
    const bool v4 = message.group.is_v4();
    const bool leave = message.kind == MembershipMessage::Kind::Leave;
    const Mac to = multicast_mac(leave ? (v4 ? kAllRoutersV4 : kAllRoutersV6) : message.group);
    std::memcpy(out.data(), to.bytes.data(), to.bytes.size());
    std::memcpy(out.data() + 6, message.source_mac.bytes.data(), message.source_mac.bytes.size());
    return v4 ? build_v4(out, message) : build_v6(out, message);
}

}  // namespace vrdma::wire
