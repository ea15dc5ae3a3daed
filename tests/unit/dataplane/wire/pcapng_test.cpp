#include "dataplane/wire/pcapng.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

TEST(PcapngSection, block_has_the_bytes_of_the_draft) {
    Bytes out(pcapng_section_bytes(""));
    ASSERT_EQ(write_pcapng_section(out, ""), out.size());
    EXPECT_EQ(out, from_hex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000"));
}

TEST(PcapngSection, application_is_an_option) {
    Bytes out(pcapng_section_bytes("vrdma"));
    ASSERT_EQ(write_pcapng_section(out, "vrdma"), out.size());
    EXPECT_EQ(out, from_hex("0a0d0d0a2c0000004d3c2b1a01000000ffffffffffffffff"
                            "040005007672646d61000000"
                            "00000000"
                            "2c000000"));
}

TEST(PcapngInterface, block_says_ethernet_and_nanoseconds) {
    Bytes out(pcapng_interface_bytes("p0"));
    ASSERT_EQ(write_pcapng_interface(out, "p0"), out.size());
    EXPECT_EQ(out, from_hex("01000000280000000100000000000100"
                            "0200020070300000"
                            "0900010009000000"
                            "00000000"
                            "28000000"));
}

TEST(PcapngPacket, block_has_time_lengths_bytes_and_comment) {
    const Bytes kept = from_hex("0102030405");
    const CapturedPacket packet{.interface = 1,
                                .at = Instant{0x0000000100000002},
                                .bytes = kept,
                                .original_length = 9,
                                .comment = "lost"};
    Bytes out(pcapng_packet_bytes(packet));
    ASSERT_EQ(write_pcapng_packet(out, packet), out.size());
    EXPECT_EQ(out, from_hex("0600000034000000"
                            "01000000"
                            "0100000002000000"
                            "0500000009000000"
                            "0102030405000000"
                            "010004006c6f7374"
                            "00000000"
                            "34000000"));
}

TEST(PcapngPacket, block_without_comment_has_no_options) {
    const CapturedPacket packet{.bytes = {}, .original_length = 0, .comment = {}};
    EXPECT_EQ(pcapng_packet_bytes(packet), 32U);
    Bytes out(32);
    EXPECT_EQ(write_pcapng_packet(out, packet), 32U);
}

TEST(PcapngInterface, block_says_how_much_of_a_packet_is_kept) {
    Bytes out(pcapng_interface_bytes(""));
    ASSERT_EQ(write_pcapng_interface(out, "", 128), out.size());
    EXPECT_EQ(out, from_hex("01000000200000000100000080000000"
                            "0900010009000000"
                            "00000000"
                            "20000000"));
}

TEST(PcapngPacket, direction_is_an_option) {
    for (const auto& [direction, flags] : {std::pair{CaptureDirection::Inbound, "01000000"},
                                           {CaptureDirection::Outbound, "02000000"}}) {
        const CapturedPacket packet{.direction = direction};
        Bytes out(pcapng_packet_bytes(packet));
        ASSERT_EQ(write_pcapng_packet(out, packet), out.size());
        EXPECT_EQ(out, from_hex("060000002c000000"
                                "00000000"
                                "0000000000000000"
                                "0000000000000000"
                                "02000400" +
                                std::string(flags) +
                                "00000000"
                                "2c000000"));
    }
}

TEST(PcapngPacket, number_of_packets_missed_before_it_is_an_option) {
    const CapturedPacket packet{.missed = 0x0102};
    Bytes out(pcapng_packet_bytes(packet));
    ASSERT_EQ(write_pcapng_packet(out, packet), out.size());
    EXPECT_EQ(out, from_hex("0600000030000000"
                            "00000000"
                            "0000000000000000"
                            "0000000000000000"
                            "040008000201000000000000"
                            "00000000"
                            "30000000"));
}

TEST(PcapngStatistics, block_has_time_and_both_counts) {
    Bytes out(pcapng_statistics_bytes());
    ASSERT_EQ(
        write_pcapng_statistics(
            out, {.interface = 1, .at = Instant{0x0000000100000002}, .received = 7, .missed = 3}),
        out.size());
    EXPECT_EQ(out, from_hex("0500000034000000"
                            "01000000"
                            "0100000002000000"
                            "040008000700000000000000"
                            "050008000300000000000000"
                            "00000000"
                            "34000000"));
}

TEST(PcapngPacket, long_comment_is_cut) {
    const std::string comment(2000, 'x');
    const CapturedPacket packet{.comment = comment};
    Bytes out(pcapng_packet_bytes(packet));
    EXPECT_EQ(out.size(), 32U + 4 + kMaxPcapngText + 4);
    EXPECT_EQ(write_pcapng_packet(out, packet), out.size());
}

}  // namespace
}  // namespace vrdma::wire
