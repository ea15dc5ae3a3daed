#include <gtest/gtest.h>

#include "dataplane/wire/arp.h"
#include "dataplane/wire/icmp.h"
#include "dataplane/wire/neighbour.h"
#include "dataplane/wire/parse.h"
#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

Network network(bool v6) {
    return {.source = v6 ? kA6 : kA4,
            .destination = v6 ? kB6 : kB4,
            .source_mac = kMacA,
            .destination_mac = kMacB,
            .v6 = v6,
            .hop_limit = 64};
}

TEST(Classify, each_codec_gets_its_frames) {
    Bytes frame(200);
    EXPECT_EQ(classify(roce(Opcode::RcSendOnly, 5)), FrameKind::Roce);
    EXPECT_EQ(classify(roce(Opcode::RcSendOnly, 5, true)), FrameKind::Roce);
    (void)build_arp(frame, {.sender = kA4, .target = kB4}, Mac::broadcast());
    EXPECT_EQ(classify(frame), FrameKind::Arp);
    (void)build_neighbour(frame, {.source = kA6, .destination = kB6, .target = kB6});
    EXPECT_EQ(classify(frame), FrameKind::Neighbour);
    for (const bool v6 : {false, true}) {
        (void)build_echo(frame, {.network = network(v6)});
        EXPECT_EQ(classify(frame), FrameKind::Echo);
        (void)build_path_mtu(
            frame,
            {.network = network(v6), .source = v6 ? kA6 : kA4, .destination = v6 ? kB6 : kB4});
        EXPECT_EQ(classify(frame), FrameKind::PathMtu);
    }
}

TEST(Classify, tag_is_looked_behind) {
    Bytes frame = roce(Opcode::RcSendOnly, 5);
    const Bytes tag = from_hex("81000001");
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    EXPECT_EQ(classify(frame), FrameKind::Roce);
}

TEST(Classify, everything_else_is_other) {
    EXPECT_EQ(classify({}), FrameKind::Other);
    EXPECT_EQ(classify(Bytes(60)), FrameKind::Other);
    Bytes frame = roce(Opcode::RcSendOnly, 5);
    EXPECT_EQ(classify(std::span(frame).first(kUdpAt4 + 3)), FrameKind::Other);
    set(frame, kUdpAt4 + 3, 0);
    EXPECT_EQ(classify(frame), FrameKind::Other);
    set(frame, kIpAt + 9, 6);
    EXPECT_EQ(classify(frame), FrameKind::Other);
    for (const unsigned type : {5U, 11U}) {
        set(frame, kIpAt + 9, 1);
        set(frame, kUdpAt4, type);
        EXPECT_EQ(classify(frame), FrameKind::Other);
    }
    Bytes six = roce(Opcode::RcSendOnly, 5, true);
    set(six, kIpAt + 6, 58);
    set(six, kIpAt + kIpv6Bytes, 134);
    EXPECT_EQ(classify(six), FrameKind::Other);
}

}  // namespace
}  // namespace vrdma::wire
