#include "dataplane/wire/opcode.h"

#include <gtest/gtest.h>

#include "dataplane/wire/syndrome.h"

namespace vrdma::wire {
namespace {

// CVE-2026-46133: unknown opcodes with the RC prefix crash soft-RoCE; ours stay out of it.
TEST(Opcode9_2_1, our_extensions_are_manufacturer_specific) {
    EXPECT_GE(static_cast<unsigned>(Opcode::Probe), 0xc0U);
    EXPECT_GE(static_cast<unsigned>(Opcode::Sack), 0xc0U);
}

TEST(Opcode9_2_1, service_follows_from_the_upper_three_bits) {
    for (unsigned value = 0; value < 256; ++value) {
        const OpcodeInfo& info = opcode_info(static_cast<uint8_t>(value));
        if (!info.known) {
            continue;
        }
        const Service expected = value < 0x20             ? Service::Rc
                                 : value < 0x40           ? Service::Uc
                                 : (value & 0xe0) == 0x60 ? Service::Ud
                                 : (value & 0xe0) == 0xa0 ? Service::Xrc
                                                          : Service::Other;
        EXPECT_EQ(info.service, expected) << value;
    }
}

TEST(Opcode9_2_1, uc_says_the_same_as_rc) {
    for (unsigned value = 0; value <= 0x0b; ++value) {
        const OpcodeInfo& rc = opcode_info(static_cast<uint8_t>(value));
        const OpcodeInfo& uc = opcode_info(static_cast<uint8_t>(value + 0x20));
        EXPECT_EQ(rc.extensions, uc.extensions);
        EXPECT_EQ(rc.kind, uc.kind);
        EXPECT_EQ(rc.position, uc.position);
        EXPECT_EQ(rc.payload, uc.payload);
        EXPECT_EQ(rc.needs_receive, uc.needs_receive);
    }
}

TEST(OpcodeAnnexA14, xrc_says_the_same_as_rc_and_names_an_srq_in_requests) {
    for (unsigned value = 0; value < 0x20; ++value) {
        const OpcodeInfo& rc = opcode_info(static_cast<uint8_t>(value));
        const OpcodeInfo& xrc = opcode_info(static_cast<uint8_t>(value + 0xa0));
        ASSERT_EQ(rc.known, xrc.known) << value;
        if (!rc.known) {
            continue;
        }
        const size_t more = rc.request() ? kXrcEthBytes : 0;
        EXPECT_EQ(xrc.extension_bytes, rc.extension_bytes + more) << value;
        EXPECT_EQ(xrc.has(extension::kXrcEth), rc.request()) << value;
        EXPECT_EQ(xrc.kind, rc.kind);
        EXPECT_EQ(xrc.position, rc.position);
        EXPECT_EQ(xrc.payload, rc.payload);
        EXPECT_EQ(xrc.needs_receive, rc.needs_receive);
        const auto opcode = static_cast<Opcode>(value);
        EXPECT_EQ(rc_of(xrc_of(opcode)), opcode);
    }
    EXPECT_EQ(xrc_of(Opcode::RcSendFirst), Opcode::XrcSendFirst);
    EXPECT_EQ(xrc_of(Opcode::RcSendOnlyInvalidate), Opcode::XrcSendOnlyInvalidate);
}

TEST(Opcode9_2_1, write_with_immediate_takes_its_receive_at_the_last_packet) {
    EXPECT_FALSE(opcode_info(Opcode::RcWriteFirst).needs_receive);
    EXPECT_FALSE(opcode_info(Opcode::RcWriteOnly).needs_receive);
    EXPECT_TRUE(opcode_info(Opcode::RcWriteLastImm).needs_receive);
    EXPECT_TRUE(opcode_info(Opcode::RcWriteOnlyImm).needs_receive);
}

TEST(Opcode9_2_1, send_takes_its_receive_at_the_first_packet) {
    EXPECT_TRUE(opcode_info(Opcode::RcSendFirst).needs_receive);
    EXPECT_TRUE(opcode_info(Opcode::RcSendOnly).needs_receive);
    EXPECT_FALSE(opcode_info(Opcode::RcSendMiddle).needs_receive);
    EXPECT_FALSE(opcode_info(Opcode::RcSendLastImm).needs_receive);
}

TEST(Opcode9_4, middle_of_a_read_response_has_no_aeth) {
    EXPECT_EQ(opcode_info(Opcode::RcReadResponseMiddle).extension_bytes, 0);
    EXPECT_EQ(opcode_info(Opcode::RcReadResponseFirst).extension_bytes, kAethBytes);
}

TEST(Syndrome9_7_5_2, kinds_and_values_are_told_apart) {
    EXPECT_EQ(aeth_kind(kAckSyndrome), AethKind::Ack);
    EXPECT_EQ(aeth_value(kAckSyndrome), kNoCreditLimit);
    EXPECT_EQ(nak_syndrome(NakCode::PsnSequenceError), 0x60);
    EXPECT_EQ(nak_syndrome(NakCode::RemoteOperationalError), 0x63);
    EXPECT_EQ(aeth_kind(nak_syndrome(NakCode::InvalidRequest)), AethKind::Nak);
    EXPECT_EQ(aeth_kind(rnr_syndrome(14)), AethKind::RnrNak);
    EXPECT_EQ(aeth_value(rnr_syndrome(14)), 14);
    EXPECT_EQ(aeth_kind(0x40), AethKind::Reserved);
}

TEST(Syndrome9_7_5_2_8, rnr_timer_codes_have_their_delays) {
    EXPECT_EQ(rnr_delay(0), Duration::microseconds(655360));
    EXPECT_EQ(rnr_delay(1), Duration::microseconds(10));
    EXPECT_EQ(rnr_delay(12), Duration::microseconds(640));
    EXPECT_EQ(rnr_delay(20), Duration::microseconds(10240));
    EXPECT_EQ(rnr_delay(31), Duration::microseconds(491520));
    for (uint8_t code = 2; code < 32; ++code) {
        EXPECT_GT(rnr_delay(code), rnr_delay(static_cast<uint8_t>(code - 1)));
    }
}

}  // namespace
}  // namespace vrdma::wire
