#include "dataplane/net/capture_filter.h"

#include <vector>

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"

namespace vrdma::net {
namespace {

using Direction = wire::CaptureDirection;
using Frame = std::vector<std::byte>;

constexpr wire::Address kOwn = wire::Address::v4(10, 0, 0, 1);
constexpr wire::Address kPeer = wire::Address::v4(10, 0, 0, 2);
constexpr wire::Address kOther = wire::Address::v4(10, 0, 0, 3);
constexpr uint8_t kSend = 0x04;
constexpr uint8_t kDatagram = 0x64;

void put(Frame& frame, size_t at, const wire::Address& address) {
    for (size_t i = 0; i < 4; ++i) {
        frame[at + i] = std::byte{address.bytes[12 + i]};
    }
}

Frame roce(const wire::Address& from, const wire::Address& to, uint32_t qpn, uint8_t opcode = kSend,
           uint32_t source_qpn = 0) {
    Frame frame(14 + 20 + 8 + 12 + 8 + 4);
    wire::store16(&frame[12], 0x0800);
    wire::store8(&frame[14], 0x45);
    wire::store8(&frame[14 + 9], 17);
    put(frame, 14 + 12, from);
    put(frame, 14 + 16, to);
    wire::store16(&frame[14 + 20 + 2], 4791);
    wire::store8(&frame[42], opcode);
    wire::store32(&frame[42 + 4], qpn);
    wire::store32(&frame[42 + 12 + 4], source_qpn);
    return frame;
}

Frame arp(const wire::Address& sender, const wire::Address& target) {
    Frame frame(60);
    wire::store16(&frame[12], 0x0806);
    put(frame, 14 + 14, sender);
    put(frame, 14 + 24, target);
    return frame;
}

TEST(CaptureFilter, without_any_rule_everything_passes) {
    EXPECT_TRUE(passes({}, Frame{}, Direction::Inbound));
    EXPECT_TRUE(passes({}, arp(kOther, kOwn), Direction::Outbound));
}

TEST(CaptureFilter, peer_is_kept_in_both_directions_and_nobody_else) {
    const CaptureFilter filter{.peer = kPeer};
    EXPECT_TRUE(passes(filter, roce(kOwn, kPeer, 1), Direction::Outbound));
    EXPECT_TRUE(passes(filter, roce(kPeer, kOwn, 1), Direction::Inbound));
    EXPECT_FALSE(passes(filter, roce(kOther, kOwn, 1), Direction::Inbound));
}

TEST(CaptureFilter, arp_of_the_peer_is_kept) {
    const CaptureFilter filter{.peer = kPeer};
    EXPECT_TRUE(passes(filter, arp(kPeer, kOwn), Direction::Inbound));
    EXPECT_TRUE(passes(filter, arp(kOwn, kPeer), Direction::Outbound));
    EXPECT_FALSE(passes(filter, arp(kOther, kOwn), Direction::Inbound));
}

TEST(CaptureFilter, ipv6_peer_is_kept_and_ipv4_is_not) {
    CaptureFilter filter{.peer = wire::Address{}};
    filter.peer->bytes = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    Frame frame(14 + 40);
    wire::store16(&frame[12], 0x86dd);
    EXPECT_FALSE(passes(filter, frame, Direction::Inbound));
    for (const size_t at : {8U, 24U}) {
        Frame one = frame;
        for (size_t i = 0; i < 16; ++i) {
            one[14 + at + i] = std::byte{filter.peer->bytes[i]};
        }
        EXPECT_TRUE(passes(filter, one, Direction::Inbound));
    }
    EXPECT_FALSE(passes(filter, roce(kOwn, kPeer, 1), Direction::Outbound));
    EXPECT_FALSE(passes(filter, arp(kOwn, kPeer), Direction::Outbound));
}

TEST(CaptureFilter, queue_pair_receives_under_its_own_number_and_sends_to_its_peers) {
    const CaptureFilter filter{.queue_pair = CaptureFilter::QueuePair{0x111, 0x222}, .peer = kPeer};
    EXPECT_TRUE(passes(filter, roce(kPeer, kOwn, 0x111), Direction::Inbound));
    EXPECT_TRUE(passes(filter, roce(kOwn, kPeer, 0x222), Direction::Outbound));
    EXPECT_FALSE(passes(filter, roce(kPeer, kOwn, 0x222), Direction::Inbound));
    EXPECT_FALSE(passes(filter, roce(kOwn, kPeer, 0x111), Direction::Outbound));
    EXPECT_FALSE(passes(filter, roce(kOwn, kOther, 0x222), Direction::Outbound));
}

TEST(CaptureFilter, datagrams_are_known_by_the_sender_they_name) {
    const CaptureFilter filter{.queue_pair = CaptureFilter::QueuePair{0x111, {}}};
    EXPECT_TRUE(passes(filter, roce(kOwn, kPeer, 9, kDatagram, 0x111), Direction::Outbound));
    EXPECT_TRUE(passes(filter, roce(kPeer, kOwn, 0x111, kDatagram, 9), Direction::Inbound));
    EXPECT_FALSE(passes(filter, roce(kOwn, kPeer, 9, kDatagram, 0x112), Direction::Outbound));
    EXPECT_FALSE(passes(filter, roce(kOwn, kPeer, 9, kSend, 0x111), Direction::Outbound));
}

// The queue pair 0x111 is in two groups.
class Groups final : public QueuePairGroups {
  public:
    bool belongs(uint32_t qpn, const wire::Address& group) const override {
        return qpn == 0x111 && (group == kGroup || group == kGroup6);
    }
    static constexpr wire::Address kGroup = wire::Address::v4(239, 1, 2, 3);
    static constexpr wire::Address kGroup6{{0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3}};
};
constexpr uint32_t kGroupQpn = 0xffffff;

TEST(CaptureFilter, message_to_a_group_is_for_the_queue_pairs_in_it) {
    const Groups groups;
    const CaptureFilter member{.queue_pair = CaptureFilter::QueuePair{0x111, {}}};
    const CaptureFilter other{.queue_pair = CaptureFilter::QueuePair{0x112, {}}};
    const Frame to_group = roce(kPeer, Groups::kGroup, kGroupQpn, kDatagram, 9);
    EXPECT_TRUE(passes(member, to_group, Direction::Inbound, &groups));
    EXPECT_FALSE(passes(member, to_group, Direction::Inbound)) << "nobody says that it is in it";
    EXPECT_FALSE(passes(other, to_group, Direction::Inbound, &groups));
    EXPECT_FALSE(passes(member,
                        roce(kPeer, wire::Address::v4(239, 1, 2, 4), kGroupQpn, kDatagram, 9),
                        Direction::Inbound, &groups));
    EXPECT_FALSE(passes(member, roce(kPeer, Groups::kGroup, 0x112, kDatagram, 9),
                        Direction::Inbound, &groups))
        << "not for the group's number";
}

TEST(CaptureFilter, message_to_an_ipv6_group_is_for_the_queue_pairs_in_it) {
    const Groups groups;
    const CaptureFilter member{.queue_pair = CaptureFilter::QueuePair{0x111, {}}};
    Frame frame(14 + 40 + 8 + 12 + 8);
    wire::store16(&frame[12], 0x86dd);
    wire::store8(&frame[14], 0x60);
    wire::store8(&frame[14 + 6], 17);
    wire::store16(&frame[14 + 40 + 2], 4791);
    wire::store8(&frame[14 + 40 + 8], kDatagram);
    wire::store32(&frame[14 + 40 + 8 + 4], kGroupQpn);
    EXPECT_FALSE(passes(member, frame, Direction::Inbound, &groups));
    for (size_t i = 0; i < 16; ++i) {
        frame[14 + 24 + i] = std::byte{Groups::kGroup6.bytes[i]};
    }
    EXPECT_TRUE(passes(member, frame, Direction::Inbound, &groups));
}

TEST(CaptureFilter, message_to_a_group_is_its_senders_whether_that_is_in_it_or_not) {
    const Groups groups;
    for (const uint32_t qpn : {0x111U, 0x112U}) {
        const CaptureFilter filter{.queue_pair = CaptureFilter::QueuePair{qpn, {}}};
        EXPECT_TRUE(passes(filter, roce(kOwn, Groups::kGroup, kGroupQpn, kDatagram, qpn),
                           Direction::Outbound, &groups));
        EXPECT_FALSE(passes(filter, roce(kOwn, Groups::kGroup, kGroupQpn, kDatagram, 9),
                            Direction::Outbound, &groups));
    }
}

TEST(CaptureFilter, behind_a_tag_a_packet_is_found_as_well) {
    Frame frame = roce(kPeer, kOwn, 0x111);
    const std::array<std::byte, 4> tag{std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{5}};
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    EXPECT_TRUE(passes({.queue_pair = CaptureFilter::QueuePair{0x111, {}}, .peer = kPeer}, frame,
                       Direction::Inbound));
}

TEST(CaptureFilter, frame_that_is_cut_off_passes_no_rule_and_is_not_read_behind_its_end) {
    const CaptureFilter queue_pair{.queue_pair = CaptureFilter::QueuePair{0, 0}};
    const CaptureFilter peer{.peer = kPeer};
    const Frame whole = roce(kOwn, kOther, 0);
    for (size_t length = 0; length < 14 + 20 + 8 + 12; ++length) {
        const Frame cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
        EXPECT_FALSE(passes(queue_pair, cut, Direction::Outbound)) << length;
        EXPECT_FALSE(passes(peer, cut, Direction::Outbound)) << length;
    }
    EXPECT_TRUE(passes(queue_pair, whole, Direction::Outbound));
}

}  // namespace
}  // namespace vrdma::net
