#include "dataplane/wire/build.h"

#include <gtest/gtest.h>

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/parse.h"
#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

HeaderFields all_fields(Opcode opcode) {
    HeaderFields fields{.opcode = opcode,
                        .solicited = true,
                        .migrated = true,
                        .ack_request = true,
                        .fecn = true,
                        .becn = true,
                        .dqpn = 0xabcdef,
                        .psn = 0xfedcba,
                        .reth = {0x1122334455667788, 0x99aabbcc, 0xddeeff01},
                        .aeth = {0x61, 0x123456},
                        .imm = 0x04030201,
                        .invalidate_rkey = 0x0badcafe,
                        .deth = {0x80010000, 0x000001},
                        .atomic_eth = {0x1020304050607080, 0x11223344, 5, 6},
                        .original = 0x7766554433221100};
    fields.sack = {.base_psn = 1,
                   .echo_psn = 2,
                   .echo_valid = true,
                   .hold_ns = 3,
                   .received = 4,
                   .ce_marked = 5,
                   .held = {6, 7, 8, 9}};
    fields.srqn = 0x654321;
    fields.probe = {
        .role = ProbeEth::Role::Answer, .version = 1, .capabilities = 2, .epoch = 3, .token = 4};
    return fields;
}

void expect_extensions(const Packet& packet, const HeaderFields& sent) {
    const OpcodeInfo& info = packet.info();
    const HeaderFields none;
    const auto& reth = info.has(extension::kReth) ? sent.reth : none.reth;
    EXPECT_EQ(packet.reth.address, reth.address);
    EXPECT_EQ(packet.reth.rkey, reth.rkey);
    EXPECT_EQ(packet.reth.length, reth.length);
    const auto& aeth = info.has(extension::kAeth) ? sent.aeth : none.aeth;
    EXPECT_EQ(packet.aeth.syndrome, aeth.syndrome);
    EXPECT_EQ(packet.aeth.msn, aeth.msn);
    EXPECT_EQ(packet.imm, info.has(extension::kImm) ? sent.imm : 0);
    EXPECT_EQ(packet.invalidate_rkey, info.has(extension::kIeth) ? sent.invalidate_rkey : 0);
    const auto& deth = info.has(extension::kDeth) ? sent.deth : none.deth;
    EXPECT_EQ(packet.deth.qkey, deth.qkey);
    EXPECT_EQ(packet.deth.source_qpn, deth.source_qpn);
    const auto& atomic = info.has(extension::kAtomicEth) ? sent.atomic_eth : none.atomic_eth;
    EXPECT_EQ(packet.atomic_eth.address, atomic.address);
    EXPECT_EQ(packet.atomic_eth.rkey, atomic.rkey);
    EXPECT_EQ(packet.atomic_eth.swap_or_add, atomic.swap_or_add);
    EXPECT_EQ(packet.atomic_eth.compare, atomic.compare);
    EXPECT_EQ(packet.original, info.has(extension::kAtomicAckEth) ? sent.original : 0);
    const auto& sack = info.has(extension::kSackEth) ? sent.sack : none.sack;
    EXPECT_EQ(packet.sack.base_psn, sack.base_psn);
    EXPECT_EQ(packet.sack.echo_psn, sack.echo_psn);
    EXPECT_EQ(packet.sack.echo_valid, sack.echo_valid);
    EXPECT_EQ(packet.sack.hold_ns, sack.hold_ns);
    EXPECT_EQ(packet.sack.received, sack.received);
    EXPECT_EQ(packet.sack.ce_marked, sack.ce_marked);
    EXPECT_EQ(packet.sack.held, sack.held);
    const auto& probe = info.has(extension::kProbeEth) ? sent.probe : none.probe;
    EXPECT_EQ(packet.probe.role, probe.role);
    EXPECT_EQ(packet.probe.version, probe.version);
    EXPECT_EQ(packet.probe.capabilities, probe.capabilities);
    EXPECT_EQ(packet.probe.epoch, probe.epoch);
    EXPECT_EQ(packet.probe.token, probe.token);
    EXPECT_EQ(packet.srqn, info.has(extension::kXrcEth) ? sent.srqn : 0);
}

TEST(Build, b4_cnp_has_its_own_traffic_class_and_all_others_the_flows) {
    for (const bool v6 : {false, true}) {
        Flow flow{.source_mac = kMacA,
                  .destination_mac = kMacB,
                  .source = v6 ? kA6 : kA4,
                  .destination = v6 ? kB6 : kB4,
                  .dscp = 10,
                  .ecn = Ecn::Capable0,
                  .flow_label = 0xabcde};
        const FlowTemplate ready(flow);
        for (const Opcode opcode : {Opcode::Cnp, Opcode::RcAcknowledge, Opcode::RcSendOnly}) {
            Bytes frame(200);
            frame.resize(build_frame(frame, ready, {.opcode = opcode, .dqpn = 5}, {}));
            const auto packet = parse(frame);  // checksum and ICRC are right
            ASSERT_TRUE(packet.has_value()) << drop_reason_name(packet.error());
            EXPECT_EQ(packet->network.dscp, opcode == Opcode::Cnp ? 48 : 10);
            EXPECT_EQ(packet->network.ecn, opcode == Opcode::Cnp ? Ecn::NotCapable : Ecn::Capable0);
            if (v6) {
                EXPECT_EQ(load32(frame.data() + kIpAt) & 0xf00fffff, 0x600abcdeU);
            }
        }
    }
}

TEST(Build, every_opcode_comes_back_from_the_parser) {
    for (unsigned value = 0; value < 256; ++value) {
        const OpcodeInfo& info = opcode_info(static_cast<uint8_t>(value));
        if (!info.known) {
            continue;
        }
        SCOPED_TRACE(value);
        for (const bool v6 : {false, true}) {
            const HeaderFields sent = all_fields(static_cast<Opcode>(value));
            const size_t length = !info.payload ? 0 : info.ends() ? 77 : 256;
            const Bytes frame = roce(sent, length, v6);
            EXPECT_EQ(frame.size(), frame_bytes(sent.opcode, v6, length));
            const auto packet = parse(frame);
            ASSERT_TRUE(packet) << drop_reason_name(packet.error());
            EXPECT_EQ(packet->bth.opcode, sent.opcode);
            EXPECT_TRUE(packet->bth.solicited && packet->bth.migrated && packet->bth.ack_request &&
                        packet->bth.fecn && packet->bth.becn);
            EXPECT_EQ(packet->bth.dqpn, sent.dqpn);
            EXPECT_EQ(packet->bth.psn, sent.psn);
            EXPECT_EQ(Bytes(packet->payload.begin(), packet->payload.end()), pattern(length));
            expect_extensions(*packet, sent);
        }
    }
}

TEST(BuildAnnexA14, xrceth_lies_behind_the_bth_and_its_reserved_bits_mean_nothing) {
    HeaderFields fields = all_fields(Opcode::XrcWriteOnlyImm);
    fields.srqn = 0xff654321;
    Bytes frame = roce(fields, 8, false);
    const size_t at = kEthernetBytes + kIpv4Bytes + kUdpBytes + kBthBytes;
    EXPECT_EQ(load32(frame.data() + at), 0x00654321U);
    EXPECT_EQ(load64(frame.data() + at + kXrcEthBytes), fields.reth.address);
    store8(frame.data() + at, 0xff);
    const auto packet = parse(frame, Verify::Nothing);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->srqn, 0x654321U);
}

TEST(Build, every_pad_is_right) {
    for (size_t length = 0; length <= 300; ++length) {
        const auto packet = parse(roce(Opcode::RcSendOnly, length));
        ASSERT_TRUE(packet) << length;
        EXPECT_EQ(packet->payload.size(), length);
        EXPECT_EQ(packet->bth.pad, (4 - length % 4) % 4);
    }
}

TEST(Build, payload_in_pieces_gives_the_frame_of_the_whole) {
    const Bytes whole = roce(Opcode::RcWriteOnly, 1001, true);
    const Bytes payload = pattern(1001);
    Bytes frame(whole.size());
    auto [at, crc] = build_headers(
        frame, flow_v6(), {.opcode = Opcode::RcWriteOnly, .dqpn = 0x123456, .psn = 0x654321},
        payload.size());
    for (size_t done = 0; done < payload.size();) {
        const size_t piece = std::min<size_t>(payload.size() - done, 1 + done % 97);
        crc = crc32_copy(crc, frame.data() + at + done, payload.data() + done, piece);
        done += piece;
    }
    EXPECT_EQ(finish(std::span(frame).subspan(at + payload.size()), payload.size(), crc), 7U);
    EXPECT_EQ(frame, whole);
}

TEST(Build, ipv4_header_says_do_not_fragment_and_has_a_right_checksum) {
    const Bytes frame = roce(Opcode::RcSendOnly, 100);
    EXPECT_EQ(load16(frame.data() + kIpAt + 6), 0x4000);
    EXPECT_TRUE(parse(frame, Verify::All));
}

TEST(Build, immediate_data_keeps_its_bytes) {
    const uint32_t imm = 0x04030201;  // the program's bytes 01 02 03 04
    const Bytes frame = roce({.opcode = Opcode::RcSendOnlyImm, .imm = imm}, 0);
    EXPECT_EQ(load32(frame.data() + kBthAt4 + kBthBytes), 0x01020304U);
}

TEST(Build, flow_can_move_to_another_mac_and_port) {
    FlowTemplate flow = flow_v4();
    flow.set_destination_mac(Mac{{2, 2, 2, 2, 2, 2}});
    flow.set_source_port(0xffff);
    Bytes frame(frame_bytes(Opcode::RcSendOnly, false, 0));
    ASSERT_EQ(build_frame(frame, flow, {}, {}), frame.size());
    const auto packet = parse(frame);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->network.destination_mac, (Mac{{2, 2, 2, 2, 2, 2}}));
    EXPECT_EQ(packet->network.source_port, 0xffff);
}

TEST(Build, flow_label_is_written) {
    const Bytes frame = roce(Opcode::RcSendOnly, 0, true);
    EXPECT_EQ(load32(frame.data() + kIpAt) & 0xfffff, 0x12345U);
}

TEST(Build, overhead_is_that_of_the_largest_packet_with_payload) {
    size_t largest = 0;
    size_t largest_of_xrc = 0;
    for (unsigned value = 0; value < 256; ++value) {
        const OpcodeInfo& info = opcode_info(static_cast<uint8_t>(value));
        if (info.known && info.payload) {
            size_t& of = info.service == Service::Xrc ? largest_of_xrc : largest;
            of = std::max<size_t>(of, info.extension_bytes);
        }
    }
    EXPECT_EQ(kMaxOverheadV4, kIpv4Bytes + kUdpBytes + kBthBytes + largest + kIcrcBytes);
    EXPECT_EQ(largest_of_xrc, largest + kXrcEthBytes);
    EXPECT_EQ(kMaxOverheadV4, 64U);
    EXPECT_EQ(kMaxOverheadV6, 84U);
}

TEST(Build, longest_packet_is_the_longest_frame_that_is_built) {
    for (const bool xrc : {false, true}) {
        size_t longest = 0;
        for (unsigned value = 0; value < 256; ++value) {
            const OpcodeInfo& info = opcode_info(static_cast<uint8_t>(value));
            if (info.known && info.payload && (info.service == Service::Xrc) == xrc) {
                longest = std::max(longest, frame_bytes(static_cast<Opcode>(value), true, 1024));
            }
        }
        EXPECT_EQ(longest_packet(1024, true, xrc), longest - kEthernetBytes);
        EXPECT_EQ(longest_packet(1024, false, xrc),
                  longest - kEthernetBytes - (kIpv6Bytes - kIpv4Bytes));
    }
}

// IBA 9.6.1.5.1 has these sizes.
TEST(Build, largest_path_mtu_is_the_largest_of_the_five_whose_packets_fit) {
    for (const bool v6 : {false, true}) {
        for (const bool xrc : {false, true}) {
            EXPECT_EQ(largest_path_mtu(0, v6, xrc), 0U);
            EXPECT_EQ(largest_path_mtu(longest_packet(256, v6, xrc) - 1, v6, xrc), 0U);
            for (uint8_t code = 1; code <= 5; ++code) {
                const size_t needs = longest_packet(size_t{128} << code, v6, xrc);
                EXPECT_EQ(largest_path_mtu(needs, v6, xrc), code);
                EXPECT_EQ(largest_path_mtu(needs - 1, v6, xrc), code - 1);
            }
            EXPECT_EQ(largest_path_mtu(9000, v6, xrc), 5U);
        }
    }
}

}  // namespace
}  // namespace vrdma::wire
