// Management datagrams between two hosts joined by a wire in memory: what reaches queue pair 1,
// what does not, and what leaves it.
#include <gtest/gtest.h>

#include "dataplane/wire/build.h"
#include "dataplane/wire/parse.h"
#include "wire_host.h"

namespace vrdma::test {
namespace {

const wire::Address kNear = wire::Address::v4(10, 0, 0, 1);
const wire::Address kFar = wire::Address::v4(10, 0, 0, 2);

struct Inbox final : MadReceiver {
    bool receive(const Mad& mad) override {
        if (mads.size() == room) {
            return false;
        }
        mads.push_back(mad);
        return true;
    }
    std::vector<Mad> mads;
    size_t room = 100;
};

class Mads : public testing::Test {
  protected:
    Mads()
        : near(kAddressA, 1, transport::PeerPolicy::Standard),
          far(kAddressB, 2, transport::PeerPolicy::Standard) {
        far.world.shard(0).wire().set_mad_receiver(inbox);
    }
    void settle() {
        for (int quiet = 0, i = 0; quiet < 4 && i < 10000; ++i) {
            bool moved = near.turn();
            moved |= far.turn();
            moved |= carry(near, far);
            moved |= carry(far, near);
            quiet = moved ? 0 : quiet + 1;
        }
    }
    static bool carry(Host& from, Host& to) {
        bool moved = false;
        for (MemoryPort::Frame& frame : from.port.take_sent()) {
            moved = true;
            to.port.arrive(std::move(frame));
        }
        return moved;
    }
    WirePath& sender() { return near.world.shard(0).wire(); }
    [[nodiscard]] Mad mad() const {
        Mad made{.vnic = near.vnic, .own = kNear, .peer = kFar, .bytes = {}};
        for (size_t i = 0; i < made.bytes.size(); ++i) {
            made.bytes[i] = static_cast<std::byte>(i * 7);
        }
        return made;
    }
    static wire::HeaderFields to_queue_pair_1() {
        wire::HeaderFields fields;
        fields.opcode = wire::Opcode::UdSendOnly;
        fields.dqpn = wire::kGsiQpn;
        fields.deth = {wire::kGsiQkey, wire::kGsiQpn};
        return fields;
    }
    void arrives(const wire::HeaderFields& fields, size_t payload = wire::kMadBytes) {
        const wire::FlowTemplate flow(
            wire::Flow{.source_mac = {{2, 0, 0, 0, 0, 9}}, .source = kNear, .destination = kFar});
        MemoryPort::Frame frame(2000);
        frame.resize(wire::build_frame(frame, flow, fields, std::vector<std::byte>(payload)));
        far.port.arrive(std::move(frame));
        far.turn();
    }
    // This check fires, and no other.
    void is_dropped(const wire::HeaderFields& fields, Counter counter,
                    size_t payload = wire::kMadBytes) {
        arrives(fields, payload);
        EXPECT_EQ(far.count(counter), 1U);
        uint64_t all = 0;
        for (auto c = static_cast<size_t>(Counter::MadDroppedOpcode);
             c <= static_cast<size_t>(Counter::MadDroppedTenant); ++c) {
            all += far.count(static_cast<Counter>(c));
        }
        EXPECT_EQ(all, 1U);
        EXPECT_TRUE(inbox.mads.empty());
    }

    Inbox inbox;
    Host near;
    Host far;
};

TEST_F(Mads, datagram_travels_from_queue_pair_1_to_queue_pair_1) {
    sender().send_mad(mad());
    settle();
    ASSERT_EQ(inbox.mads.size(), 1U);
    EXPECT_EQ(inbox.mads[0].vnic, far.vnic);
    EXPECT_EQ(inbox.mads[0].own, kFar);
    EXPECT_EQ(inbox.mads[0].peer, kNear);
    EXPECT_EQ(inbox.mads[0].bytes, mad().bytes);
    EXPECT_EQ(near.count(Counter::MadsSent), 1U);
    EXPECT_EQ(far.count(Counter::MadsReceived), 1U);
}

TEST_F(Mads, packet_is_a_ud_send_with_the_well_known_key_13_5_3) {
    sender().send_mad(mad());
    settle();  // the neighbour is known now
    sender().send_mad(mad());
    near.turn();
    const auto frames = near.port.take_sent();
    ASSERT_EQ(frames.size(), 1U);
    const auto packet = wire::parse(frames[0]);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->bth.opcode, wire::Opcode::UdSendOnly);
    EXPECT_EQ(packet->bth.pkey, 0xffff);
    EXPECT_EQ(packet->bth.dqpn, 1U);
    EXPECT_EQ(packet->deth.qkey, 0x80010000U);
    EXPECT_EQ(packet->deth.source_qpn, 1U);
    EXPECT_EQ(packet->payload.size(), 256U);
}

TEST_F(Mads, other_opcode_to_queue_pair_1_is_dropped) {
    wire::HeaderFields fields = to_queue_pair_1();
    fields.opcode = wire::Opcode::UdSendOnlyImm;
    is_dropped(fields, Counter::MadDroppedOpcode);
}

TEST_F(Mads, other_key_is_dropped) {
    wire::HeaderFields fields = to_queue_pair_1();
    fields.deth.qkey = 0x11111111;
    is_dropped(fields, Counter::MadDroppedQkey);
}

TEST_F(Mads, datagram_of_an_ordinary_queue_pair_is_dropped) {
    wire::HeaderFields fields = to_queue_pair_1();
    fields.deth.source_qpn = 17;
    is_dropped(fields, Counter::MadDroppedSource);
}

TEST_F(Mads, other_length_is_dropped) {
    is_dropped(to_queue_pair_1(), Counter::MadDroppedLength, 252);
}

TEST_F(Mads, what_the_receiver_has_no_room_for_is_dropped) {
    inbox.room = 0;
    is_dropped(to_queue_pair_1(), Counter::MadDroppedFull);
}

TEST_F(Mads, connected_packet_to_queue_pair_1_finds_no_queue_pair) {
    wire::HeaderFields fields;
    fields.opcode = wire::Opcode::RcSendOnly;
    fields.dqpn = wire::kGsiQpn;
    arrives(fields);
    EXPECT_EQ(far.count(Counter::WireDroppedNoQp), 1U);
    EXPECT_TRUE(inbox.mads.empty());
}

TEST_F(Mads, nobody_who_receives_them_drops_them) {
    const wire::FlowTemplate flow(
        wire::Flow{.source_mac = {{2, 0, 0, 0, 0, 9}}, .source = kFar, .destination = kNear});
    MemoryPort::Frame frame(2000);
    frame.resize(
        wire::build_frame(frame, flow, to_queue_pair_1(), std::vector<std::byte>(wire::kMadBytes)));
    near.port.arrive(std::move(frame));
    near.turn();
    EXPECT_EQ(near.count(Counter::MadDroppedFull), 1U);
}

TEST_F(Mads, program_does_not_reach_queue_pair_1) {
    QueuePair qp = near.tenant->create_qp({.type = VRDMA_QPT_UD});
    connect(*near.tenant, qp, {}, 0);
    const Buffer from = near.tenant->buffer(wire::kMadBytes);
    near.tenant->post(qp, {.wr_id = 1,
                           .sges = {from.sge()},
                           .qpn = wire::kGsiQpn,
                           .qkey = wire::kGsiQkey,
                           .gid = gid_of(*far.tenant)});
    settle();
    EXPECT_EQ(near.count(Counter::MadDroppedTenant), 1U);
    EXPECT_EQ(far.count(Counter::MadDroppedSource), 0U) << "it was sent";
}

TEST_F(Mads, without_a_way_it_is_counted_as_unsent) {
    Mad unreachable = mad();
    unreachable.peer = wire::Address::v4(10, 9, 9, 9);  // no gateway
    sender().send_mad(unreachable);
    near.port.buffers_left = 0;
    sender().send_mad(mad());
    EXPECT_EQ(near.count(Counter::MadsUnsent), 2U);
    near.port.buffers_left = 1000;
}

TEST_F(Mads, neighbour_is_reachable_once_it_has_answered) {
    uint32_t mtu = 0;
    EXPECT_EQ(sender().reach(near.vnic, kNear, kFar, mtu), Reach::Asking);
    settle();
    EXPECT_EQ(sender().reach(near.vnic, kNear, kFar, mtu), Reach::Reachable);
    EXPECT_EQ(mtu, 4200U);
}

TEST_F(Mads, neighbour_that_does_not_answer_is_unreachable) {
    uint32_t mtu = 0;
    const wire::Address nobody = wire::Address::v4(10, 0, 0, 77);
    EXPECT_EQ(sender().reach(near.vnic, kNear, nobody, mtu), Reach::Asking);
    Reach found = Reach::Asking;
    for (int i = 0; i < 100 && found == Reach::Asking; ++i) {
        near.world.advance(Duration::milliseconds(50));
        near.turn();
        found = sender().reach(near.vnic, kNear, nobody, mtu);
    }
    EXPECT_EQ(found, Reach::Unreachable);
}

TEST_F(Mads, address_outside_the_prefix_has_no_route) {
    uint32_t mtu = 0;
    EXPECT_EQ(sender().reach(near.vnic, kNear, wire::Address::v4(10, 9, 9, 9), mtu),
              Reach::NoRoute);
}

TEST_F(Mads, network_without_a_port_reaches_nobody) {
    const uint32_t other = near.world.add_vnic(kNetwork + 1, kAddressA);
    uint32_t mtu = 0;
    EXPECT_EQ(sender().reach(other, kNear, kFar, mtu), Reach::NoPort);
}

}  // namespace
}  // namespace vrdma::test
