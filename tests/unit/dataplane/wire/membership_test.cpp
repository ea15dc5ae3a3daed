// IGMP and MLD: what we send, and each reason not to believe a question.
#include "dataplane/wire/membership.h"

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/neighbour.h"
#include "dataplane/wire/parse.h"
#include "frames.h"

namespace vrdma::wire {
namespace {

constexpr Address kGroup4 = Address::v4(239, 129, 2, 3);
constexpr Address kGroup6{{0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}};
constexpr size_t kIgmpAt = kIpAt + 24;
constexpr size_t kMldAt = kIpAt + 40 + 8;

void seal(Bytes& frame, bool v6) {
    if (!v6) {
        store16(&frame[kIgmpAt + 2], 0);
        store16(&frame[kIgmpAt + 2],
                checksum_finish(checksum_add(0, std::span(frame).subspan(kIgmpAt))));
        return;
    }
    Address source;
    Address destination;
    std::copy_n(reinterpret_cast<const uint8_t*>(&frame[kIpAt + 8]), 16, source.bytes.begin());
    std::copy_n(reinterpret_cast<const uint8_t*>(&frame[kIpAt + 24]), 16,
                destination.bytes.begin());
    const auto message = std::span(frame).subspan(kMldAt);
    store16(&frame[kMldAt + 2], 0);
    const uint32_t pseudo =
        checksum_pseudo_v6(source, destination, static_cast<uint32_t>(message.size()), 58);
    store16(&frame[kMldAt + 2], checksum_finish(checksum_add(pseudo, message)));
}

Bytes message(MembershipMessage::Kind kind, const Address& source, const Address& group) {
    Bytes frame(kMaxMembershipFrameBytes);
    frame.resize(build_membership(frame, {kind, kMacA, source, group}));
    return frame;
}

// A question about `group`, or about all when it is unspecified. Reports have the same shape.
Bytes query4(const Address& group, uint8_t tenths = 100) {
    Bytes frame = message(MembershipMessage::Kind::Report, kA4, group);
    set(frame, kIgmpAt, 0x11);
    set(frame, kIgmpAt + 1, tenths);
    seal(frame, false);
    return frame;
}
Bytes query6(const Address& group, uint16_t milliseconds = 10'000) {
    Bytes frame = message(MembershipMessage::Kind::Report, kA6, group);
    set(frame, kMldAt, 130);
    store16(&frame[kMldAt + 4], milliseconds);
    seal(frame, true);
    return frame;
}

void expect_dropped(const Bytes& frame, DropReason reason) {
    const auto query = parse_membership_query(frame);
    ASSERT_FALSE(query);
    EXPECT_EQ(drop_reason_name(query.error()), drop_reason_name(reason));
}

TEST(Membership, group_addresses_have_their_mac) {
    EXPECT_EQ(multicast_mac(kGroup4), (Mac{{0x01, 0, 0x5e, 0x01, 2, 3}})) << "23 bits";
    EXPECT_EQ(multicast_mac(kGroup6), (Mac{{0x33, 0x33, 1, 2, 3, 4}}));
}

// RFC 2236 2, RFC 2113.
TEST(Membership, igmp_report_is_the_bytes_of_the_specification) {
    const Bytes frame = message(MembershipMessage::Kind::Report, kA4, kGroup4);
    EXPECT_EQ(frame, from_hex("01005e010203"
                              "02000000000a"
                              "0800"
                              "46c0002000000000010228930a000001ef81020394040000"
                              "1600f87aef810203"));
    const Bytes leave = message(MembershipMessage::Kind::Leave, kA4, kGroup4);
    EXPECT_EQ(std::span(leave).first(6).back(), std::byte{2}) << "224.0.0.2";
    EXPECT_EQ(load8(&leave[kIgmpAt]), 0x17);
    EXPECT_EQ(load32(&leave[kIpAt + 16]), 0xe0000002U);
    EXPECT_EQ(load32(&leave[kIgmpAt + 4]), 0xef810203U);
    EXPECT_EQ(checksum_finish(checksum_add(0, std::span(leave).subspan(kIgmpAt))), 0);
    EXPECT_EQ(checksum_finish(checksum_add(0, std::span(leave).subspan(kIpAt, 24))), 0);
}

// RFC 2710 3, RFC 2711.
TEST(Membership, mld_report_is_the_bytes_of_the_specification) {
    Bytes frame = message(MembershipMessage::Kind::Report, kA6, kGroup6);
    ASSERT_EQ(frame.size(), kMaxMembershipFrameBytes);
    EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 22), from_hex("333301020304"
                                                                 "02000000000a"
                                                                 "86dd"
                                                                 "6000000000200001"));
    EXPECT_EQ(Bytes(frame.begin() + kIpAt + 40, frame.begin() + kMldAt + 2),
              from_hex("3a00050200000100"
                       "8300"));
    const Bytes before = frame;
    seal(frame, true);
    EXPECT_EQ(frame, before) << "checksum";
    const Bytes done = message(MembershipMessage::Kind::Leave, kA6, kGroup6);
    EXPECT_EQ(load8(&done[kMldAt]), 132);
    EXPECT_EQ(load8(&done[kIpAt + 39]), 2) << "ff02::2";
    EXPECT_EQ(load32(&done[kMldAt + 20]), 0x01020304U);
}

TEST(Membership, queries_of_both_protocols_are_understood) {
    const auto general = parse_membership_query(query4(Address::v4(0, 0, 0, 0)));
    ASSERT_TRUE(general);
    EXPECT_FALSE(general->v6 || general->group.has_value());
    EXPECT_EQ(general->within, Duration::milliseconds(10'000));
    const auto specific = parse_membership_query(query4(kGroup4, 10));
    ASSERT_TRUE(specific);
    EXPECT_EQ(specific->group, kGroup4);
    EXPECT_EQ(specific->within, Duration::milliseconds(1000));
    const auto six = parse_membership_query(query6(kGroup6, 250));
    ASSERT_TRUE(six);
    EXPECT_TRUE(six->v6);
    EXPECT_EQ(six->group, kGroup6);
    EXPECT_EQ(six->within, Duration::milliseconds(250));
    EXPECT_FALSE(parse_membership_query(query6(Address{}))->group.has_value());
}

TEST(Membership, times_of_other_versions_are_understood) {
    const Address all = Address::v4(0, 0, 0, 0);
    EXPECT_EQ(parse_membership_query(query4(all, 0))->within, Duration::milliseconds(10'000))
        << "IGMP version 1";
    EXPECT_EQ(parse_membership_query(query4(all, 127))->within, Duration::milliseconds(12'700));
    EXPECT_EQ(parse_membership_query(query4(all, 0x80))->within, Duration::milliseconds(12'800))
        << "RFC 3376 4.1.1";
    EXPECT_EQ(parse_membership_query(query4(all, 0xff))->within, Duration::milliseconds(3'174'400));
    EXPECT_EQ(parse_membership_query(query6({}, 32767))->within, Duration::milliseconds(32'767));
    EXPECT_EQ(parse_membership_query(query6({}, 0x8000))->within, Duration::milliseconds(32'768))
        << "RFC 3810 5.1.3";
    EXPECT_EQ(parse_membership_query(query6({}, 0xffff))->within,
              Duration::milliseconds(8'387'584));
}

// IGMP version 3 and MLD version 2 append fields.
TEST(Membership, longer_queries_are_understood) {
    Bytes four = query4(kGroup4);
    four.resize(four.size() + 4);
    store16(&four[kIpAt + 2], 24 + 12);
    seal(four, false);
    EXPECT_EQ(parse_membership_query(four)->group, kGroup4);
    Bytes six = query6(kGroup6);
    six.resize(six.size() + 4);
    store16(&six[kIpAt + 4], 8 + 28);
    seal(six, true);
    EXPECT_EQ(parse_membership_query(six)->group, kGroup6);
}

TEST(Membership, queries_are_classified_and_reports_are_not) {
    EXPECT_EQ(classify(query4(kGroup4)), FrameKind::Query);
    EXPECT_EQ(classify(query6(kGroup6)), FrameKind::Query);
    EXPECT_EQ(classify(message(MembershipMessage::Kind::Report, kA4, kGroup4)), FrameKind::Other);
    EXPECT_EQ(classify(message(MembershipMessage::Kind::Report, kA6, kGroup6)), FrameKind::Other);
    for (const Bytes& whole : {query4(kGroup4), query6(kGroup6)}) {
        for (size_t length = 0; length < whole.size(); ++length) {
            const auto part = std::span(whole).first(length);
            [[maybe_unused]] const FrameKind kind = classify(part);
            EXPECT_FALSE(parse_membership_query(part)) << length;
        }
    }
}

TEST(Membership, what_is_no_query_is_not_understood) {
    expect_dropped(message(MembershipMessage::Kind::Report, kA4, kGroup4), DropReason::NotQuery);
    expect_dropped(message(MembershipMessage::Kind::Report, kA6, kGroup6), DropReason::NotQuery);
    expect_dropped(roce(Opcode::RcSendOnly, 5), DropReason::NotQuery);
    expect_dropped(roce(Opcode::RcSendOnly, 5, true), DropReason::NotQuery);
    Bytes arp = query4(kGroup4);
    store16(&arp[12], 0x0806);
    expect_dropped(arp, DropReason::NotIp);
    expect_dropped(Bytes(10), DropReason::FrameTruncated);
}

TEST(Membership, query_shorter_than_it_says_is_dropped) {
    for (const Bytes& whole : {query4(kGroup4), query6(kGroup6)}) {
        const Bytes cut(whole.begin(), whole.end() - 1);
        expect_dropped(cut, DropReason::QueryTruncated);
    }
    Bytes header = query4(kGroup4);
    set(header, kIpAt, 0x44);
    expect_dropped(header, DropReason::QueryTruncated);
    Bytes options = query6(kGroup6);
    set(options, kIpAt + 41, 200);
    expect_dropped(options, DropReason::QueryTruncated);
}

TEST(Membership, query_from_behind_a_router_is_dropped) {
    Bytes four = query4(kGroup4);
    set(four, kIpAt + 8, 2);
    expect_dropped(four, DropReason::QueryHopLimit);
    Bytes six = query6(kGroup6);
    set(six, kIpAt + 7, 255);
    expect_dropped(six, DropReason::QueryHopLimit);
}

TEST(Membership, mld_query_that_is_not_link_local_is_dropped) {
    Bytes frame = query6(kGroup6);
    set(frame, kIpAt + 8, 0x20);
    seal(frame, true);
    expect_dropped(frame, DropReason::QuerySource);
}

TEST(Membership, damaged_query_is_dropped) {
    Bytes four = query4(kGroup4);
    set(four, kIgmpAt + 7, 9);
    expect_dropped(four, DropReason::QueryChecksum);
    Bytes six = query6(kGroup6);
    set(six, kMldAt + 23, 9);
    expect_dropped(six, DropReason::QueryChecksum);
}

TEST(Membership, query_about_no_group_is_dropped) {
    expect_dropped(query4(kB4), DropReason::QueryGroup);
    expect_dropped(query4(Address::v4(255, 255, 255, 255)), DropReason::QueryGroup);
    expect_dropped(query6(kB6), DropReason::QueryGroup);
}

TEST(Membership, groups_that_stay_on_the_host_are_not_reported) {
    EXPECT_TRUE(is_reported(kGroup4));
    EXPECT_TRUE(is_reported(kGroup6));
    EXPECT_FALSE(is_reported(Address::v4(224, 0, 0, 1)));
    EXPECT_TRUE(is_reported(Address::v4(224, 0, 0, 251)));
    Address scope = kGroup6;
    scope.bytes[1] = 0x11;
    EXPECT_FALSE(is_reported(scope)) << "interface-local";
    EXPECT_FALSE(is_reported(Address{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}));
}

}  // namespace
}  // namespace vrdma::wire
