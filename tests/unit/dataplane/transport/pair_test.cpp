// Both ends together, over a line that loses, repeats and turns around: every byte right, every
// completion once and in order.
#include "pair.h"

#include <gtest/gtest.h>

#include <cstring>

namespace vrdma::transport {
namespace {

struct World {
    PeerKind peer;
    double loss;
    double duplicate;
    double reorder;
    bool hold;
};

std::ostream& operator<<(std::ostream& out, const World& w) {
    return out << (w.peer == PeerKind::Vrdma ? "vrdma" : "standard") << " loss " << w.loss
               << " duplicate " << w.duplicate << " reorder " << w.reorder
               << (w.hold ? "" : " no holding");
}

class PairWorld : public testing::TestWithParam<World> {};

TEST_P(PairWorld, mixed_operations_both_ways_arrive_once_and_in_order) {
    const World& w = GetParam();
    for (uint32_t seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        Pair pair(w.peer, seed % 2 == 0 ? 0xffffff - seed : seed * 1000, seed, 256U << seed % 3);
        pair.rules = {.loss = w.loss, .duplicate = w.duplicate, .reorder = w.reorder};
        pair.a.hold = pair.b.hold = w.hold;
        struct Sent {
            Side* from;
            Side* to;
            std::vector<std::byte> remote_after;
            std::vector<std::byte> inbox;
            std::vector<uint32_t> lengths;
            std::vector<std::byte> local_after;
            uint32_t count = 0;
        };
        Sent sides[2] = {{&pair.a, &pair.b, pair.b.remote, {}, {}, pair.a.local},
                         {&pair.b, &pair.a, pair.a.remote, {}, {}, pair.b.local}};
        for (int round = 0; round < 3; ++round) {
            for (Sent& s : sides) {
                uint32_t at = static_cast<uint32_t>(round) * 130'000;
                for (int i = 0; i < 8; ++i) {
                    Message m;
                    m.id = ++s.count;
                    m.operation = static_cast<Operation>(random() % 8);
                    m.length = is_atomic(m.operation) ? 8
                               : random() % 3 == 0    ? static_cast<uint32_t>(random() % 15'000)
                                                      : static_cast<uint32_t>(random() % 600);
                    m.remote_address = at;
                    m.swap_or_add = random();
                    m.compare = random();
                    m.fence = random() % 4 == 0;
                    s.from->place[m.id] = at;
                    std::byte* local = s.local_after.data() + at;
                    std::byte* remote = s.remote_after.data() + at;
                    if (is_write(m.operation)) {
                        std::memcpy(remote, local, m.length);
                    } else if (m.operation == Operation::Read) {
                        std::memcpy(local, remote, m.length);
                    } else if (is_atomic(m.operation)) {
                        uint64_t word = 0;
                        std::memcpy(&word, remote, 8);
                        std::memcpy(local, &word, 8);
                        if (m.operation == Operation::FetchAdd) {
                            word += m.swap_or_add;
                        } else if (word == m.compare) {
                            word = m.swap_or_add;
                        }
                        std::memcpy(remote, &word, 8);
                    } else {
                        s.inbox.insert(s.inbox.end(), local, local + m.length);
                    }
                    if (!has_response(m.operation) && m.operation != Operation::Write) {
                        s.lengths.push_back(m.length);
                    }
                    pair.post(*s.from, m);
                    at += (m.length + 64) & ~7U;
                }
            }
            ASSERT_TRUE(pair.run(Duration::milliseconds(20'000)));
        }
        for (const Sent& s : sides) {
            ASSERT_EQ(s.from->completions.size(), s.count);
            for (uint32_t i = 0; i < s.count; ++i) {
                EXPECT_EQ(s.from->completions[i].id, i + 1);
                EXPECT_EQ(s.from->completions[i].status, CompletionStatus::Success);
            }
            EXPECT_TRUE(s.from->local == s.local_after);
            EXPECT_TRUE(s.to->remote == s.remote_after);
            EXPECT_TRUE(s.to->inbox == s.inbox);
            EXPECT_EQ(s.to->receive_lengths, s.lengths);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Worlds, PairWorld,
                         testing::Values(World{PeerKind::Standard, 0, 0, 0, true},
                                         World{PeerKind::Vrdma, 0, 0, 0, true},
                                         World{PeerKind::Standard, 0.03, 0, 0, true},
                                         World{PeerKind::Vrdma, 0.03, 0, 0, true},
                                         World{PeerKind::Standard, 0, 0.1, 0.2, true},
                                         World{PeerKind::Vrdma, 0, 0.1, 0.2, true},
                                         World{PeerKind::Standard, 0.05, 0.05, 0.1, true},
                                         World{PeerKind::Vrdma, 0.05, 0.05, 0.1, true},
                                         World{PeerKind::Standard, 0.05, 0.05, 0.1, false},
                                         World{PeerKind::Vrdma, 0.05, 0.05, 0.1, false},
                                         World{PeerKind::Vrdma, 0.2, 0.05, 0.1, true}));

}  // namespace
}  // namespace vrdma::transport
