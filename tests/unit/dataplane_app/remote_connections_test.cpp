// Communication management with another host, by clause of IBA 12.9 (what happens) and 12.10.
#include "dataplane/app/remote_connections.h"

#include "two_services.h"

namespace vrdma::app::test {
namespace {

using wire::CmAbout;
using wire::CmAttribute;
using wire::CmMessage;
using wire::CmReason;
using wire::SidrStatus;

constexpr Duration kLong = Duration::milliseconds(200'000);

using Remote = TwoServices;

// -- a connection's life --------------------------------------------------------------------------

TEST_F(Remote, request_arrives_with_everything_that_was_said) {
    far.listen();
    ask();
    settle();
    const vrdma_cm_message arrived = far.last(VRDMA_CM_REQUEST);
    EXPECT_EQ(wire::Address::from_gid(arrived.address), kNear);
    EXPECT_EQ(arrived.port, kSourcePort);
    EXPECT_EQ(arrived.port_space, kTcp);
    EXPECT_EQ(arrived.handle, kListener + kTcp);
    EXPECT_EQ(arrived.qpn, 0x1234U);
    EXPECT_EQ(arrived.psn, 0x777777U);
    EXPECT_EQ(arrived.mtu, 4);
    EXPECT_EQ(arrived.responder_resources, 3);
    EXPECT_EQ(arrived.initiator_depth, 2);
    EXPECT_EQ(arrived.retry_count, 7);
    EXPECT_EQ(arrived.rnr_retry_count, 6);
    EXPECT_EQ(arrived.private_bytes, VRDMA_CM_REQUEST_BYTES);
    EXPECT_EQ(text_of(arrived, 8), "question");
    EXPECT_EQ(arrived.listener_side, 1);
}

TEST_F(Remote, three_messages_establish_and_two_end_12_9_5) {
    far.listen();
    const uint64_t connection = connect();
    EXPECT_EQ(near.last(VRDMA_CM_REPLY).qpn, 0x5678U);
    EXPECT_EQ(near.last(VRDMA_CM_REPLY).psn, 0x888888U);
    EXPECT_EQ(near.last(VRDMA_CM_REPLY).private_bytes, VRDMA_CM_REPLY_BYTES);
    EXPECT_EQ(text_of(near.last(VRDMA_CM_REPLY), 6), "answer");
    EXPECT_EQ(sent.size(), 3U);
    say_near(connection, VRDMA_CM_DISCONNECT);
    settle();
    EXPECT_EQ(far.types().back(), VRDMA_CM_DISCONNECT);
    EXPECT_EQ(sent.size(), 5U);
    EXPECT_EQ(last_said(CmAttribute::Dreq).qpn, 0x5678U);
    EXPECT_EQ(near.table.connections() + far.table.connections(), 0U);
    advance(kLong);
    EXPECT_EQ(near.wire.exchanges() + far.wire.exchanges(), 0U);
    EXPECT_EQ(sent.size(), 5U) << "something was repeated";
}

TEST_F(Remote, listeners_side_may_end_it_too) {
    far.listen();
    connect();
    answer(VRDMA_CM_DISCONNECT, "");
    settle();
    EXPECT_EQ(near.types().back(), VRDMA_CM_DISCONNECT);
    EXPECT_EQ(last_said(CmAttribute::Dreq).qpn, 0x1234U);
}

TEST_F(Remote, both_sides_may_end_it_at_once) {
    far.listen();
    const uint64_t connection = connect();
    say_near(connection, VRDMA_CM_DISCONNECT);
    answer(VRDMA_CM_DISCONNECT, "");
    settle();
    advance(kLong);
    EXPECT_EQ(said(CmAttribute::Dreq), 2U);
    EXPECT_EQ(near.wire.exchanges() + far.wire.exchanges(), 0U);
    EXPECT_EQ(near.count(CmCounter::DroppedState) + far.count(CmCounter::DroppedState), 0U);
}

TEST_F(Remote, program_that_dies_ends_its_connections) {
    far.listen();
    connect();
    far.leave(now);
    settle();
    EXPECT_EQ(near.types().back(), VRDMA_CM_DISCONNECT);
}

TEST_F(Remote, ids_and_transactions_of_connections_differ_12_9_8_6) {
    far.listen();
    ask();
    settle();
    const CmMessage first = last_said(CmAttribute::Req);
    ask();
    settle();
    EXPECT_NE(last_said(CmAttribute::Req).local_id, first.local_id);
    EXPECT_NE(last_said(CmAttribute::Req).transaction, first.transaction);
}

TEST_F(Remote, answers_belong_to_the_transaction_of_their_request) {
    far.listen();
    connect();
    for (const CmMessage& one : sent) {
        EXPECT_EQ(one.transaction, sent.front().transaction);
    }
}

// -- datagrams ------------------------------------------------------------------------------------

TEST_F(Remote, datagram_service_is_resolved_12_11) {
    far.listen(kUdp);
    ask(kUdp);
    settle();
    EXPECT_EQ(far.last(VRDMA_CM_REQUEST).private_bytes, VRDMA_CM_DATAGRAM_REQUEST_BYTES);
    EXPECT_EQ(text_of(far.last(VRDMA_CM_REQUEST), 8), "question");
    answer(VRDMA_CM_REPLY);
    settle();
    const vrdma_cm_message reply = near.last(VRDMA_CM_REPLY);
    EXPECT_EQ(reply.qpn, 0x5678U);
    EXPECT_EQ(reply.qkey, 0x99999999U);
    EXPECT_EQ(reply.private_bytes, VRDMA_CM_DATAGRAM_REPLY_BYTES);
    EXPECT_EQ(text_of(reply, 6), "answer");
    EXPECT_EQ(near.table.connections() + far.table.connections(), 0U);
}

TEST_F(Remote, datagram_service_that_nobody_offers_is_unsupported) {
    ask(kUdp);
    settle();
    EXPECT_EQ(near.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_NO_LISTENER);
    EXPECT_EQ(last_said(CmAttribute::SidrRep).status, SidrStatus::Unsupported);
    EXPECT_EQ(far.count(CmCounter::RefusedService), 1U);
    EXPECT_EQ(far.wire.exchanges(), 0U);
}

TEST_F(Remote, datagram_service_may_refuse) {
    far.listen(kUdp);
    ask(kUdp);
    settle();
    answer(VRDMA_CM_REJECT, "no", VRDMA_CM_REASON_PROGRAM);
    settle();
    EXPECT_EQ(near.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_PROGRAM);
    EXPECT_EQ(text_of(near.last(VRDMA_CM_REJECT), 2), "no");
    EXPECT_EQ(last_said(CmAttribute::SidrRep).status, SidrStatus::Rejected);
}

TEST_F(Remote, datagram_question_that_comes_again_gets_the_same_answer) {
    far.listen(kUdp);
    int lost = 1;
    filter = [&](const Mad&, const CmMessage& m) {
        return m.attribute == CmAttribute::SidrRep && lost-- > 0 ? 0 : 1;
    };
    ask(kUdp);
    settle();
    answer(VRDMA_CM_REPLY);
    advance(Duration::milliseconds(1000));
    EXPECT_EQ(near.last(VRDMA_CM_REPLY).qpn, 0x5678U);
    EXPECT_EQ(said(CmAttribute::SidrRep), 2U);
    EXPECT_EQ(far.count(CmCounter::Duplicates), 1U);
    EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_REQUEST), 1);
}

// -- what gets lost -------------------------------------------------------------------------------

TEST_F(Remote, request_is_repeated_until_the_tries_are_over_12_9_8_5) {
    filter = [](const Mad&, const CmMessage&) { return 0; };
    ask();
    advance(kLong);
    EXPECT_EQ(said(CmAttribute::Req), 16U);
    const vrdma_cm_message told = near.last(VRDMA_CM_REJECT);
    EXPECT_EQ(told.status, VRDMA_CM_UNREACHABLE);
    EXPECT_EQ(told.reason, VRDMA_CM_REASON_TIMEOUT);
    EXPECT_EQ(near.count(CmCounter::TimedOut), 1U);
    EXPECT_EQ(near.count(CmCounter::Repeated), 15U);
    EXPECT_EQ(near.wire.exchanges(), 0U);
    EXPECT_EQ(near.table.connections(), 0U);
}

TEST_F(Remote, request_is_given_up_before_a_program_stops_waiting) {
    filter = [](const Mad&, const CmMessage&) { return 0; };
    ask();
    advance(Duration::milliseconds(45'000));
    EXPECT_FALSE(near.heard.back().type == VRDMA_CM_REJECT) << "too soon";
    advance(Duration::milliseconds(18'000));
    EXPECT_EQ(near.heard.back().type, VRDMA_CM_REJECT) << "the provider waits for 65 s";
}

TEST_F(Remote, each_message_may_get_lost_once) {
    far.listen();
    for (const CmAttribute attribute : {CmAttribute::Req, CmAttribute::Rep, CmAttribute::Rtu,
                                        CmAttribute::Dreq, CmAttribute::Drep}) {
        sent.clear();
        near.heard.clear();
        far.heard.clear();
        int lost = 1;
        filter = [&](const Mad&, const CmMessage& m) {
            return m.attribute == attribute && lost-- > 0 ? 0 : 1;
        };
        const uint64_t connection = ask();
        advance(Duration::milliseconds(20'000));
        answer(VRDMA_CM_REPLY);
        advance(Duration::milliseconds(20'000));
        say_near(connection, VRDMA_CM_READY);
        advance(Duration::milliseconds(20'000));
        EXPECT_EQ(far.types().back(), VRDMA_CM_READY) << static_cast<int>(attribute);
        say_near(connection, VRDMA_CM_DISCONNECT);
        advance(Duration::milliseconds(20'000));
        EXPECT_EQ(far.types().back(), VRDMA_CM_DISCONNECT) << static_cast<int>(attribute);
        EXPECT_GE(said(attribute), 2U) << static_cast<int>(attribute);
        advance(kLong);
        EXPECT_EQ(near.wire.exchanges() + far.wire.exchanges(), 0U);
    }
}

// Whatever gets lost, comes twice or is overtaken: each program hears each thing once and in order.
TEST_F(Remote, storm_changes_nothing_but_time) {
    far.listen(kTcp, 100);
    for (uint64_t seed = 1; seed <= 300; ++seed) {
        uint64_t state = seed * 0x9e3779b97f4a7c15U;
        const auto chance = [&state](uint64_t percent) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            return state % 100 < percent;
        };
        std::vector<Mad> late;
        filter = [&](const Mad& mad, const CmMessage&) {
            if (chance(15)) {
                late.push_back(mad);
                return 0;
            }
            return chance(25) ? 0 : chance(25) ? 2 : 1;
        };
        const auto pass = [&](int64_t milliseconds) {
            for (int64_t i = 0; i < milliseconds; i += 500) {
                advance(Duration::milliseconds(500));
                std::vector<Mad> arriving;
                std::swap(arriving, late);
                for (const Mad& mad : arriving) {
                    arrive(mad.peer == kFar ? far : near, mad);
                }
                settle();
            }
        };
        near.heard.clear();
        far.heard.clear();
        const uint64_t connection = ask();
        pass(30'000);
        ASSERT_EQ(far.types(), std::vector<int>{VRDMA_CM_REQUEST}) << "seed " << seed;
        answer(VRDMA_CM_REPLY);
        pass(30'000);
        ASSERT_EQ(near.types(),
                  (std::vector<int>{VRDMA_CM_REQUEST | VRDMA_CM_ANSWER, VRDMA_CM_REPLY}))
            << "seed " << seed;
        say_near(connection, VRDMA_CM_READY);
        pass(30'000);
        ASSERT_EQ(far.types(), (std::vector<int>{VRDMA_CM_REQUEST, VRDMA_CM_READY}))
            << "seed " << seed;
        say_near(connection, VRDMA_CM_DISCONNECT);
        pass(30'000);
        ASSERT_EQ(far.types(),
                  (std::vector<int>{VRDMA_CM_REQUEST, VRDMA_CM_READY, VRDMA_CM_DISCONNECT}))
            << "seed " << seed;
        filter = nullptr;
        advance(kLong);
        ASSERT_EQ(near.wire.exchanges() + far.wire.exchanges(), 0U) << "seed " << seed;
    }
}

// -- what comes again -----------------------------------------------------------------------------

TEST_F(Remote, request_again_is_told_to_wait_while_the_program_thinks_12_9_8_5) {
    far.listen();
    ask();
    settle();
    advance(Duration::milliseconds(200));  // no answer: it has been told nothing yet
    advance(Duration::milliseconds(200));
    EXPECT_EQ(said(CmAttribute::Req), 2U);
    EXPECT_EQ(said(CmAttribute::Mra), 1U);
    EXPECT_EQ(last_said(CmAttribute::Mra).about, CmAbout::Req);
    EXPECT_EQ(far.count(CmCounter::Duplicates), 1U);
    advance(Duration::milliseconds(15'000));
    EXPECT_EQ(said(CmAttribute::Req), 2U) << "the delay was not waited for";
    advance(Duration::milliseconds(5'000));
    EXPECT_GE(said(CmAttribute::Req), 3U);
    EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_REQUEST), 1);
}

TEST_F(Remote, request_again_gets_the_same_reply) {
    far.listen();
    ask();
    settle();
    const CmMessage req = last_said(CmAttribute::Req);
    answer(VRDMA_CM_REPLY);
    settle();
    const CmMessage rep = last_said(CmAttribute::Rep);
    forge(far, kNear, req);
    settle();
    EXPECT_EQ(said(CmAttribute::Rep), 2U);
    EXPECT_EQ(last_said(CmAttribute::Rep).private_data, rep.private_data);
    EXPECT_EQ(last_said(CmAttribute::Rep).local_id, rep.local_id);
    EXPECT_EQ(last_said(CmAttribute::Mra).about, CmAbout::Rep) << "for the reply that came again";
}

TEST_F(Remote, request_again_gets_the_same_rejection) {
    far.listen();
    ask();
    settle();
    const CmMessage req = last_said(CmAttribute::Req);
    answer(VRDMA_CM_REJECT, "no", VRDMA_CM_REASON_PROGRAM);
    settle();
    forge(far, kNear, req);
    settle();
    EXPECT_EQ(said(CmAttribute::Rej), 2U);
    EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_REQUEST), 1);
}

TEST_F(Remote, reply_again_gets_the_ready_again) {
    far.listen();
    connect();
    forge(near, kFar, last_said(CmAttribute::Rep));
    settle();
    EXPECT_EQ(said(CmAttribute::Rtu), 2U);
    EXPECT_EQ(near.count(CmCounter::Duplicates), 1U);
}

TEST_F(Remote, disconnect_again_is_granted_again) {
    far.listen();
    const uint64_t connection = connect();
    say_near(connection, VRDMA_CM_DISCONNECT);
    settle();
    forge(far, kNear, last_said(CmAttribute::Dreq));
    settle();
    EXPECT_EQ(said(CmAttribute::Drep), 2U);
    EXPECT_EQ(std::ranges::count(far.types(), VRDMA_CM_DISCONNECT), 1);
}

TEST_F(Remote, delay_is_believed_a_few_times_only) {
    filter = [](const Mad&, const CmMessage&) { return 0; };
    ask();
    settle();
    CmMessage delay;
    delay.attribute = CmAttribute::Mra;
    delay.remote_id = last_said(CmAttribute::Req).local_id;
    delay.about = CmAbout::Req;
    delay.service_timeout = 31;  // two hours
    for (int i = 0; i < 8; ++i) {
        forge(near, kFar, delay);
        EXPECT_LE(near.wire.next_deadline(), now + Duration::milliseconds(69'000));
    }
    EXPECT_EQ(near.count(CmCounter::DroppedState), 0U);
    forge(near, kFar, delay);
    EXPECT_EQ(near.count(CmCounter::DroppedState), 1U);
}

// -- what programs do not do ----------------------------------------------------------------------

TEST_F(Remote, program_that_never_answers_a_request_loses_it) {
    far.listen();
    near.say(request(), now);
    settle();
    filter = [](const Mad&, const CmMessage& m) { return m.attribute == CmAttribute::Rej ? 1 : 0; };
    advance(kLong);
    EXPECT_EQ(far.last(VRDMA_CM_REJECT).status, VRDMA_CM_UNREACHABLE);
    EXPECT_EQ(far.table.connections(), 0U);
    EXPECT_EQ(far.wire.exchanges(), 0U);
}

TEST_F(Remote, program_that_is_never_ready_loses_the_connection) {
    far.listen();
    ask();
    settle();
    answer(VRDMA_CM_REPLY);
    advance(kLong);
    EXPECT_EQ(near.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_TIMEOUT);
    EXPECT_EQ(near.table.connections() + far.table.connections(), 0U);
}

TEST_F(Remote, reply_that_nobody_hears_ends_with_a_rejection_12_9_7_1) {
    far.listen();
    ask();
    settle();
    filter = [](const Mad&, const CmMessage& m) { return m.attribute == CmAttribute::Rep ? 0 : 1; };
    answer(VRDMA_CM_REPLY);
    advance(kLong);
    EXPECT_EQ(far.last(VRDMA_CM_REJECT).status, VRDMA_CM_UNREACHABLE);
    const CmMessage rej = last_said(CmAttribute::Rej);
    EXPECT_EQ(rej.reason, CmReason::Timeout);
    EXPECT_EQ(rej.info_bytes, 8) << "the GUID of who gave up";
}

TEST_F(Remote, requester_that_gives_up_says_so) {
    far.listen();
    const uint64_t connection = ask();
    settle();
    say_near(connection, VRDMA_CM_REJECT, VRDMA_CM_REASON_TIMEOUT);
    settle();
    EXPECT_EQ(last_said(CmAttribute::Rej).remote_id, 0U);
    EXPECT_EQ(far.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_TIMEOUT);
    EXPECT_EQ(far.table.connections(), 0U);
}

TEST_F(Remote, requester_may_reject_the_reply) {
    far.listen();
    const uint64_t connection = ask();
    settle();
    answer(VRDMA_CM_REPLY);
    settle();
    say_near(connection, VRDMA_CM_REJECT, VRDMA_CM_REASON_PROGRAM);
    settle();
    EXPECT_EQ(last_said(CmAttribute::Rej).about, CmAbout::Rep);
    EXPECT_EQ(far.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_PROGRAM);
}

TEST_F(Remote, either_side_may_leave_before_the_connection_is_ready) {
    far.listen();
    const uint64_t connection = ask();
    settle();
    answer(VRDMA_CM_REPLY);
    settle();
    say_near(connection, VRDMA_CM_DISCONNECT);
    settle();
    EXPECT_EQ(far.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_PROGRAM);
    ask();
    settle();
    answer(VRDMA_CM_REPLY);
    answer(VRDMA_CM_DISCONNECT, "");
    settle();
    EXPECT_EQ(near.last(VRDMA_CM_REJECT).reason, VRDMA_CM_REASON_PROGRAM);
    EXPECT_EQ(near.table.connections() + far.table.connections(), 0U);
}

TEST_F(Remote, vnic_that_goes_takes_everything_with_it) {
    far.listen();
    connect();
    far.wire.remove_vnic(kVnic);
    EXPECT_EQ(far.wire.exchanges(), 0U);
    EXPECT_EQ(far.wire.next_deadline(), Instant::never());
    forge(far, kNear, last_said(CmAttribute::Req));
    EXPECT_EQ(far.count(CmCounter::DroppedVnic), 1U);
}

}  // namespace
}  // namespace vrdma::app::test
