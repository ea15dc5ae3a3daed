// What communication management refuses, drops and bounds: requests that are not right, strangers,
// messages about nothing, too many of anything.
#include "dataplane/app/remote_connections.h"

#include "two_services.h"

namespace vrdma::app::test {
namespace {

using wire::CmAbout;
using wire::CmAttribute;
using wire::CmMessage;
using wire::CmReason;

constexpr Duration kLong = Duration::milliseconds(200'000);

using Remote = TwoServices;

// -- requests that are refused --------------------------------------------------------------------

class RefusedRequest : public TwoServices {
  protected:
    RefusedRequest() {
        far.listen();
        near.say(request(), now);
        near.deliver(now);
        const auto mad = near.wire.poll_transmit();
        req = *wire::parse_cm(mad->bytes);
    }
    // It is answered with this, this is counted, and the program hears nothing.
    void is_refused(CmReason reason, CmCounter counter) {
        forge(far, kNear, req);
        filter = [](const Mad&, const CmMessage&) { return 0; };
        settle();
        const CmMessage rej = last_said(CmAttribute::Rej);
        EXPECT_EQ(rej.reason, reason);
        EXPECT_EQ(rej.about, CmAbout::Req);
        EXPECT_EQ(rej.remote_id, req.local_id);
        EXPECT_EQ(rej.transaction, req.transaction);
        EXPECT_EQ(far.count(counter), 1U);
        EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_REQUEST), 0);
        EXPECT_EQ(far.wire.exchanges(), 0U);
        uint64_t refusals = 0;
        for (size_t i = static_cast<size_t>(CmCounter::DroppedVnic); i < kCmCounterCount; ++i) {
            refusals += far.wire.counters().value[i];
        }
        EXPECT_EQ(refusals, 1U) << "more than one check fired";
    }
    CmMessage req;
};

TEST_F(RefusedRequest, is_right_otherwise) {
    forge(far, kNear, req);
    far.deliver(now);
    EXPECT_EQ(far.types(), std::vector<int>{VRDMA_CM_REQUEST});
}

TEST_F(RefusedRequest, other_transport_12_6_7_2) {
    req.transport = 1;
    is_refused(CmReason::InvalidTransport, CmCounter::RefusedTransport);
}

TEST_F(RefusedRequest, service_that_is_none_of_rdma_cm) {
    req.service_id = 0x1000000000000001;
    is_refused(CmReason::InvalidServiceId, CmCounter::RefusedService);
}

TEST_F(RefusedRequest, port_at_which_nobody_listens) {
    req.service_id = wire::ip_service_id(kTcp, kPort + 1);
    is_refused(CmReason::InvalidServiceId, CmCounter::RefusedService);
}

TEST_F(RefusedRequest, address_header_of_another_version) {
    req.private_data[0] = 1;
    is_refused(CmReason::Unsupported, CmCounter::RefusedHeader);
    EXPECT_EQ(far.wire.counters().dropped[static_cast<size_t>(wire::DropReason::CmIpVersion)], 1U);
}

TEST_F(RefusedRequest, other_source_in_the_address_header) {
    req.private_data[19] ^= 1;
    is_refused(CmReason::Unsupported, CmCounter::RefusedHeader);
}

TEST_F(RefusedRequest, other_destination_in_the_address_header) {
    req.private_data[35] ^= 1;
    is_refused(CmReason::Unsupported, CmCounter::RefusedHeader);
}

TEST_F(RefusedRequest, path_from_another_address) {
    req.sender_gid = kStranger;
    is_refused(CmReason::InvalidGid, CmCounter::RefusedGid);
}

TEST_F(RefusedRequest, path_to_another_address) {
    req.receiver_gid = kStranger;
    is_refused(CmReason::InvalidGid, CmCounter::RefusedGid);
}

TEST_F(RefusedRequest, path_mtu_beyond_the_ports) {
    far.port_mtu = 3;
    is_refused(CmReason::InvalidMtu, CmCounter::RefusedMtu);
    EXPECT_EQ(last_said(CmAttribute::Rej).info_bytes, 1);
    EXPECT_EQ(last_said(CmAttribute::Rej).info[0], 3) << "the one that would do";
}

TEST_F(RefusedRequest, no_queue_pair) {
    req.qpn = 1;
    is_refused(CmReason::Unsupported, CmCounter::RefusedQpn);
}

TEST_F(Remote, request_of_a_connected_queue_pair_is_stale_12_9_8_3_1) {
    far.listen();
    connect();
    CmMessage again = last_said(CmAttribute::Req);
    again.local_id ^= 1;
    forge(far, kNear, again);
    far.heard.clear();
    filter = [](const Mad&, const CmMessage&) { return 0; };
    settle();
    EXPECT_EQ(last_said(CmAttribute::Rej).reason, CmReason::StaleConnection);
    EXPECT_EQ(far.count(CmCounter::RefusedStale), 1U);
    EXPECT_EQ(said(CmAttribute::Dreq), 0U) << "a forged request ended a connection";
    EXPECT_TRUE(far.heard.empty());
}

TEST_F(Remote, forged_request_does_not_make_its_queue_pair_stale) {
    far.listen();
    near.say(request(), now);
    near.deliver(now);
    const auto mad = near.wire.poll_transmit();
    CmMessage forged = *wire::parse_cm(mad->bytes);
    forged.local_id ^= 1;
    forge(far, kNear, forged);
    far.deliver(now);
    arrive(far, *mad);
    far.deliver(now);
    EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_REQUEST), 2);
    EXPECT_EQ(far.count(CmCounter::RefusedStale), 0U);
}

TEST_F(Remote, queue_pair_may_connect_again_after_its_end) {
    far.listen();
    const uint64_t connection = connect();
    say_near(connection, VRDMA_CM_DISCONNECT);
    settle();
    connect();
}

TEST_F(Remote, requests_beyond_the_backlog_are_refused) {
    far.listen(kTcp, 2);
    for (uint32_t i = 0; i < 3; ++i) {
        vrdma_cm_message one = request();
        one.qpn += i;
        near.say(one, now);
        settle();
    }
    EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_REQUEST), 2);
    EXPECT_EQ(near.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_NO_RESOURCES);
    EXPECT_EQ(far.count(CmCounter::RefusedFull), 1U);
    EXPECT_EQ(far.wire.exchanges(), 2U);
}

class FewConnections : public TwoServices {
  protected:
    FewConnections() : TwoServices(1) {}
};

TEST_F(FewConnections, connections_of_a_vnic_are_limited_from_both_sides) {
    far.listen();
    ask();
    settle();
    vrdma_cm_message second = request();
    near.say(second, now);
    EXPECT_EQ(near.heard.back().status, VRDMA_CM_FULL);
    CmMessage other = last_said(CmAttribute::Req);
    other.local_id ^= 1;
    other.qpn ^= 1;
    forge(far, kNear, other);
    settle();
    EXPECT_EQ(far.count(CmCounter::RefusedFull), 1U);
}

TEST_F(Remote, outstanding_reads_are_cut_to_what_a_vnic_can) {
    far.listen();
    vrdma_cm_message many = request();
    many.responder_resources = many.initiator_depth = 128;  // as soft-RoCE says
    near.say(many, now);
    settle();
    EXPECT_EQ(last_said(CmAttribute::Req).initiator_depth, 128);
    EXPECT_EQ(far.last(VRDMA_CM_REQUEST).responder_resources, VRDMA_MAX_RD_ATOMIC);
    EXPECT_EQ(far.last(VRDMA_CM_REQUEST).initiator_depth, VRDMA_MAX_RD_ATOMIC);
}

// -- strangers ------------------------------------------------------------------------------------

TEST_F(Remote, stranger_who_knows_the_ids_changes_nothing) {
    far.listen();
    const uint64_t connection = ask();
    settle();
    answer(VRDMA_CM_REPLY);
    far.deliver(now);
    const auto mad = far.wire.poll_transmit();
    const CmMessage rep = *wire::parse_cm(mad->bytes);
    forge(near, kStranger, rep);
    CmMessage rej = rep;
    rej.attribute = CmAttribute::Rej;
    forge(near, kStranger, rej);
    CmMessage delay = rep;
    delay.attribute = CmAttribute::Mra;
    forge(near, kStranger, delay);
    EXPECT_EQ(near.count(CmCounter::DroppedNotPeer), 3U);
    arrive(near, *mad);
    settle();
    say_near(connection, VRDMA_CM_READY);
    settle();
    ASSERT_EQ(far.types().back(), VRDMA_CM_READY);
    CmMessage dreq = last_said(CmAttribute::Rtu);
    dreq.attribute = CmAttribute::Dreq;
    dreq.qpn = 0x5678;
    forge(far, kStranger, dreq);
    settle();
    EXPECT_EQ(far.types().back(), VRDMA_CM_READY);
    EXPECT_EQ(said(CmAttribute::Drep), 0U);
    EXPECT_EQ(far.count(CmCounter::DroppedNotPeer), 1U);
}

class Established : public TwoServices {
  protected:
    Established() {
        far.listen();
        connect();
        dreq = last_said(CmAttribute::Rtu);
        dreq.attribute = CmAttribute::Dreq;
        dreq.qpn = 0x5678;
        far.heard.clear();
        filter = [](const Mad&, const CmMessage&) { return 0; };
    }
    void changes_nothing(const CmMessage& m, CmCounter counter) {
        const uint64_t before = far.count(counter);
        const size_t messages = sent.size();
        forge(far, kNear, m);
        settle();
        EXPECT_EQ(far.count(counter), before + 1);
        EXPECT_TRUE(far.heard.empty());
        EXPECT_EQ(sent.size(), messages) << "it was answered";
    }
    CmMessage dreq;
};

TEST_F(Established, disconnect_with_another_id_of_the_sender_is_not_its_peers) {
    dreq.local_id ^= 1;
    changes_nothing(dreq, CmCounter::DroppedNotPeer);
}

TEST_F(Established, disconnect_of_another_queue_pair_is_not_its_peers_12_6_10) {
    dreq.qpn ^= 1;
    changes_nothing(dreq, CmCounter::DroppedNotPeer);
}

TEST_F(Established, disconnect_of_an_unknown_connection_is_granted_12_9_8_3_2) {
    dreq.remote_id ^= 1;
    forge(far, kNear, dreq);
    settle();
    EXPECT_EQ(last_said(CmAttribute::Drep).remote_id, dreq.local_id);
    EXPECT_EQ(last_said(CmAttribute::Drep).local_id, dreq.remote_id);
    EXPECT_EQ(far.count(CmCounter::DroppedUnknown), 1U);
    EXPECT_TRUE(far.heard.empty());
}

TEST_F(Established, reply_to_an_unknown_request_is_refused_12_6_7_2) {
    CmMessage rep = dreq;
    rep.attribute = CmAttribute::Rep;
    rep.remote_id ^= 1;
    forge(far, kNear, rep);
    settle();
    EXPECT_EQ(last_said(CmAttribute::Rej).reason, CmReason::InvalidCommId);
    EXPECT_EQ(last_said(CmAttribute::Rej).about, CmAbout::Rep);
    EXPECT_EQ(far.count(CmCounter::DroppedUnknown), 1U);
}

TEST_F(Established, what_does_not_fit_the_state_is_dropped) {
    CmMessage m = dreq;
    for (const CmAttribute attribute :
         {CmAttribute::Rtu, CmAttribute::Rej, CmAttribute::Mra, CmAttribute::Drep}) {
        m.attribute = attribute;
        changes_nothing(m, CmCounter::DroppedState);
    }
    CmMessage req = sent.front();
    changes_nothing(req, CmCounter::DroppedState);
}

TEST_F(Established, what_is_about_nothing_is_dropped) {
    CmMessage m = dreq;
    m.remote_id ^= 1;
    for (const CmAttribute attribute :
         {CmAttribute::Rtu, CmAttribute::Rej, CmAttribute::Mra, CmAttribute::Drep}) {
        m.attribute = attribute;
        changes_nothing(m, CmCounter::DroppedUnknown);
    }
    m.attribute = CmAttribute::SidrRep;
    changes_nothing(m, CmCounter::DroppedUnknown);
}

TEST_F(Established, message_from_the_address_of_a_vnic_of_this_host_is_forged) {
    far.wire.add_vnic(kVnic + 1, {kNear, 9});
    changes_nothing(dreq, CmCounter::DroppedOwnAddress);
}

TEST_F(Established, malformed_message_is_counted_by_its_fault) {
    Mad mad{.vnic = kVnic, .own = kNear, .peer = kFar, .bytes = {}};
    wire::build_cm(dreq, mad.bytes);
    mad.bytes[2] = std::byte{1};
    arrive(far, mad);
    settle();
    EXPECT_EQ(far.wire.counters().dropped[static_cast<size_t>(wire::DropReason::MadClassVersion)],
              1U);
    EXPECT_TRUE(far.heard.empty());
}

TEST_F(Remote, reply_without_a_queue_pair_is_refused) {
    far.listen();
    ask();
    settle();
    CmMessage rep;
    rep.attribute = CmAttribute::Rep;
    rep.remote_id = last_said(CmAttribute::Req).local_id;
    rep.local_id = 5;
    rep.qpn = 0;
    forge(near, kFar, rep);
    settle();
    EXPECT_EQ(near.count(CmCounter::RefusedQpn), 1U);
    EXPECT_EQ(last_said(CmAttribute::Rej).about, CmAbout::Rep);
}

// Any message, with ids that exist more often than not: nothing grows without end, nothing is
// answered by more than one message, and connections of others live on.
TEST_F(Remote, nonsense_costs_one_answer_each_at_most) {
    far.listen(kTcp, 4);
    far.listen(kUdp, 4);
    connect();
    far.heard.clear();
    std::vector<uint32_t> ids{0};
    uint64_t state = 0x1234567;
    const auto draw = [&state] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state >> 8;
    };
    const auto some_id = [&] { return ids[draw() % ids.size()]; };
    const CmMessage req = sent.front();
    for (int i = 0; i < 100'000; ++i) {
        CmMessage m = req;
        m.attribute = static_cast<CmAttribute>(0x10 + draw() % 9);
        m.local_id = draw() % 4 == 0 ? static_cast<uint32_t>(draw()) : some_id();
        m.remote_id = some_id();
        m.qpn = static_cast<uint32_t>(draw() % 4 == 0 ? draw() & 0xffffff : 0x5678);
        m.service_id = wire::ip_service_id(draw() % 2 == 0 ? kTcp : kUdp, kPort);
        m.about = static_cast<CmAbout>(draw() % 3);
        m.reason = static_cast<CmReason>(draw() % 40);
        m.sender_gid = kStranger;
        wire::build_cm_ip({.port = 1, .source = kStranger, .destination = kFar}, m.private_data);
        Mad mad{.vnic = kVnic, .own = kFar, .peer = kStranger, .bytes = {}};
        wire::build_cm(m, mad.bytes);
        if (draw() % 4 == 0) {
            mad.bytes[draw() % mad.bytes.size()] = static_cast<std::byte>(draw());
        }
        far.wire.receive(mad, kMtu, now);
        far.deliver(now);
        size_t answers = 0;
        while (const auto answer = far.wire.poll_transmit()) {
            ++answers;
            EXPECT_EQ(answer->peer, kStranger);
            const auto said_back = wire::parse_cm(answer->bytes);
            ASSERT_TRUE(said_back);
            if (ids.size() < 64) {
                ids.push_back(said_back->local_id);
            }
        }
        ASSERT_LE(answers, 1U);
        if (draw() % 64 == 0 && std::ranges::count(far.types(), VRDMA_CM_REQUEST) != 0) {
            answer(VRDMA_CM_REPLY);
            far.heard.clear();
        }
        now = now + Duration::milliseconds(static_cast<int64_t>(draw() % 20));
        far.wire.on_deadline(now);
        far.deliver(now);
        while (far.wire.poll_transmit()) {
        }
        ASSERT_LE(far.wire.exchanges(), 4096U + 64U);
        ASSERT_LE(far.table.connections(), 64U);
    }
    EXPECT_EQ(std::ranges::count(near.types(), VRDMA_CM_DISCONNECT), 0);
    EXPECT_GE(far.table.connections(), 1U) << "a connection of somebody else was ended";
    EXPECT_GT(far.count(CmCounter::DroppedUnknown), 0U);
    EXPECT_GT(far.count(CmCounter::RefusedFull), 0U);
}

// -- bounds ---------------------------------------------------------------------------------------

TEST_F(Remote, ended_connections_are_remembered_up_to_a_number) {
    far.listen();
    for (uint32_t i = 0; i < 5000; ++i) {
        const uint64_t connection = ask();
        settle();
        answer(VRDMA_CM_REJECT, "", VRDMA_CM_REASON_PROGRAM);
        settle();
        near.heard.clear();
        far.heard.clear();
        sent.clear();
        (void)connection;
    }
    EXPECT_LE(far.wire.exchanges(), 4096U);
    EXPECT_LE(near.wire.exchanges(), 4096U);
    advance(kLong);
    EXPECT_EQ(near.wire.exchanges() + far.wire.exchanges(), 0U);
}

class ManyConnections : public TwoServices {
  protected:
    ManyConnections() : TwoServices(2000) {}
};

TEST_F(ManyConnections, ends_that_nobody_hears_are_repeated_for_so_many_only) {
    far.listen(kTcp, 8);
    std::vector<uint64_t> connections;
    for (uint32_t i = 0; i < 1100; ++i) {
        vrdma_cm_message one = request();
        one.qpn += i;
        near.say(one, now);
        connections.push_back(near.heard.back().connection);
        settle();
        vrdma_cm_message reply = message(VRDMA_CM_REPLY);
        reply.connection = far.last(VRDMA_CM_REQUEST).connection;
        reply.listener_side = 1;
        reply.qpn = 0x10000 + i;
        far.say(reply, now);
        settle();
        say_near(connections.back(), VRDMA_CM_READY);
        settle();
    }
    filter = [](const Mad&, const CmMessage&) { return 0; };
    sent.clear();
    for (const uint64_t connection : connections) {
        say_near(connection, VRDMA_CM_DISCONNECT);
    }
    settle();
    EXPECT_EQ(said(CmAttribute::Dreq), 1100U);
    advance(Duration::milliseconds(300));
    EXPECT_EQ(said(CmAttribute::Dreq), 1100U + 1024U);
    advance(kLong);
    EXPECT_EQ(near.wire.exchanges(), 0U);
    EXPECT_EQ(near.count(CmCounter::TimedOut), 1024U);
}

}  // namespace
}  // namespace vrdma::app::test
