// What a remote host speaks, and the source port toward it.
#include "dataplane/transport/peer.h"

#include <gtest/gtest.h>

#include "dataplane/transport/source_port.h"

namespace vrdma::transport {
namespace {

using Role = wire::ProbeEth::Role;

class PeerTest : public testing::Test {
  protected:
    void begin(PeerPolicy policy) { peer.begin(policy, {.epoch = 11}, kToken, now); }
    static wire::ProbeEth answer(uint64_t token, uint64_t epoch = 22,
                                 uint32_t capabilities = kCapabilitySack) {
        return {.role = Role::Answer,
                .version = kProbeVersion,
                .capabilities = capabilities,
                .epoch = epoch,
                .token = token};
    }
    static wire::ProbeEth question(uint64_t epoch = 22) {
        return {.role = Role::Question,
                .version = kProbeVersion,
                .capabilities = kCapabilitySack,
                .epoch = epoch,
                .token = 99};
    }
    // Lets everything that has a deadline happen; returns the questions that were sent.
    int run(Duration time) {
        const Instant end = now + time;
        int questions = 0;
        while (true) {
            while (peer.poll_transmit(now)) {
                ++questions;
            }
            if (peer.next_deadline() > end) {
                now = end;
                return questions;
            }
            now = peer.next_deadline();
            peer.on_deadline(now);
        }
    }

    static constexpr uint64_t kToken = 0x1234567890;
    Instant now{1'000'000'000};
    Peer peer;
};

TEST_F(PeerTest, asks_at_once_and_is_standard_meanwhile) {
    begin(PeerPolicy::Auto);
    const auto probe = peer.poll_transmit(now);
    ASSERT_TRUE(probe.has_value());
    EXPECT_EQ(probe->role, Role::Question);
    EXPECT_EQ(probe->token, kToken);
    EXPECT_EQ(probe->epoch, 11U);
    EXPECT_EQ(peer.kind(), PeerKind::Standard);
    EXPECT_FALSE(peer.settled());
}

TEST_F(PeerTest, answer_with_our_token_makes_a_vrdma_peer) {
    begin(PeerPolicy::Auto);
    run(Duration::microseconds(10));
    const Peer::Reply reply = peer.receive(answer(kToken), now);
    EXPECT_TRUE(reply.changed);
    EXPECT_EQ(peer.kind(), PeerKind::Vrdma);
    EXPECT_TRUE(peer.settled());
    EXPECT_EQ(run(Duration::milliseconds(100'000)), 0);
}

TEST_F(PeerTest, answer_with_another_token_is_ignored) {
    begin(PeerPolicy::Auto);
    run(Duration::microseconds(10));
    EXPECT_TRUE(peer.receive(answer(kToken + 1), now).ignored);
    EXPECT_EQ(peer.kind(), PeerKind::Standard);
}

TEST_F(PeerTest, answer_before_any_question_is_ignored) {
    begin(PeerPolicy::Auto);
    EXPECT_TRUE(peer.receive(answer(kToken), now).ignored);
}

TEST_F(PeerTest, answer_without_sack_stays_standard) {
    begin(PeerPolicy::Auto);
    run(Duration::microseconds(10));
    EXPECT_FALSE(peer.receive(answer(kToken, 22, 0), now).changed);
    EXPECT_EQ(peer.kind(), PeerKind::Standard);
}

TEST_F(PeerTest, silence_means_standard_and_is_asked_again_later) {
    begin(PeerPolicy::Auto);
    EXPECT_EQ(run(Duration::milliseconds(100)), 4);
    EXPECT_TRUE(peer.settled());
    EXPECT_EQ(peer.kind(), PeerKind::Standard);
    EXPECT_EQ(run(Duration::milliseconds(30'000)), 4);
}

TEST_F(PeerTest, question_is_answered_with_its_token_but_not_believed) {
    begin(PeerPolicy::Auto);
    run(Duration::milliseconds(100));
    const Peer::Reply reply = peer.receive(question(), now);
    ASSERT_TRUE(reply.answer.has_value());
    EXPECT_EQ(reply.answer->token, 99U);
    EXPECT_EQ(reply.answer->role, Role::Answer);
    EXPECT_EQ(peer.kind(), PeerKind::Standard);
    EXPECT_EQ(run(Duration::milliseconds(1)), 1);  // but it is asked back
    EXPECT_TRUE(peer.receive(answer(kToken), now).changed);
}

TEST_F(PeerTest, question_of_a_new_epoch_makes_us_ask_again_and_see_the_restart) {
    begin(PeerPolicy::Auto);
    run(Duration::microseconds(10));
    ASSERT_FALSE(peer.receive(answer(kToken), now).restarted);
    EXPECT_EQ(run(Duration::milliseconds(1)), 0);
    ASSERT_TRUE(peer.receive(question(23), now).answer.has_value());
    EXPECT_EQ(run(Duration::milliseconds(1)), 1);
    EXPECT_EQ(peer.kind(), PeerKind::Vrdma);
    EXPECT_TRUE(peer.receive(answer(kToken, 23), now).restarted);
}

TEST_F(PeerTest, question_of_a_known_peer_is_only_answered) {
    begin(PeerPolicy::Auto);
    run(Duration::microseconds(10));
    ASSERT_TRUE(peer.receive(answer(kToken), now).changed);
    EXPECT_TRUE(peer.receive(question(22), now).answer.has_value());
    EXPECT_EQ(run(Duration::milliseconds(1)), 0);
}

TEST_F(PeerTest, configured_as_vrdma_is_not_asked) {
    begin(PeerPolicy::Vrdma);
    EXPECT_EQ(peer.kind(), PeerKind::Vrdma);
    EXPECT_EQ(run(Duration::milliseconds(100'000)), 0);
    EXPECT_TRUE(peer.receive(answer(kToken), now).ignored);
}

TEST_F(PeerTest, configured_as_standard_neither_asks_nor_answers) {
    begin(PeerPolicy::Standard);
    EXPECT_EQ(run(Duration::milliseconds(100'000)), 0);
    const Peer::Reply reply = peer.receive(question(), now);
    EXPECT_TRUE(reply.ignored);
    EXPECT_FALSE(reply.answer.has_value());
}

TEST(SourcePort, is_in_the_dynamic_range_and_depends_on_both_queue_pairs) {
    EXPECT_EQ(source_port(0), 0xc000);
    EXPECT_EQ(source_port(0xfffff), 0xc000 | (0x3fff ^ 0x3f));
    EXPECT_NE(source_port(flow_label(17, 18)), source_port(flow_label(17, 19)));
    EXPECT_EQ(flow_label(17, 18), flow_label(18, 17));
}

}  // namespace
}  // namespace vrdma::transport
