#include "dataplane/wire/arp.h"

#include <gtest/gtest.h>

#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

constexpr size_t kArpAt = 14;

Bytes request() {
    Bytes frame(kArpFrameBytes);
    EXPECT_EQ(build_arp(frame,
                        {.operation = Arp::Operation::Request,
                         .sender_mac = kMacA,
                         .sender = kA4,
                         .target = kB4},
                        Mac::broadcast()),
              frame.size());
    return frame;
}

void expect_drop(const Bytes& frame, DropReason reason) {
    const auto arp = parse_arp(frame);
    ASSERT_FALSE(arp);
    EXPECT_EQ(drop_reason_name(arp.error()), drop_reason_name(reason));
}

TEST(ArpRfc826, request_comes_back_from_the_parser) {
    const auto arp = parse_arp(request());
    ASSERT_TRUE(arp);
    EXPECT_EQ(arp->operation, Arp::Operation::Request);
    EXPECT_EQ(arp->sender_mac, kMacA);
    EXPECT_EQ(arp->sender, kA4);
    EXPECT_EQ(arp->target_mac, Mac{});
    EXPECT_EQ(arp->target, kB4);
}

TEST(ArpRfc826, frame_has_the_bytes_of_the_standard) {
    EXPECT_EQ(request(), from_hex("ffffffffffff02000000000a0806"
                                  "0001080006040001"
                                  "02000000000a0a0000010000000000000a000002"));
}

TEST(ArpRfc826, padded_frame_is_accepted) {
    Bytes frame = request();
    frame.resize(60);
    EXPECT_TRUE(parse_arp(frame));
}

TEST(ArpRfc826, frame_shorter_than_ethernet_is_dropped) {
    expect_drop(Bytes(5), DropReason::FrameTruncated);
}

TEST(ArpRfc826, other_ethertype_is_dropped) {
    Bytes frame = request();
    set(frame, 13, 0);
    expect_drop(frame, DropReason::NotArp);
}

TEST(ArpRfc826, short_frame_is_dropped) {
    Bytes frame = request();
    frame.pop_back();
    expect_drop(frame, DropReason::ArpTruncated);
}

TEST(ArpRfc826, each_other_format_is_dropped) {
    for (const size_t at : {1U, 2U, 4U, 5U, 7U}) {
        Bytes frame = request();
        set(frame, kArpAt + at, 9);
        expect_drop(frame, DropReason::ArpFormat);
    }
}

TEST(ArpRfc826, sender_mac_other_than_the_frames_is_dropped) {
    Bytes frame = request();
    set(frame, kArpAt + 13, 0x77);
    expect_drop(frame, DropReason::ArpSender);
}

TEST(ArpRfc826, group_as_sender_mac_is_dropped) {
    Bytes frame = request();
    set(frame, 6, 0x03);
    set(frame, kArpAt + 8, 0x03);
    expect_drop(frame, DropReason::ArpSender);
}

TEST(ArpRfc826, group_as_sender_address_is_dropped) {
    Bytes frame = request();
    set(frame, kArpAt + 14, 239);
    expect_drop(frame, DropReason::ArpSender);
}

TEST(ArpRfc5227, unspecified_sender_is_a_probe_in_a_request_and_dropped_in_a_reply) {
    Bytes frame = request();
    for (const size_t at : {14U, 15U, 16U, 17U}) {
        set(frame, kArpAt + at, 0);
    }
    EXPECT_TRUE(parse_arp(frame));
    set(frame, kArpAt + 7, 2);
    expect_drop(frame, DropReason::ArpSender);
}

}  // namespace
}  // namespace vrdma::wire
