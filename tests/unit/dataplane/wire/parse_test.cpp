#include "dataplane/wire/parse.h"

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"
#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

// Exactly one check fires: everything else of the frame is right.
void expect_drop(const Bytes& frame, DropReason reason, Verify verify = Verify::All) {
    const auto packet = parse(frame, verify);
    ASSERT_FALSE(packet);
    EXPECT_EQ(drop_reason_name(packet.error()), drop_reason_name(reason));
}

const Bytes kGood4 = roce(Opcode::RcSendOnly, 13);
const Bytes kGood6 = roce(Opcode::RcSendOnly, 13, true);

TEST(Parse, good_frame_of_ipv4_gives_all_fields) {
    const auto packet = parse(kGood4);
    ASSERT_TRUE(packet) << drop_reason_name(packet.error());
    EXPECT_EQ(packet->network.source, kA4);
    EXPECT_EQ(packet->network.destination, kB4);
    EXPECT_EQ(packet->network.source_mac, kMacA);
    EXPECT_EQ(packet->network.destination_mac, kMacB);
    EXPECT_EQ(packet->network.source_port, 0xc123);
    EXPECT_EQ(packet->network.dscp, 26);
    EXPECT_EQ(packet->network.ecn, Ecn::Capable0);
    EXPECT_EQ(packet->network.hop_limit, 33);
    EXPECT_FALSE(packet->network.v6);
    EXPECT_EQ(packet->bth.dqpn, 0x123456U);
    EXPECT_EQ(packet->bth.psn, 0x654321U);
    EXPECT_EQ(packet->bth.pad, 3);
    EXPECT_EQ(Bytes(packet->payload.begin(), packet->payload.end()), pattern(13));
    EXPECT_EQ(packet->ip_header.data(), kGood4.data() + kIpAt);
    EXPECT_EQ(packet->ip_header.size(), kIpv4Bytes);
}

TEST(Parse, good_frame_of_ipv6_gives_all_fields) {
    const auto packet = parse(kGood6);
    ASSERT_TRUE(packet) << drop_reason_name(packet.error());
    EXPECT_EQ(packet->network.source, kA6);
    EXPECT_EQ(packet->network.destination, kB6);
    EXPECT_EQ(packet->network.dscp, 26);
    EXPECT_EQ(packet->network.ecn, Ecn::Capable0);
    EXPECT_EQ(packet->network.hop_limit, 33);
    EXPECT_TRUE(packet->network.v6);
    EXPECT_EQ(packet->ip_header.size(), kIpv6Bytes);
    EXPECT_EQ(packet->payload.size(), 13U);
}

TEST(Parse, every_truncation_is_refused) {
    for (const Bytes& good : {kGood4, kGood6}) {
        for (size_t length = 0; length < good.size(); ++length) {
            EXPECT_FALSE(parse(std::span(good).first(length))) << length;
        }
    }
}

TEST(Parse, every_flipped_bit_of_what_is_covered_is_refused) {
    for (const bool v6 : {false, true}) {
        const Bytes good = roce(Opcode::RcWriteOnlyImm, 6, v6);
        const size_t variant_end = kIpAt + (v6 ? kIpv6Bytes : kIpv4Bytes);
        for (size_t bit = variant_end * 8; bit < good.size() * 8; ++bit) {
            const size_t behind = bit / 8 - variant_end;
            if (behind == 6 || behind == 7 || behind == kUdpBytes + 4) {
                continue;  // UDP checksum, and FECN, BECN and reserved bits
            }
            Bytes changed = good;
            set(changed, bit / 8, std::to_integer<unsigned>(good[bit / 8]) ^ (0x80U >> (bit % 8)));
            EXPECT_FALSE(parse(changed)) << "bit " << bit;
        }
    }
}

TEST(Parse, ethernet_padding_is_ignored) {
    Bytes frame = roce(Opcode::RcSendOnly, 0);
    frame.resize(frame.size() + 9, std::byte{0xee});
    const auto packet = parse(frame);
    ASSERT_TRUE(packet);
    EXPECT_TRUE(packet->payload.empty());
}

TEST(Parse, ieee802_1q_tag_is_tolerated_and_reported) {
    Bytes frame = kGood4;
    const Bytes tag = from_hex("8100a123");
    frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    const auto packet = parse(frame);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->network.vlan, 0x123);
}

TEST(Parse, frame_shorter_than_ethernet_is_dropped) {
    expect_drop(Bytes(13), DropReason::FrameTruncated);
}

TEST(Parse, frame_that_ends_in_its_tag_is_dropped) {
    expect_drop(from_hex("02000000000b02000000000a8100000108"), DropReason::FrameTruncated);
}

TEST(Parse, other_ethertype_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + 12, 0x88cc);
    expect_drop(frame, DropReason::NotIp);
}

TEST(Parse, second_tag_is_dropped) {
    Bytes frame = kGood4;
    const Bytes tags = from_hex("8100000181000002");
    frame.insert(frame.begin() + 12, tags.begin(), tags.end());
    expect_drop(frame, DropReason::NotIp);
}

TEST(ParseIpv4, shorter_than_its_header_is_dropped) {
    expect_drop(Bytes(kGood4.begin(), kGood4.begin() + kIpAt + 19), DropReason::Ipv4Truncated);
}

TEST(ParseIpv4, other_version_is_dropped) {
    Bytes frame = kGood4;
    set(frame, kIpAt, 0x65);
    reseal(frame);
    expect_drop(frame, DropReason::Ipv4Version);
}

TEST(ParseIpv4, options_are_dropped) {
    Bytes frame = kGood4;
    set(frame, kIpAt, 0x46);
    reseal(frame);
    expect_drop(frame, DropReason::Ipv4HeaderLength);
}

TEST(ParseIpv4, header_length_below_the_minimum_is_dropped) {
    Bytes frame = kGood4;
    set(frame, kIpAt, 0x44);
    reseal(frame);
    expect_drop(frame, DropReason::Ipv4HeaderLength);
}

TEST(ParseIpv4, total_length_beyond_the_frame_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kIpAt + 2, static_cast<uint16_t>(frame.size() - kIpAt + 1));
    reseal_ipv4(frame);
    expect_drop(frame, DropReason::Ipv4TotalLength);
}

TEST(ParseIpv4, total_length_below_its_header_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kIpAt + 2, 19);
    reseal_ipv4(frame);
    expect_drop(frame, DropReason::Ipv4TotalLength);
}

TEST(ParseIpv4, first_fragment_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kIpAt + 6, 0x2000);
    reseal(frame);
    expect_drop(frame, DropReason::Ipv4Fragment);
}

TEST(ParseIpv4, later_fragment_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kIpAt + 6, 0x0001);
    reseal(frame);
    expect_drop(frame, DropReason::Ipv4Fragment);
}

TEST(ParseIpv4, wrong_checksum_is_dropped) {
    Bytes frame = kGood4;
    frame[kIpAt + 10] ^= std::byte{1};
    expect_drop(frame, DropReason::Ipv4Checksum);
}

TEST(ParseIpv4, checksum_that_the_port_verified_is_not_looked_at) {
    Bytes frame = kGood4;
    frame[kIpAt + 10] ^= std::byte{1};
    EXPECT_TRUE(parse(frame, Verify::NotIpv4));
}

TEST(ParseIpv4, source_that_is_a_group_is_dropped) {
    Bytes frame = kGood4;
    set(frame, kIpAt + 12, 224);
    reseal(frame);
    expect_drop(frame, DropReason::SourceAddress);
}

TEST(ParseIpv4, source_that_is_broadcast_is_dropped) {
    Bytes frame = kGood4;
    store32(frame.data() + kIpAt + 12, 0xffffffff);
    reseal(frame);
    expect_drop(frame, DropReason::SourceAddress);
}

TEST(ParseIpv4, unspecified_source_is_dropped) {
    Bytes frame = kGood4;
    store32(frame.data() + kIpAt + 12, 0);
    reseal(frame);
    expect_drop(frame, DropReason::SourceAddress);
}

TEST(ParseIpv6, shorter_than_its_header_is_dropped) {
    expect_drop(Bytes(kGood6.begin(), kGood6.begin() + kIpAt + 39), DropReason::Ipv6Truncated);
}

TEST(ParseIpv6, other_version_is_dropped) {
    Bytes frame = kGood6;
    set(frame, kIpAt, 0x46);
    reseal(frame);
    expect_drop(frame, DropReason::Ipv6Version);
}

TEST(ParseIpv6, payload_length_beyond_the_frame_is_dropped) {
    Bytes frame = kGood6;
    store16(frame.data() + kIpAt + 4, static_cast<uint16_t>(frame.size() - kIpAt - 39));
    expect_drop(frame, DropReason::Ipv6PayloadLength);
}

TEST(ParseIpv6, source_that_is_a_group_is_dropped) {
    Bytes frame = kGood6;
    set(frame, kIpAt + 8, 0xff);
    reseal(frame);
    expect_drop(frame, DropReason::SourceAddress);
}

// It would be taken for the IPv4 host with that address.
TEST(ParseIpv6, source_in_the_form_of_ipv4_is_dropped) {
    Bytes frame = kGood6;
    std::copy(kA4.bytes.begin(), kA4.bytes.end(),
              reinterpret_cast<uint8_t*>(frame.data() + kIpAt + 8));
    reseal(frame);
    expect_drop(frame, DropReason::SourceAddress);
}

TEST(ParseIpv6, extension_header_is_dropped) {
    Bytes frame = kGood6;
    set(frame, kIpAt + 6, 44);
    reseal(frame);
    expect_drop(frame, DropReason::NotUdp);
}

TEST(ParseUdp, other_protocol_is_dropped) {
    Bytes frame = kGood4;
    set(frame, kIpAt + 9, 6);
    reseal(frame);
    expect_drop(frame, DropReason::NotUdp);
}

TEST(ParseUdp, shorter_than_its_header_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kIpAt + 2, kIpv4Bytes + 7);
    reseal_ipv4(frame);
    expect_drop(frame, DropReason::UdpTruncated);
}

TEST(ParseUdp, other_port_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kUdpAt4 + 2, 4792);
    reseal(frame);
    expect_drop(frame, DropReason::NotRoce);
}

TEST(ParseUdp, length_that_differs_from_ip_is_dropped) {
    for (const int difference : {-1, 1}) {
        Bytes frame = kGood4;
        std::byte* at = frame.data() + kUdpAt4 + 4;
        store16(at, static_cast<uint16_t>(load16(at) + difference));
        reseal(frame);
        expect_drop(frame, DropReason::UdpLength);
    }
}

// Annex A17: RoCE senders put 0, and the ICRC covers more.
TEST(ParseUdp, checksum_is_not_looked_at) {
    Bytes frame = kGood4;
    store16(frame.data() + kUdpAt4 + 6, 0xbeef);
    EXPECT_TRUE(parse(frame));
}

TEST(ParseBth9_2, no_room_for_bth_and_icrc_is_dropped) {
    Bytes frame = roce(Opcode::RcSendOnly, 0);
    frame.pop_back();
    store16(frame.data() + kIpAt + 2, static_cast<uint16_t>(frame.size() - kIpAt));
    store16(frame.data() + kUdpAt4 + 4, static_cast<uint16_t>(frame.size() - kUdpAt4));
    reseal_ipv4(frame);
    expect_drop(frame, DropReason::BthTruncated);
}

TEST(ParseIcrc7_8_1, wrong_value_is_dropped) {
    Bytes frame = kGood4;
    frame.back() ^= std::byte{1};
    expect_drop(frame, DropReason::Icrc);
    expect_drop(frame, DropReason::Icrc, Verify::NotIpv4);
}

TEST(ParseIcrc7_8_1, value_that_nobody_sent_is_not_looked_at) {
    Bytes frame = kGood4;
    frame.back() ^= std::byte{1};
    EXPECT_TRUE(parse(frame, Verify::Nothing));
}

TEST(ParseBth9_6_1_1, other_transport_version_is_dropped) {
    for (const unsigned bit : {1U, 2U, 4U, 8U}) {
        Bytes frame = kGood4;
        frame[kBthAt4 + 1] |= static_cast<std::byte>(bit);
        reseal(frame);
        expect_drop(frame, DropReason::BthVersion);
    }
}

TEST(ParseBth9_6_1_1, other_partition_is_dropped) {
    Bytes frame = kGood4;
    store16(frame.data() + kBthAt4 + 2, 0x8001);
    reseal(frame);
    expect_drop(frame, DropReason::BthPkey);
}

TEST(ParseBth9_6_1_1, limited_member_of_the_default_partition_is_accepted) {
    Bytes frame = kGood4;
    store16(frame.data() + kBthAt4 + 2, 0x7fff);
    reseal(frame);
    EXPECT_TRUE(parse(frame));
}

TEST(ParseBth9_2_1, every_opcode_we_do_not_speak_is_dropped) {
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        if (opcode_info(static_cast<uint8_t>(opcode)).known) {
            continue;
        }
        Bytes frame = kGood4;
        set(frame, kBthAt4, opcode);
        reseal(frame);
        expect_drop(frame, DropReason::OpcodeUnknown);
    }
}

TEST(ParseBth9_2, reserved_bits_are_ignored) {
    Bytes frame = kGood4;
    frame[kBthAt4 + 4] |= std::byte{0x3f};
    frame[kBthAt4 + 8] |= std::byte{0x7f};
    reseal(frame);
    const auto packet = parse(frame);
    ASSERT_TRUE(packet);
    EXPECT_FALSE(packet->bth.fecn);
    EXPECT_FALSE(packet->bth.ack_request);
    EXPECT_EQ(packet->bth.psn, 0x654321U);
}

TEST(ParseExtension9_3, every_opcode_without_room_for_its_headers_is_dropped) {
    for (unsigned value = 0; value < 256; ++value) {
        const OpcodeInfo& info = opcode_info(static_cast<uint8_t>(value));
        if (!info.known || info.extension_bytes == 0) {
            continue;
        }
        Bytes frame = roce(static_cast<Opcode>(value));
        resize_content(frame, -1);
        expect_drop(frame, DropReason::ExtensionTruncated);
    }
}

TEST(ParsePayload9_7, every_opcode_without_payload_refuses_bytes) {
    for (unsigned value = 0; value < 256; ++value) {
        const OpcodeInfo& info = opcode_info(static_cast<uint8_t>(value));
        if (!info.known || info.payload) {
            continue;
        }
        Bytes frame = roce(static_cast<Opcode>(value));
        resize_content(frame, 4);
        expect_drop(frame, DropReason::PayloadUnexpected);
    }
}

TEST(ParsePayload9_7, opcode_without_payload_refuses_pad) {
    Bytes frame = roce(Opcode::RcAcknowledge);
    frame[kBthAt4 + 1] |= std::byte{0x10};
    reseal(frame);
    expect_drop(frame, DropReason::PayloadUnexpected);
}

TEST(ParsePayload9_7, first_and_middle_packets_have_no_pad) {
    for (const Opcode opcode : {Opcode::RcSendFirst, Opcode::RcSendMiddle, Opcode::UcWriteMiddle,
                                Opcode::RcReadResponseMiddle}) {
        Bytes frame = roce(opcode, 256);
        frame[kBthAt4 + 1] |= std::byte{0x20};
        reseal(frame);
        expect_drop(frame, DropReason::PadOfFullPacket);
    }
}

TEST(ParsePayload9_7, pad_without_payload_is_dropped) {
    Bytes frame = roce(Opcode::RcSendOnly, 0);
    frame[kBthAt4 + 1] |= std::byte{0x10};
    reseal(frame);
    expect_drop(frame, DropReason::PadExceedsPayload);
}

TEST(ParsePayload9_7, payload_and_pad_that_are_no_multiple_of_four_are_dropped) {
    for (const int extra : {1, 2, 3}) {
        Bytes frame = roce(Opcode::RcSendOnly, 8);
        resize_content(frame, extra);
        expect_drop(frame, DropReason::PayloadUnaligned);
    }
}

TEST(ParsePayload9_7, more_than_the_largest_path_mtu_is_dropped) {
    Bytes frame = roce(Opcode::RcSendOnly, kMaxPayloadBytes);
    EXPECT_TRUE(parse(frame));
    resize_content(frame, 4);
    expect_drop(frame, DropReason::PayloadTooLong);
}

TEST(ParseProbe, other_magic_number_is_dropped) {
    Bytes frame = roce(Opcode::Probe);
    frame[kBthAt4 + kBthBytes] ^= std::byte{1};
    reseal(frame);
    expect_drop(frame, DropReason::ProbeMalformed);
}

TEST(ParseProbe, unknown_role_is_dropped) {
    for (const unsigned role : {0U, 3U, 255U}) {
        Bytes frame = roce(Opcode::Probe);
        set(frame, kBthAt4 + kBthBytes + 4, role);
        reseal(frame);
        expect_drop(frame, DropReason::ProbeMalformed);
    }
}

}  // namespace
}  // namespace vrdma::wire
