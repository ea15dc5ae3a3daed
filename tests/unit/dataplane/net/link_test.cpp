#include "dataplane/net/link.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/wire/arp.h"
#include "dataplane/wire/build.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/icmp.h"
#include "dataplane/wire/neighbour.h"
#include "dataplane/wire/parse.h"
#include "tests/unit/dataplane/net/memory_port.h"

namespace vrdma::net {
namespace {

using wire::Address;
using wire::Mac;
using Frame = MemoryPort::Frame;

const Address kUs = Address::v4(10, 0, 0, 1);
const Address kUs6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1}};
const Address kPeer = Address::v4(10, 0, 0, 2);
const Address kPeer6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 2}};
const Address kFar = Address::v4(10, 9, 0, 2);
const Address kRouter = Address::v4(10, 0, 0, 254);
const Mac kOurMac{{2, 0, 0, 0, 0, 1}};
const Mac kPeerMac{{2, 0, 0, 0, 0, 2}};
constexpr uint32_t kVnic = 3;

class Recorder final : public PacketReceiver {
  public:
    void receive(Link&, std::span<ReceivedPacket> packets, Instant) override {
        for (ReceivedPacket& packet : packets) {
            psns.push_back(packet.packet.bth.psn);
            vnics.push_back(packet.vnic);
            if (keep) {
                kept.push_back(packet.buffer);
                packet.buffer.handle = nullptr;
            }
        }
    }
    void path_mtu(Link&, const Address& destination, uint32_t mtu, Instant) override {
        reports.emplace_back(destination, mtu);
    }

    bool keep = false;
    std::vector<uint32_t> psns;
    std::vector<uint32_t> vnics;
    std::vector<PacketBuffer> kept;
    std::vector<std::pair<Address, uint32_t>> reports;
};

struct Links : testing::Test {
    MemoryPort port;
    Recorder receiver;
    LinkOptions options;
    std::unique_ptr<Link> link = make();
    Instant now{1'000'000};

    std::unique_ptr<Link> make() {
        auto made = std::make_unique<Link>(port, options);
        made->set_local_addresses(std::array{LocalAddress{kUs, kVnic}, LocalAddress{kUs6, kVnic}});
        return made;
    }
    ~Links() override {
        link.reset();
        EXPECT_EQ(port.buffers_out(), 0U) << "a buffer was lost";
    }

    std::vector<Frame> turn() {
        link->turn(now, receiver);
        return port.take_sent();
    }
    std::vector<Frame> turn_with(Frame frame) {
        port.arrive(std::move(frame));
        return turn();
    }

    static Frame arp(wire::Arp::Operation operation, const Address& sender, const Address& target) {
        Frame frame(wire::kArpFrameBytes);
        EXPECT_EQ(
            wire::build_arp(frame, {operation, kPeerMac, sender, Mac{}, target}, Mac::broadcast()),
            frame.size());
        return frame;
    }
    static Frame roce(const Address& destination, uint32_t psn) {
        wire::Flow flow;
        flow.source_mac = kPeerMac;
        flow.destination_mac = kOurMac;
        flow.source = kPeer;
        flow.destination = destination;
        wire::HeaderFields fields;
        fields.opcode = wire::Opcode::RcSendOnly;
        fields.dqpn = 17;
        fields.psn = psn;
        const std::array<std::byte, 8> payload{};
        Frame frame(200);
        frame.resize(wire::build_frame(frame, wire::FlowTemplate(flow), fields, payload));
        return frame;
    }
    static Frame echo(const Address& destination, size_t bytes) {
        const std::vector<std::byte> data(bytes, std::byte{7});
        wire::Echo request;
        request.network.source = kPeer;
        request.network.destination = destination;
        request.network.source_mac = kPeerMac;
        request.network.destination_mac = kOurMac;
        request.network.hop_limit = 64;
        request.identifier = 11;
        request.sequence = 12;
        request.data = data;
        Frame frame(wire::echo_frame_bytes(request));
        EXPECT_EQ(wire::build_echo(frame, request), frame.size());
        return frame;
    }
    static Frame solicitation(const Address& source, const Address& target) {
        wire::Neighbour message;
        message.source = source;
        message.destination = wire::solicited_node(target);
        message.source_mac = kPeerMac;
        message.destination_mac = wire::multicast_mac(message.destination);
        message.target = target;
        if (!source.unspecified()) {
            message.link_layer = kPeerMac;
        }
        Frame frame(wire::kMaxNeighbourFrameBytes);
        frame.resize(wire::build_neighbour(frame, message));
        return frame;
    }
    PacketBuffer packet(uint32_t length) {
        PacketBuffer buffer;
        EXPECT_EQ(link->allocate({&buffer, 1}), 1U);
        buffer.length = length;
        std::fill_n(buffer.data, length, std::byte{0x55});
        return buffer;
    }
    size_t send(HopId hop, uint32_t length = 100) {
        PacketBuffer buffer = packet(length);
        const size_t taken = link->send(hop, {&buffer, 1}, now);
        if (taken == 0) {
            link->release({&buffer, 1});
        }
        return taken;
    }
    static Mac destination_of(const Frame& frame) {
        Mac mac;
        std::transform(frame.begin(), frame.begin() + 6, mac.bytes.begin(),
                       [](std::byte b) { return std::to_integer<uint8_t>(b); });
        return mac;
    }
    static Mac source_of(const Frame& frame) {
        return destination_of(Frame(frame.begin() + 6, frame.end()));
    }
};

TEST_F(Links, nothing_arrives_nothing_is_done) {
    EXPECT_FALSE(link->turn(now, receiver));
    EXPECT_EQ(link->next_deadline(), Instant::never());
}

TEST_F(Links, arp_request_for_a_vnic_is_answered_by_the_ports_mac) {
    const auto sent = turn_with(arp(wire::Arp::Operation::Request, kPeer, kUs));
    ASSERT_EQ(sent.size(), 1U);
    const auto answer = wire::parse_arp(sent[0]);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->operation, wire::Arp::Operation::Reply);
    EXPECT_EQ(answer->sender, kUs);
    EXPECT_EQ(answer->sender_mac, kOurMac);
    EXPECT_EQ(answer->target, kPeer);
    EXPECT_EQ(destination_of(sent[0]), kPeerMac);
    EXPECT_EQ(link->counters()[LinkCounter::ArpAnswered], 1U);
    EXPECT_EQ(link->neighbours().list().size(), 1U) << "who asks is a neighbour";
}

TEST_F(Links, arp_request_for_somebody_else_is_not_answered) {
    EXPECT_TRUE(turn_with(arp(wire::Arp::Operation::Request, kPeer, kFar)).empty());
    EXPECT_TRUE(link->neighbours().list().empty());
}

TEST_F(Links, probe_for_a_duplicate_address_is_answered_and_teaches_nothing) {
    EXPECT_EQ(turn_with(arp(wire::Arp::Operation::Request, Address::v4(0, 0, 0, 0), kUs)).size(),
              1U);
    EXPECT_TRUE(link->neighbours().list().empty());
}

TEST_F(Links, workers_that_do_not_answer_learn_all_the_same) {
    options.answers = false;
    link = make();
    EXPECT_TRUE(turn_with(arp(wire::Arp::Operation::Request, kPeer, kUs)).empty());
    EXPECT_EQ(link->neighbours().list().size(), 1U);
    EXPECT_TRUE(turn_with(echo(kUs, 10)).empty());
    EXPECT_TRUE(turn_with(solicitation(kPeer6, kUs6)).empty());
    EXPECT_EQ(link->neighbours().list().size(), 2U);
}

TEST_F(Links, malformed_arp_is_counted_by_reason) {
    Frame frame = arp(wire::Arp::Operation::Request, kPeer, kUs);
    frame.resize(30);
    EXPECT_TRUE(turn_with(frame).empty());
    EXPECT_EQ(link->counters().dropped[static_cast<size_t>(wire::DropReason::ArpTruncated)], 1U);
}

TEST_F(Links, solicitation_for_a_vnic_is_answered) {
    const auto sent = turn_with(solicitation(kPeer6, kUs6));
    ASSERT_EQ(sent.size(), 1U);
    const auto answer = wire::parse_neighbour(sent[0]);
    ASSERT_TRUE(answer) << static_cast<int>(answer.error());
    EXPECT_EQ(answer->kind, wire::Neighbour::Kind::Advertisement);
    EXPECT_EQ(answer->target, kUs6);
    EXPECT_EQ(answer->link_layer, kOurMac);
    EXPECT_TRUE(answer->solicited && answer->override_entry);
    EXPECT_EQ(destination_of(sent[0]), kPeerMac);
}

TEST_F(Links, probe_for_a_duplicate_ipv6_address_is_answered_to_all) {
    const auto sent = turn_with(solicitation(Address{}, kUs6));
    ASSERT_EQ(sent.size(), 1U);
    const auto answer = wire::parse_neighbour(sent[0]);
    ASSERT_TRUE(answer);
    EXPECT_FALSE(answer->solicited);
    EXPECT_EQ(destination_of(sent[0]), (Mac{{0x33, 0x33, 0, 0, 0, 1}}));
    EXPECT_TRUE(link->neighbours().list().empty());
}

TEST_F(Links, solicitation_for_somebody_else_is_not_answered) {
    EXPECT_TRUE(turn_with(solicitation(kPeer6, kPeer6)).empty());
}

TEST_F(Links, echo_request_is_answered_with_its_data) {
    const auto sent = turn_with(echo(kUs, 56));
    ASSERT_EQ(sent.size(), 1U);
    const auto answer = wire::parse_echo(sent[0]);
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->reply);
    EXPECT_EQ(answer->network.source, kUs);
    EXPECT_EQ(answer->network.destination, kPeer);
    EXPECT_EQ(answer->identifier, 11);
    EXPECT_EQ(answer->sequence, 12);
    EXPECT_EQ(answer->data.size(), 56U);
    EXPECT_EQ(answer->data[55], std::byte{7});
    EXPECT_EQ(link->counters()[LinkCounter::EchoAnswered], 1U);
}

TEST_F(Links, echo_request_longer_than_the_port_is_not_answered) {
    EXPECT_TRUE(turn_with(echo(kUs, 1490)).empty());
    EXPECT_EQ(link->counters()[LinkCounter::EchoUnanswered], 1U);
}

TEST_F(Links, echo_request_for_somebody_else_is_not_answered) {
    EXPECT_TRUE(turn_with(echo(kFar, 56)).empty());
    EXPECT_EQ(link->counters()[LinkCounter::ForeignDestination], 1U);
}

TEST_F(Links, answer_without_a_buffer_is_counted) {
    port.arrive(echo(kUs, 56));
    port.buffers_left = 1;
    EXPECT_TRUE(turn().empty());
    EXPECT_EQ(link->counters()[LinkCounter::NoBuffer], 1U);
}

TEST_F(Links, answer_that_the_device_does_not_take_is_counted) {
    port.send_room = 0;
    EXPECT_TRUE(turn_with(echo(kUs, 56)).empty());
    EXPECT_EQ(link->counters()[LinkCounter::SendDropped], 1U);
}

TEST_F(Links, roce_packets_reach_the_receiver_in_order_with_their_vnic) {
    for (uint32_t psn = 1; psn <= 40; ++psn) {
        port.arrive(roce(kUs, psn));
    }
    EXPECT_TRUE(turn().empty());
    ASSERT_EQ(receiver.psns.size(), 40U);
    EXPECT_EQ(receiver.psns.front(), 1U);
    EXPECT_EQ(receiver.psns.back(), 40U);
    EXPECT_EQ(receiver.vnics.front(), kVnic);
    EXPECT_EQ(link->counters()[LinkCounter::RocePackets], 40U);
}

TEST_F(Links, receiver_may_keep_packets_among_others_that_go_back) {
    receiver.keep = true;
    port.arrive(arp(wire::Arp::Operation::Request, kPeer, kFar));
    port.arrive(roce(kUs, 1));
    port.arrive(roce(kFar, 2));
    port.arrive(roce(kUs, 3));
    turn();
    EXPECT_EQ(receiver.psns, (std::vector<uint32_t>{1, 3}));
    EXPECT_EQ(port.buffers_out(), 2U);
    link->release(receiver.kept);
}

TEST_F(Links, roce_packet_for_no_vnic_is_counted) {
    turn_with(roce(kFar, 1));
    EXPECT_TRUE(receiver.psns.empty());
    EXPECT_EQ(link->counters()[LinkCounter::ForeignDestination], 1U);
}

TEST_F(Links, roce_packet_with_a_wrong_icrc_is_counted_by_reason) {
    Frame frame = roce(kUs, 1);
    frame.back() ^= std::byte{1};
    turn_with(frame);
    EXPECT_TRUE(receiver.psns.empty());
    EXPECT_EQ(link->counters().dropped[static_cast<size_t>(wire::DropReason::Icrc)], 1U);
}

TEST_F(Links, own_frames_that_come_back_are_dropped) {
    Frame frame = roce(kUs, 1);
    std::copy_n(frame.begin(), 6, frame.begin() + 6);
    turn_with(frame);
    EXPECT_TRUE(receiver.psns.empty());
    EXPECT_EQ(link->counters()[LinkCounter::OwnFrames], 1U);
}

TEST_F(Links, frames_of_other_protocols_are_counted) {
    Frame frame = roce(kUs, 1);
    frame[12] = std::byte{0x88};
    turn_with(frame);
    EXPECT_EQ(link->counters()[LinkCounter::OtherFrames], 1U);
}

TEST_F(Links, first_packet_asks_waits_and_goes_when_the_answer_comes) {
    const auto hop = link->acquire_hop(kUs, kPeer);
    ASSERT_TRUE(hop);
    EXPECT_EQ(send(*hop), 1U);
    const auto questions = turn();
    ASSERT_EQ(questions.size(), 1U);
    const auto question = wire::parse_arp(questions[0]);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->target, kPeer);
    EXPECT_EQ(question->sender, kUs);
    EXPECT_EQ(destination_of(questions[0]), Mac::broadcast());
    const auto sent = turn_with(arp(wire::Arp::Operation::Reply, kPeer, kUs));
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(destination_of(sent[0]), kPeerMac);
    EXPECT_EQ(source_of(sent[0]), kOurMac);
    EXPECT_EQ(sent[0].size(), 100U);
    EXPECT_EQ(send(*hop), 1U);
    EXPECT_EQ(port.take_sent().size(), 1U) << "goes at once from now on";
}

TEST_F(Links, ipv6_neighbour_is_asked_by_its_group) {
    const auto hop = link->acquire_hop(kUs6, kPeer6);
    ASSERT_TRUE(hop);
    EXPECT_EQ(send(*hop), 1U);
    const auto questions = turn();
    ASSERT_EQ(questions.size(), 1U);
    const auto question = wire::parse_neighbour(questions[0]);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->kind, wire::Neighbour::Kind::Solicitation);
    EXPECT_EQ(question->target, kPeer6);
    EXPECT_EQ(question->source, kUs6);
    EXPECT_EQ(destination_of(questions[0]), (Mac{{0x33, 0x33, 0xff, 0, 0, 2}}));
}

TEST_F(Links, silent_neighbour_costs_the_packet_and_is_counted) {
    const auto hop = link->acquire_hop(kUs, kPeer);
    EXPECT_EQ(send(*hop), 1U);
    for (uint32_t i = 0; i <= kSolicitations; ++i) {
        turn();
        now = std::max(now, link->next_deadline());
    }
    EXPECT_EQ(link->hop_state(*hop), NeighbourState::Unreachable);
    EXPECT_EQ(link->neighbours().counters().dropped_unreachable, 1U);
    EXPECT_EQ(port.buffers_out(), 0U);
}

TEST_F(Links, neighbour_outside_the_prefix_is_reached_by_the_gateway) {
    options.gateway = kRouter;
    link = make();
    const auto hop = link->acquire_hop(kUs, kFar);
    ASSERT_TRUE(hop);
    EXPECT_EQ(link->neighbours().info(*hop).address, kRouter);
}

TEST_F(Links, prefix_decides_bit_by_bit) {
    const auto direct = [&](uint32_t length, const Address& to) {
        options.prefix_length = length;
        link = make();
        return link->acquire_hop(kUs, to).has_value();
    };
    EXPECT_TRUE(direct(24, Address::v4(10, 0, 0, 255)));
    EXPECT_FALSE(direct(24, Address::v4(10, 0, 1, 1)));
    EXPECT_TRUE(direct(23, Address::v4(10, 0, 1, 1)));
    EXPECT_FALSE(direct(23, Address::v4(10, 0, 2, 1)));
    EXPECT_TRUE(direct(1, Address::v4(127, 0, 2, 1)));
    EXPECT_FALSE(direct(32, kPeer));
}

TEST_F(Links, no_way_is_said_and_why) {
    EXPECT_EQ(link->acquire_hop(kUs, kFar).error(), NoRoute::NoGateway);
    EXPECT_EQ(link->acquire_hop(kUs, kPeer6).error(), NoRoute::Family);
    EXPECT_EQ(link->acquire_hop(kUs, Address::v4(224, 0, 0, 1)).error(), NoRoute::Group);
    EXPECT_EQ(link->acquire_hop(kUs6, Address{}).error(), NoRoute::Group);
    for (uint32_t i = 0; i < kMaxNeighbours; ++i) {
        Address address = kPeer6;
        address.bytes[15] = static_cast<uint8_t>(i);
        address.bytes[14] = static_cast<uint8_t>(i >> 8);
        EXPECT_TRUE(link->acquire_hop(kUs6, address));
    }
    EXPECT_EQ(link->acquire_hop(kUs, kPeer).error(), NoRoute::TooManyHops);
}

TEST_F(Links, device_without_room_leaves_packets_with_the_sender) {
    const auto hop = link->acquire_hop(kUs, kPeer);
    turn_with(arp(wire::Arp::Operation::Request, kPeer, kUs));
    port.send_room = 0;
    EXPECT_EQ(send(*hop), 0U);
}

TEST_F(Links, path_mtu_report_about_one_of_our_packets_is_passed_on) {
    wire::PathMtu report;
    report.network.source = kRouter;
    report.network.destination = kUs;
    report.network.source_mac = kPeerMac;
    report.network.destination_mac = kOurMac;
    report.network.hop_limit = 64;
    report.mtu = 1400;
    report.source = kUs;
    report.destination = kFar;
    report.source_port = 0xc001;
    Frame frame(wire::kMaxPathMtuFrameBytes);
    frame.resize(wire::build_path_mtu(frame, report));
    turn_with(frame);
    ASSERT_EQ(receiver.reports.size(), 1U);
    EXPECT_EQ(receiver.reports[0].first, kFar);
    EXPECT_EQ(receiver.reports[0].second, 1400U);
}

const Address kGroup = Address::v4(239, 1, 2, 3);

Frame to_group(const Address& group, wire::Opcode opcode = wire::Opcode::UdSendOnly,
               uint32_t qpn = 0xffffff) {
    wire::Flow flow;
    flow.source_mac = kPeerMac;
    flow.destination_mac = wire::multicast_mac(group);
    flow.source = kPeer;
    flow.destination = group;
    wire::HeaderFields fields;
    fields.opcode = opcode;
    fields.dqpn = qpn;
    fields.psn = 5;
    const std::array<std::byte, 8> payload{};
    Frame frame(200);
    frame.resize(wire::build_frame(frame, wire::FlowTemplate(flow), fields, payload));
    return frame;
}

TEST_F(Links, packet_to_a_group_arrives_only_while_somebody_belongs_to_it) {
    EXPECT_TRUE(turn_with(to_group(kGroup)).empty());
    EXPECT_EQ(link->counters()[LinkCounter::ForeignGroup], 1U);
    ASSERT_TRUE(link->join(kGroup, kUs, now));
    turn_with(to_group(kGroup));
    turn_with(to_group(Address::v4(239, 1, 2, 4)));
    EXPECT_EQ(receiver.vnics, std::vector<uint32_t>{net::kGroup});
    EXPECT_EQ(link->counters()[LinkCounter::ForeignGroup], 2U);
    link->leave(kGroup, kUs);
    turn_with(to_group(kGroup));
    EXPECT_EQ(receiver.vnics.size(), 1U);
    EXPECT_EQ(link->counters()[LinkCounter::ForeignGroup], 3U);
}

// IBA 9.6.1.2: multicast is for datagrams, and for queue pair 0xffffff.
TEST_F(Links, packet_to_a_group_that_is_no_datagram_for_its_members_is_dropped) {
    ASSERT_TRUE(link->join(kGroup, kUs, now));
    turn_with(to_group(kGroup, wire::Opcode::RcSendOnly));
    turn_with(to_group(kGroup, wire::Opcode::UdSendOnly, 17));
    EXPECT_TRUE(receiver.vnics.empty());
    EXPECT_EQ(link->counters()[LinkCounter::GroupMisaddressed], 2U);
}

TEST_F(Links, packet_for_a_group_goes_to_its_mac_without_a_neighbour) {
    PacketBuffer buffer;
    ASSERT_EQ(link->allocate({&buffer, 1}), 1U);
    const Frame frame = to_group(kGroup);
    std::copy(frame.begin(), frame.end(), buffer.data);
    std::fill_n(buffer.data, 12, std::byte{});
    buffer.length = static_cast<uint32_t>(frame.size());
    EXPECT_EQ(link->send(kGroupHop, {&buffer, 1}, now), 1U);
    const auto sent = port.take_sent();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(destination_of(sent[0]), wire::multicast_mac(kGroup));
    EXPECT_EQ(source_of(sent[0]), kOurMac);
}

TEST_F(Links, membership_is_reported_and_questions_are_answered) {
    ASSERT_TRUE(link->join(kGroup, kUs, now));
    EXPECT_LE(link->next_deadline(), now);
    auto sent = turn();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(destination_of(sent[0]), wire::multicast_mac(kGroup));
    EXPECT_EQ(source_of(sent[0]), kOurMac);
    now = now + Duration::milliseconds(1000);
    EXPECT_EQ(turn().size(), 1U) << "once more, unasked";
    now = now + Duration::milliseconds(60'000);
    EXPECT_TRUE(turn().empty());

    // The report of another host, made a general question.
    Frame question(wire::kMaxMembershipFrameBytes);
    question.resize(wire::build_membership(question, {wire::MembershipMessage::Kind::Report,
                                                      kPeerMac, kPeer, Address::v4(0, 0, 0, 0)}));
    question[38] = std::byte{0x11};
    question[39] = std::byte{10};
    const uint16_t sum = wire::checksum_finish(0x1100 + 10);
    question[40] = static_cast<std::byte>(sum >> 8);
    question[41] = static_cast<std::byte>(sum & 0xff);
    turn_with(question);
    EXPECT_EQ(link->counters()[LinkCounter::QueriesReceived], 1U);
    now = now + Duration::milliseconds(1000);
    EXPECT_EQ(turn().size(), 1U);
    EXPECT_EQ(link->counters()[LinkCounter::ReportsSent], 3U);
    question[41] ^= std::byte{1};
    turn_with(question);
    EXPECT_EQ(link->counters().dropped[static_cast<size_t>(wire::DropReason::QueryChecksum)], 1U);

    link->leave(kGroup, kUs);
    sent = turn();
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(sent[0][38], std::byte{0x17});
}

}  // namespace
}  // namespace vrdma::net
