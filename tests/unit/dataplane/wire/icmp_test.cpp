#include "dataplane/wire/icmp.h"

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

class Icmp : public testing::TestWithParam<bool> {
  protected:
    bool v6() const { return GetParam(); }
    size_t icmp_at() const { return kIpAt + (v6() ? kIpv6Bytes : kIpv4Bytes); }
    Network network() const {
        return {.source = v6() ? kA6 : kA4,
                .destination = v6() ? kB6 : kB4,
                .source_mac = kMacA,
                .destination_mac = kMacB,
                .v6 = v6(),
                .hop_limit = 7};
    }
    Bytes request() const {
        const Bytes data = pattern(33);
        const Echo echo{.network = network(), .identifier = 5, .sequence = 6, .data = data};
        Bytes frame(echo_frame_bytes(echo));
        EXPECT_EQ(build_echo(frame, echo), frame.size());
        return frame;
    }
    Bytes report() const {
        Bytes frame(kMaxPathMtuFrameBytes);
        frame.resize(build_path_mtu(frame, {.network = network(),
                                            .mtu = 1400,
                                            .source = v6() ? kB6 : kB4,
                                            .destination = v6() ? kA6 : kA4,
                                            .source_port = 0xc001}));
        return frame;
    }
    void reseal_icmp(Bytes& frame) const {
        const auto message = std::span(frame).subspan(icmp_at());
        const auto size = static_cast<uint16_t>(message.size());
        if (v6()) {
            store16(frame.data() + kIpAt + 4, size);
        } else {
            store16(frame.data() + kIpAt + 2, static_cast<uint16_t>(kIpv4Bytes + size));
            reseal_ipv4(frame);
        }
        if (size < 4) {
            return;
        }
        store16(message.data() + 2, 0);
        const Network n = network();
        const uint32_t pseudo = v6() ? checksum_pseudo_v6(n.source, n.destination, size, 58) : 0;
        store16(message.data() + 2, checksum_finish(checksum_add(pseudo, message)));
    }
    static void expect(DropReason got, DropReason wanted) {
        EXPECT_EQ(drop_reason_name(got), drop_reason_name(wanted));
    }
};

TEST_P(Icmp, echo_request_comes_back_from_the_parser) {
    const Bytes frame = request();
    const auto echo = parse_echo(frame);
    ASSERT_TRUE(echo) << drop_reason_name(echo.error());
    EXPECT_FALSE(echo->reply);
    EXPECT_EQ(echo->identifier, 5);
    EXPECT_EQ(echo->sequence, 6);
    EXPECT_EQ(Bytes(echo->data.begin(), echo->data.end()), pattern(33));
}

TEST_P(Icmp, answer_goes_back_with_the_same_data) {
    const Bytes frame = request();
    const Echo answer = parse_echo(frame)->answer(kMacB);
    Bytes out(echo_frame_bytes(answer));
    ASSERT_EQ(build_echo(out, answer), out.size());
    const auto echo = parse_echo(out);
    ASSERT_TRUE(echo);
    EXPECT_TRUE(echo->reply);
    EXPECT_EQ(echo->network.source, network().destination);
    EXPECT_EQ(echo->network.destination, network().source);
    EXPECT_EQ(echo->network.source_mac, kMacB);
    EXPECT_EQ(echo->network.destination_mac, kMacA);
    EXPECT_EQ(echo->network.hop_limit, 64);
    EXPECT_EQ(Bytes(echo->data.begin(), echo->data.end()), pattern(33));
}

TEST_P(Icmp, echo_in_another_protocol_is_dropped) {
    const auto echo = parse_echo(roce(Opcode::RcSendOnly, 8, v6()));
    ASSERT_FALSE(echo);
    expect(echo.error(), DropReason::NotEcho);
}

TEST_P(Icmp, report_is_no_echo) {
    expect(parse_echo(report()).error(), DropReason::NotEcho);
}

TEST_P(Icmp, echo_in_a_broken_frame_is_dropped) {
    expect(parse_echo(Bytes(3)).error(), DropReason::FrameTruncated);
}

TEST_P(Icmp, short_echo_is_dropped) {
    Bytes frame = request();
    frame.resize(icmp_at() + 7);
    reseal_icmp(frame);
    expect(parse_echo(frame).error(), DropReason::IcmpTruncated);
}

TEST_P(Icmp, echo_with_a_code_is_dropped) {
    Bytes frame = request();
    set(frame, icmp_at() + 1, 1);
    reseal_icmp(frame);
    expect(parse_echo(frame).error(), DropReason::IcmpCode);
}

TEST_P(Icmp, echo_with_wrong_checksum_is_dropped) {
    Bytes frame = request();
    frame.back() ^= std::byte{1};
    expect(parse_echo(frame).error(),
           v6() ? DropReason::Icmpv6Checksum : DropReason::Icmpv4Checksum);
}

TEST_P(Icmp, report_comes_back_from_the_parser) {
    const auto got = parse_path_mtu(report());
    ASSERT_TRUE(got) << drop_reason_name(got.error());
    EXPECT_EQ(got->mtu, 1400U);
    EXPECT_EQ(got->network.source, network().source);
    EXPECT_EQ(got->source, network().destination);
    EXPECT_EQ(got->destination, network().source);
    EXPECT_EQ(got->source_port, 0xc001);
}

TEST_P(Icmp, echo_is_no_report) {
    expect(parse_path_mtu(request()).error(), DropReason::NotPathMtu);
}

TEST_P(Icmp, report_with_another_code_is_dropped) {
    Bytes frame = report();
    set(frame, icmp_at() + 1, 13);
    reseal_icmp(frame);
    expect(parse_path_mtu(frame).error(), DropReason::IcmpCode);
}

TEST_P(Icmp, report_with_a_short_quote_is_dropped) {
    Bytes frame = report();
    frame.pop_back();
    reseal_icmp(frame);
    expect(parse_path_mtu(frame).error(), DropReason::QuotedPacket);
}

TEST_P(Icmp, report_that_quotes_another_version_is_dropped) {
    Bytes frame = report();
    frame[icmp_at() + 8] ^= std::byte{0x20};
    reseal_icmp(frame);
    expect(parse_path_mtu(frame).error(), DropReason::QuotedPacket);
}

TEST_P(Icmp, report_that_quotes_another_protocol_is_dropped) {
    Bytes frame = report();
    set(frame, icmp_at() + 8 + (v6() ? 6 : 9), 6);
    reseal_icmp(frame);
    expect(parse_path_mtu(frame).error(), DropReason::QuotedPacket);
}

TEST_P(Icmp, report_that_quotes_another_port_is_dropped) {
    Bytes frame = report();
    set(frame, icmp_at() + 8 + (v6() ? kIpv6Bytes : kIpv4Bytes) + 3, 0);
    reseal_icmp(frame);
    expect(parse_path_mtu(frame).error(), DropReason::QuotedPacket);
}

INSTANTIATE_TEST_SUITE_P(Versions, Icmp, testing::Bool(),
                         [](const auto& test) { return test.param ? "ipv6" : "ipv4"; });

}  // namespace
}  // namespace vrdma::wire
