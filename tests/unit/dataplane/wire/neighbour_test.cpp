#include "dataplane/wire/neighbour.h"

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

constexpr size_t kIcmpAt = kIpAt + kIpv6Bytes;

Neighbour solicitation() {
    return {.kind = Neighbour::Kind::Solicitation,
            .source = kA6,
            .destination = solicited_node(kB6),
            .source_mac = kMacA,
            .destination_mac = multicast_mac(solicited_node(kB6)),
            .target = kB6,
            .link_layer = kMacA};
}

Neighbour advertisement() {
    return {.kind = Neighbour::Kind::Advertisement,
            .source = kB6,
            .destination = kA6,
            .source_mac = kMacB,
            .destination_mac = kMacA,
            .target = kB6,
            .link_layer = kMacB,
            .solicited = true,
            .override_entry = true};
}

Bytes bytes_of(const Neighbour& neighbour) {
    Bytes frame(kMaxNeighbourFrameBytes);
    frame.resize(build_neighbour(frame, neighbour));
    return frame;
}

void reseal_icmp(Bytes& frame) {
    Address source;
    Address destination;
    std::memcpy(source.bytes.data(), frame.data() + kIpAt + 8, 16);
    std::memcpy(destination.bytes.data(), frame.data() + kIpAt + 24, 16);
    const auto message = std::span(frame).subspan(kIcmpAt);
    store16(frame.data() + kIpAt + 4, static_cast<uint16_t>(message.size()));
    store16(message.data() + 2, 0);
    store16(message.data() + 2,
            checksum_finish(checksum_add(
                checksum_pseudo_v6(source, destination, static_cast<uint32_t>(message.size()), 58),
                message)));
}

void expect_drop(const Bytes& frame, DropReason reason) {
    const auto neighbour = parse_neighbour(frame);
    ASSERT_FALSE(neighbour);
    EXPECT_EQ(drop_reason_name(neighbour.error()), drop_reason_name(reason));
}

TEST(NeighbourRfc4861, solicitation_comes_back_from_the_parser) {
    const auto got = parse_neighbour(bytes_of(solicitation()));
    ASSERT_TRUE(got) << drop_reason_name(got.error());
    EXPECT_EQ(got->kind, Neighbour::Kind::Solicitation);
    EXPECT_EQ(got->source, kA6);
    EXPECT_EQ(got->destination, solicited_node(kB6));
    EXPECT_EQ(got->destination_mac, (Mac{{0x33, 0x33, 0xff, 0, 0x12, 0x0b}}));
    EXPECT_EQ(got->target, kB6);
    EXPECT_EQ(got->link_layer, kMacA);
    EXPECT_FALSE(got->solicited);
}

TEST(NeighbourRfc4861, advertisement_comes_back_from_the_parser) {
    const auto got = parse_neighbour(bytes_of(advertisement()));
    ASSERT_TRUE(got) << drop_reason_name(got.error());
    EXPECT_EQ(got->kind, Neighbour::Kind::Advertisement);
    EXPECT_TRUE(got->solicited);
    EXPECT_TRUE(got->override_entry);
    EXPECT_EQ(got->link_layer, kMacB);
}

TEST(NeighbourRfc4861, duplicate_address_probe_is_accepted) {
    Neighbour probe = solicitation();
    probe.source = {};
    probe.link_layer.reset();
    const auto got = parse_neighbour(bytes_of(probe));
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->source.unspecified());
}

TEST(NeighbourRfc4861, unknown_option_is_skipped) {
    Bytes frame = bytes_of(solicitation());
    const Bytes nonce = from_hex("0e01010203040506");
    frame.insert(frame.begin() + kIcmpAt + 24, nonce.begin(), nonce.end());
    reseal_icmp(frame);
    const auto got = parse_neighbour(frame);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->link_layer, kMacA);
}

TEST(NeighbourRfc4861, frame_that_is_no_ip_is_dropped) {
    expect_drop(Bytes(60), DropReason::NotIp);
}

TEST(NeighbourRfc4861, other_icmp_type_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    set(frame, kIcmpAt, 134);
    reseal_icmp(frame);
    expect_drop(frame, DropReason::NotNeighbour);
}

TEST(NeighbourRfc4861_7_1, hop_limit_below_255_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    set(frame, kIpAt + 7, 254);
    expect_drop(frame, DropReason::NeighbourHopLimit);
}

TEST(NeighbourRfc4861_7_1, short_message_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    frame.resize(kIcmpAt + 23);
    reseal_icmp(frame);
    expect_drop(frame, DropReason::NeighbourTruncated);
}

TEST(NeighbourRfc4861_7_1, wrong_checksum_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    frame.back() ^= std::byte{1};
    expect_drop(frame, DropReason::Icmpv6Checksum);
}

TEST(NeighbourRfc4861_7_1, other_code_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    set(frame, kIcmpAt + 1, 1);
    reseal_icmp(frame);
    expect_drop(frame, DropReason::NeighbourCode);
}

TEST(NeighbourRfc4861_7_1, group_as_target_is_dropped) {
    Neighbour message = solicitation();
    message.target = solicited_node(kB6);
    expect_drop(bytes_of(message), DropReason::NeighbourTarget);
}

TEST(NeighbourRfc4861_7_1, unspecified_target_is_dropped) {
    Neighbour message = solicitation();
    message.target = {};
    expect_drop(bytes_of(message), DropReason::NeighbourTarget);
}

TEST(NeighbourRfc4861_7_1, option_of_length_zero_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    set(frame, kIcmpAt + 25, 0);
    reseal_icmp(frame);
    expect_drop(frame, DropReason::NeighbourOption);
}

TEST(NeighbourRfc4861_7_1, option_beyond_the_message_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    set(frame, kIcmpAt + 25, 2);
    reseal_icmp(frame);
    expect_drop(frame, DropReason::NeighbourOption);
}

TEST(NeighbourRfc4861_7_1, option_of_one_byte_is_dropped) {
    Bytes frame = bytes_of(solicitation());
    frame.resize(kIcmpAt + 25);
    reseal_icmp(frame);
    expect_drop(frame, DropReason::NeighbourOption);
}

TEST(NeighbourRfc4861_7_1, group_as_link_layer_address_is_dropped) {
    Neighbour message = solicitation();
    message.link_layer = Mac::broadcast();
    expect_drop(bytes_of(message), DropReason::NeighbourOption);
}

TEST(NeighbourRfc4861_7_1_1, unspecified_source_with_link_layer_address_is_dropped) {
    Neighbour message = solicitation();
    message.source = {};
    expect_drop(bytes_of(message), DropReason::NeighbourSource);
}

TEST(NeighbourRfc4861_7_1_1, unspecified_source_to_a_host_is_dropped) {
    Neighbour message = solicitation();
    message.source = {};
    message.link_layer.reset();
    message.destination = kB6;
    expect_drop(bytes_of(message), DropReason::NeighbourSource);
}

TEST(NeighbourRfc4861_7_1_2, advertisement_from_nobody_is_dropped) {
    Neighbour message = advertisement();
    message.source = {};
    expect_drop(bytes_of(message), DropReason::NeighbourSource);
}

TEST(NeighbourRfc4861_7_1_2, solicited_advertisement_to_a_group_is_dropped) {
    Neighbour message = advertisement();
    message.destination = Address{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    expect_drop(bytes_of(message), DropReason::NeighbourSolicited);
}

}  // namespace
}  // namespace vrdma::wire
