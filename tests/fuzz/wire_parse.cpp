// Any bytes as a frame, for every codec of dataplane/wire.
//
// The sanitizers watch every read. Beyond that: what a codec accepts lies inside the frame, and
// what the parser accepts is built again from its fields into a frame that parses to the same. No
// fuzzer guesses a checksum, so the ICRC is not verified, and the checksums of IPv4 and ICMP are
// made right in a second try.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/wire/arp.h"
#include "dataplane/wire/build.h"
#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/cm_message.h"
#include "dataplane/wire/icmp.h"
#include "dataplane/wire/membership.h"
#include "dataplane/wire/neighbour.h"
#include "dataplane/wire/network.h"
#include "dataplane/wire/parse.h"
#include "dataplane/wire/pcapng.h"

namespace {

using namespace vrdma::wire;
using Bytes = std::span<const std::byte>;

constexpr size_t kRoom = 70000;

bool inside(Bytes part, Bytes whole) {
    return part.empty() || (part.data() >= whole.data() &&
                            part.data() + part.size() <= whole.data() + whole.size());
}

HeaderFields fields_of(const Packet& packet) {
    return {.opcode = packet.bth.opcode,
            .solicited = packet.bth.solicited,
            .migrated = packet.bth.migrated,
            .ack_request = packet.bth.ack_request,
            .fecn = packet.bth.fecn,
            .becn = packet.bth.becn,
            .pkey = packet.bth.pkey,
            .dqpn = packet.bth.dqpn,
            .psn = packet.bth.psn,
            .reth = packet.reth,
            .aeth = packet.aeth,
            .imm = packet.imm,
            .invalidate_rkey = packet.invalidate_rkey,
            .deth = packet.deth,
            .atomic_eth = packet.atomic_eth,
            .original = packet.original,
            .sack = packet.sack,
            .probe = packet.probe,
            .srqn = packet.srqn};
}

void build_again(const Packet& packet) {
    static std::array<std::byte, kRoom> first;
    static std::array<std::byte, kRoom> second;
    const Network& network = packet.network;
    if (network.destination.is_v4() == network.v6) {
        return;  // an IPv6 packet to an address in the form of IPv4: nobody's
    }
    const Flow flow{.source_mac = network.source_mac,
                    .destination_mac = network.destination_mac,
                    .source = network.source,
                    .destination = network.destination,
                    .source_port = network.source_port,
                    .dscp = network.dscp,
                    .ecn = network.ecn,
                    .hop_limit = network.hop_limit};
    const size_t size = build_frame(first, FlowTemplate(flow), fields_of(packet), packet.payload);
    const auto parsed = parse(Bytes(first).first(size));
    VR_CHECK(parsed);
    VR_CHECK(std::ranges::equal(parsed->payload, packet.payload));
    const size_t again =
        build_frame(second, FlowTemplate(flow), fields_of(*parsed), parsed->payload);
    VR_CHECK(again == size && std::memcmp(first.data(), second.data(), size) == 0);
}

void try_roce(Bytes frame) {
    const auto packet = parse(frame, Verify::Nothing);
    if (!packet) {
        VR_CHECK(!drop_reason_name(packet.error()).empty() && !parse(frame));
        return;
    }
    VR_CHECK(inside(packet->payload, frame) && inside(packet->ip_header, frame));
    VR_CHECK(classify(frame) == FrameKind::Roce);
    if (const auto verified = parse(frame); verified) {
        VR_CHECK(verified->payload.data() == packet->payload.data());
    }
    build_again(*packet);
}

void try_control(Bytes frame) {
    static std::array<std::byte, kRoom> out;
    if (const auto arp = parse_arp(frame)) {
        (void)build_arp(out, *arp, Mac::broadcast());
        VR_CHECK(classify(frame) == FrameKind::Arp);
    }
    if (const auto neighbour = parse_neighbour(frame)) {
        VR_CHECK(classify(frame) == FrameKind::Neighbour);
        if (!neighbour->source.is_v4() && !neighbour->destination.is_v4()) {
            const size_t size = build_neighbour(out, *neighbour);
            VR_CHECK(parse_neighbour(Bytes(out).first(size)));
        }
    }
    if (const auto echo = parse_echo(frame)) {
        VR_CHECK(inside(echo->data, frame) && classify(frame) == FrameKind::Echo);
        if (echo->network.destination.is_v4() != echo->network.v6) {
            (void)build_echo(out, echo->answer(Mac{}));
        }
    }
    if (const auto report = parse_path_mtu(frame)) {
        VR_CHECK(classify(frame) == FrameKind::PathMtu);
    }
    if (const auto query = parse_membership_query(frame)) {
        VR_CHECK(classify(frame) == FrameKind::Query);
        VR_CHECK(!query->group || query->group->multicast());
    }
    (void)write_pcapng_packet(out, {.bytes = frame.first(std::min<size_t>(frame.size(), 9000)),
                                    .original_length = frame.size(),
                                    .comment = "fuzzed"});
}

// A management datagram with these bytes at its end, as far as they go: what is read from it is
// written again and read as the same.
void try_cm(Bytes bytes) {
    std::array<std::byte, kMadBytes> mad{std::byte{1}, std::byte{7}, std::byte{2}, std::byte{3}};
    const size_t length = std::min(bytes.size(), mad.size() - 8);
    std::memcpy(mad.data() + 8, bytes.data(), length);
    (void)parse_cm(bytes);
    const auto message = parse_cm(mad);
    if (!message || message->transport != kCmTransportRc) {
        return;
    }
    std::array<std::byte, kMadBytes> again{};
    build_cm(*message, again);
    const auto same = parse_cm(again);
    VR_CHECK(same && same->local_id == message->local_id && same->qpn == message->qpn &&
             same->private_data == message->private_data);
    (void)parse_cm_ip(message->private_data);
}

// The frame with right checksums of IPv4 and ICMP, where it is such a frame without a tag.
Bytes with_checksums(Bytes frame) {
    static std::array<std::byte, kRoom> fixed;
    if (frame.size() < kEthernetBytes + kIpv6Bytes + 8 || frame.size() > fixed.size()) {
        return frame;
    }
    std::memcpy(fixed.data(), frame.data(), frame.size());
    std::byte* ip = fixed.data() + kEthernetBytes;
    const bool v6 = load16(fixed.data() + 12) == kEtherTypeIpv6;
    const size_t header = v6 ? kIpv6Bytes : kIpv4Bytes;
    const size_t length = v6 ? load16(ip + 4) : size_t{load16(ip + 2)} - header;
    if (length < 4 || length > frame.size() - kEthernetBytes - header) {
        return frame;
    }
    uint32_t pseudo = 0;
    if (v6) {
        Network network;
        std::memcpy(network.source.bytes.data(), ip + 8, 16);
        std::memcpy(network.destination.bytes.data(), ip + 24, 16);
        pseudo = checksum_pseudo_v6(network.source, network.destination,
                                    static_cast<uint32_t>(length), kProtocolIcmpv6);
    } else {
        store16(ip + 10, 0);
        store16(ip + 10, checksum_finish(checksum_add(0, {ip, kIpv4Bytes})));
    }
    const uint8_t protocol = load8(ip + (v6 ? 6 : 9));
    if (protocol == (v6 ? kProtocolIcmpv6 : kProtocolIcmpv4)) {
        store16(ip + header + 2, 0);
        store16(ip + header + 2, checksum_finish(checksum_add(pseudo, {ip + header, length})));
    }
    return Bytes(fixed).first(frame.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const Bytes frame = std::as_bytes(std::span(data, size));
    try_roce(frame);
    try_control(frame);
    try_cm(frame);
    const Bytes fixed = with_checksums(frame);
    if (fixed.data() != frame.data()) {
        try_roce(fixed);
        try_control(fixed);
    }
    return 0;
}
