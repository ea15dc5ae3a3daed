#include "dataplane/net/neighbour_table.h"

#include <vector>

#include <gtest/gtest.h>

namespace vrdma::net {
namespace {

using wire::Address;
using wire::Mac;
using Fate = NeighbourTable::Fate;

const Address kUs = Address::v4(10, 0, 0, 1);
const Address kPeer = Address::v4(10, 0, 0, 2);
const Mac kMac{{2, 0, 0, 0, 0, 2}};
const Mac kOther{{2, 0, 0, 0, 0, 3}};
constexpr Instant kStart{1'000'000};

struct Neighbours : testing::Test {
    NeighbourTable table;
    Instant now = kStart;
    Mac mac;

    HopId acquire(const Address& address = kPeer) {
        const auto hop = table.acquire(address, kUs);
        EXPECT_TRUE(hop);
        return *hop;
    }
    HopId reachable() {
        const HopId hop = acquire();
        EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
        EXPECT_TRUE(table.poll_transmit(now));
        table.learn(kPeer, kMac, false, now);
        return hop;
    }
    static PacketBuffer packet(uint32_t length) { return {nullptr, length, 0, nullptr}; }
    std::vector<NeighbourTable::Released> released() {
        std::vector<NeighbourTable::Released> all;
        while (auto one = table.next_released()) {
            all.push_back(*one);
        }
        return all;
    }
    // Lets time pass until the next deadline.
    void advance() {
        ASSERT_NE(table.next_deadline(), Instant::never());
        now = table.next_deadline();
        table.on_deadline(now);
    }
    void exhaust() {
        for (int i = 0; i < kSolicitations; ++i) {
            EXPECT_TRUE(table.poll_transmit(now)) << i;
            advance();
        }
    }
};

TEST_F(Neighbours, nobody_is_asked_before_somebody_sends) {
    acquire();
    EXPECT_FALSE(table.poll_transmit(now));
    EXPECT_EQ(table.next_deadline(), Instant::never());
}

TEST_F(Neighbours, first_use_asks_everybody_once) {
    const HopId hop = acquire();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    const auto question = table.poll_transmit(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->target, kPeer);
    EXPECT_EQ(question->source, kUs);
    EXPECT_FALSE(question->known);
    EXPECT_FALSE(table.poll_transmit(now));
}

TEST_F(Neighbours, answer_lets_waiting_packets_go_in_order) {
    const HopId hop = acquire();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    EXPECT_TRUE(table.wait(hop, packet(1)));
    EXPECT_TRUE(table.wait(hop, packet(2)));
    EXPECT_TRUE(released().empty());
    table.learn(kPeer, kMac, false, now);
    const auto all = released();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_TRUE(all[0].send && all[1].send);
    EXPECT_EQ(all[0].packet.length, 1U);
    EXPECT_EQ(all[1].packet.length, 2U);
    EXPECT_EQ(all[0].mac, kMac);
    EXPECT_EQ(table.use(hop, now, mac), Fate::Send);
    EXPECT_EQ(mac, kMac);
}

TEST_F(Neighbours, silence_is_asked_again_and_then_drops_what_waits) {
    const HopId hop = acquire();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    EXPECT_TRUE(table.wait(hop, packet(1)));
    exhaust();
    EXPECT_EQ(table.state(hop), NeighbourState::Unreachable);
    EXPECT_EQ(now - kStart, kSolicitInterval * kSolicitations);
    const auto all = released();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_FALSE(all[0].send);
    EXPECT_EQ(table.use(hop, now, mac), Fate::Drop);
    EXPECT_EQ(table.counters().unanswered, 1U);
    EXPECT_EQ(table.counters().dropped_unreachable, 2U);
    EXPECT_EQ(table.counters().solicitations, kSolicitations);
    EXPECT_FALSE(table.poll_transmit(now));
}

TEST_F(Neighbours, unreachable_one_is_asked_again_after_a_pause) {
    const HopId hop = acquire();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    exhaust();
    advance();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    EXPECT_TRUE(table.poll_transmit(now));
}

TEST_F(Neighbours, unreachable_one_that_speaks_is_reachable_at_once) {
    const HopId hop = acquire();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    exhaust();
    table.learn(kPeer, kMac, false, now);
    EXPECT_EQ(table.use(hop, now, mac), Fate::Send);
}

TEST_F(Neighbours, old_answer_is_used_and_checked_with_that_station_first) {
    const HopId hop = reachable();
    advance();  // of the question, which was answered
    advance();
    EXPECT_EQ(now - kStart, kReachableFor);
    EXPECT_EQ(table.state(hop), NeighbourState::Stale);
    EXPECT_FALSE(table.poll_transmit(now)) << "nobody uses it";
    EXPECT_EQ(table.use(hop, now, mac), Fate::Send);
    EXPECT_EQ(mac, kMac);
    for (int i = 0; i < kSolicitations; ++i) {
        EXPECT_EQ(table.use(hop, now, mac), Fate::Send);
        const auto question = table.poll_transmit(now);
        ASSERT_TRUE(question);
        EXPECT_EQ(question->known.has_value(), i < kUnicastSolicitations);
        advance();
    }
    EXPECT_EQ(table.use(hop, now, mac), Fate::Drop);
}

TEST_F(Neighbours, confirmation_by_the_transport_spares_the_question) {
    const HopId hop = reachable();
    table.confirm(hop, now + Duration::milliseconds(1));
    table.on_deadline(now + kReachableFor);
    EXPECT_EQ(table.state(hop), NeighbourState::Reachable);
}

TEST_F(Neighbours, confirmation_without_an_address_means_nothing) {
    const HopId hop = acquire();
    table.confirm(hop, now);
    EXPECT_EQ(table.state(hop), NeighbourState::Unknown);
}

TEST_F(Neighbours, neighbour_that_moves_is_followed_and_counted) {
    const HopId hop = reachable();
    table.learn(kPeer, kOther, false, now);
    EXPECT_EQ(table.use(hop, now, mac), Fate::Send);
    EXPECT_EQ(mac, kOther);
    EXPECT_EQ(table.counters().moved, 1U);
}

TEST_F(Neighbours, strangers_make_no_entry_unless_they_speak_to_us) {
    table.learn(kPeer, kMac, false, now);
    EXPECT_TRUE(table.list().empty());
    table.learn(kPeer, kMac, true, now);
    ASSERT_EQ(table.list().size(), 1U);
    EXPECT_EQ(table.use(acquire(), now, mac), Fate::Send);
}

TEST_F(Neighbours, packets_beyond_the_room_of_one_neighbour_are_refused) {
    const HopId hop = acquire();
    EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
    for (uint32_t i = 0; i < kMaxWaitingPerNeighbour; ++i) {
        EXPECT_TRUE(table.wait(hop, packet(i)));
    }
    EXPECT_FALSE(table.wait(hop, packet(0)));
    EXPECT_EQ(table.counters().dropped_waiting, 1U);
    table.learn(kPeer, kMac, false, now);
    EXPECT_EQ(released().size(), kMaxWaitingPerNeighbour);
    EXPECT_TRUE(table.wait(hop, packet(0)));
}

TEST_F(Neighbours, packets_beyond_the_room_of_all_are_refused) {
    uint32_t kept = 0;
    for (uint8_t n = 2; n < 100; ++n) {
        const HopId hop = acquire(Address::v4(10, 0, 0, n));
        EXPECT_EQ(table.use(hop, now, mac), Fate::Wait);
        for (uint32_t i = 0; i < kMaxWaitingPerNeighbour; ++i) {
            kept += table.wait(hop, packet(i)) ? 1U : 0U;
        }
    }
    EXPECT_EQ(kept, kMaxWaiting);
}

TEST_F(Neighbours, table_full_of_strangers_makes_room_for_ours) {
    for (uint32_t i = 0; i < kMaxNeighbours; ++i) {
        table.learn(Address::v4(10, 1, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)), kMac,
                    true, Instant{kStart.ns + i});
    }
    EXPECT_EQ(table.list().size(), kMaxNeighbours);
    const HopId hop = acquire();
    EXPECT_EQ(table.info(hop).address, kPeer);
    EXPECT_EQ(table.list().size(), kMaxNeighbours);
}

TEST_F(Neighbours, table_full_of_ours_refuses) {
    for (uint32_t i = 0; i < kMaxNeighbours; ++i) {
        acquire(Address::v4(10, 1, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)));
    }
    EXPECT_FALSE(table.acquire(kPeer, kUs));
    EXPECT_EQ(table.counters().table_full, 1U);
    table.learn(kPeer, kMac, true, now);
    EXPECT_EQ(table.counters().table_full, 2U);
    table.release(7);
    EXPECT_TRUE(table.acquire(kPeer, kUs));
}

TEST_F(Neighbours, acquired_twice_is_one_entry) {
    EXPECT_EQ(acquire(), acquire());
    EXPECT_EQ(table.info(0).users, 2U);
}

}  // namespace
}  // namespace vrdma::net
