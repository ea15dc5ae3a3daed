#include "dataplane/wire/icrc.h"

#include <gtest/gtest.h>

#include <array>

#include "dataplane/wire/build.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/parse.h"
#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

// A congestion notification that a ConnectX-4 Lx sent (a test vector of scapy's RoCE layer).
constexpr std::string_view kConnectXCnp =
    "02000000000202000000000108004"
    "5c2003c718c4000401191610a0011010a001201"
    "000012b700280000"
    "8100ffff4000011800000000"
    "00000000000000000000000000000000"
    "82fd002a";

TEST(IcrcA17_3_3, seed_is_the_state_after_the_masked_lrh) {
    std::array<std::byte, 8> ones;
    ones.fill(std::byte{0xff});
    EXPECT_EQ(crc32_update(0xffffffff, ones), kIcrcSeed);
}

TEST(IcrcA17_3_3, notification_of_a_connectx_verifies) {
    const Bytes frame = from_hex(kConnectXCnp);
    const auto packet = parse(frame);
    ASSERT_TRUE(packet) << drop_reason_name(packet.error());
    EXPECT_EQ(packet->bth.opcode, Opcode::Cnp);
    EXPECT_EQ(packet->bth.dqpn, 0x118U);
    EXPECT_TRUE(packet->bth.becn);
    EXPECT_EQ(packet->network.source_port, 0);
    EXPECT_EQ(packet->network.dscp, 48);
    EXPECT_EQ(packet->network.source, Address::v4(10, 0, 17, 1));
}

TEST(IcrcA17_3_3, uc_packet_gets_the_value_that_scapy_computes) {
    const FlowTemplate flow(Flow{.source_mac = kMacA,
                                 .destination_mac = kMacB,
                                 .source = Address::v4(192, 168, 0, 7),
                                 .destination = Address::v4(192, 168, 0, 7),
                                 .source_port = 49152,
                                 .ecn = Ecn::Capable1,
                                 .hop_limit = 64});
    const HeaderFields fields{.opcode = Opcode::UcSendOnly,
                              .migrated = true,
                              .dqpn = 211,
                              .psn = 13571856,
                              .ipv4_identification = 1144};
    const Bytes payload = from_hex("4630818be28935d90e9a95505401be885e50");
    Bytes frame(frame_bytes(fields.opcode, false, payload.size()));
    ASSERT_EQ(build_frame(frame, flow, fields, payload), frame.size());
    EXPECT_EQ(Bytes(frame.end() - 4, frame.end()), from_hex("78f353f3"));
    EXPECT_TRUE(parse(frame));
}

// What the ICRC covers, byte by byte: a change is noticed, except where a switch may make one.
class IcrcCoverage : public testing::TestWithParam<bool> {};

TEST_P(IcrcCoverage, exactly_the_variant_fields_may_change) {
    const bool v6 = GetParam();
    const Bytes good = roce(Opcode::RcSendOnly, 5, v6);
    const std::byte* at = good.data() + kIpAt;
    const size_t ip_bytes = v6 ? kIpv6Bytes : kIpv4Bytes;
    const size_t checked = ip_bytes + kUdpBytes + kBthBytes;
    for (size_t bit = 0; bit < checked * 8; ++bit) {
        Bytes changed = good;
        set(changed, kIpAt + bit / 8,
            std::to_integer<unsigned>(at[bit / 8]) ^ (0x80U >> (bit % 8)));
        const size_t byte = bit / 8;
        const bool ip_variant = v6 ? (bit >= 4 && bit < 32) || byte == 7
                                   : byte == 1 || byte == 8 || byte == 10 || byte == 11;
        const bool variant = ip_variant || byte == ip_bytes + 6 || byte == ip_bytes + 7 ||
                             byte == ip_bytes + kUdpBytes + 4;
        EXPECT_EQ(icrc_of_headers(changed.data() + kIpAt, v6) == icrc_of_headers(at, v6), variant)
            << "bit " << bit;
    }
}

INSTANTIATE_TEST_SUITE_P(Versions, IcrcCoverage, testing::Bool(),
                         [](const auto& test) { return test.param ? "ipv6" : "ipv4"; });

}  // namespace
}  // namespace vrdma::wire
