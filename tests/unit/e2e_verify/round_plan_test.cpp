#include "tests/e2e/verify/round_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>

namespace vrdma::verify {
namespace {

constexpr std::uint64_t kSeeds = 400;

Limits everything() {
    Limits limits;
    limits.rc = limits.uc = limits.ud = true;
    limits.max_inline = 128;
    limits.mtu_bytes = 2048;
    return limits;
}

/// Calls `look` with many different plans.
template <typename Look>
void each_plan(const Limits& limits, Look look) {
    RoundPlan plan;
    for (std::uint64_t seed = 0; seed < kSeeds && !testing::Test::HasFatalFailure(); ++seed) {
        const EpochPlan epoch = plan_epoch(limits, seed);
        plan_round(epoch, limits, seed * 7 + 1, kMaxRoundOperations, plan);
        look(epoch, plan);
    }
}

TEST(RoundPlan, same_seed_gives_the_same_operations) {
    const EpochPlan epoch = plan_epoch(everything(), 1);
    RoundPlan a;
    RoundPlan b;
    plan_round(epoch, everything(), 2, kMaxRoundOperations, a);
    plan_round(epoch, everything(), 2, kMaxRoundOperations, b);
    ASSERT_EQ(a.operations.size(), b.operations.size());
    for (std::size_t i = 0; i < a.operations.size(); ++i) {
        EXPECT_EQ(describe(a.operations[i]), describe(b.operations[i]));
        EXPECT_EQ(a.operations[i].content, b.operations[i].content);
        EXPECT_EQ(a.operations[i].remote_offset, b.operations[i].remote_offset);
    }
}

TEST(RoundPlan, has_at_least_one_and_at_most_the_asked_operations) {
    RoundPlan plan;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const EpochPlan epoch = plan_epoch(everything(), seed);
        plan_round(epoch, everything(), seed, 3, plan);
        ASSERT_GE(plan.operations.size(), 1U);
        ASSERT_LE(plan.operations.size(), 3U);
    }
}

using Ranges = std::array<std::vector<Piece>, 2>;

void add(Ranges& ranges, unsigned side, const RoundPlan& plan, const PieceRange& pieces) {
    for (std::uint32_t i = 0; i < pieces.count; ++i) {
        ranges[side].push_back(plan.pieces[pieces.first + i]);
    }
}

/// Every range that belongs to one operation or receive alone.
Ranges own_ranges(const RoundPlan& plan) {
    Ranges ranges;
    for (const Operation& operation : plan.operations) {
        const unsigned side = operation.initiator;
        if (operation.sends_from == kNone) {
            add(ranges, side, plan, operation.local);
        }
        const bool addressed = !is_send(operation.opcode) && !operation.on_counter &&
                               operation.reads_from == kNone && !operation.overwritten;
        if (addressed) {
            ranges[1 - side].push_back({operation.remote_offset, operation.size});
        }
    }
    for (const Receive& receive : plan.receives) {
        add(ranges, receive.side, plan, receive.pieces);
    }
    return ranges;
}

TEST(RoundPlan, ranges_of_a_side_do_not_overlap_and_lie_in_its_window) {
    each_plan(everything(), [](const EpochPlan&, const RoundPlan& plan) {
        Ranges ranges = own_ranges(plan);
        for (unsigned side = 0; side < 2; ++side) {
            auto& list = ranges[side];
            std::erase_if(list, [](const Piece& piece) { return piece.length == 0; });
            std::sort(list.begin(), list.end(),
                      [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
            std::uint32_t behind = plan.windows[side].begin;
            for (const Piece& piece : list) {
                ASSERT_GE(piece.offset, behind);
                behind = piece.offset + piece.length;
            }
            ASSERT_LE(behind, plan.windows[side].end);
            ASSERT_GE(plan.windows[side].begin, kFirstWindow);
            ASSERT_LE(plan.windows[side].end, kArenaBytes);
        }
    });
}

TEST(RoundPlan, pieces_of_an_operation_add_up_to_its_size) {
    each_plan(everything(), [](const EpochPlan& epoch, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            std::uint32_t total = 0;
            for (std::uint32_t i = 0; i < operation.local.count; ++i) {
                const Piece& piece = plan.pieces[operation.local.first + i];
                ASSERT_GT(piece.length, 0U);
                total += piece.length;
            }
            ASSERT_EQ(total, operation.size);
            const auto& queue = epoch.queues[operation.queue];
            ASSERT_LE(operation.local.count, queue.sides[operation.initiator].send_segments);
        }
    });
}

TEST(RoundPlan, receives_hold_their_message) {
    each_plan(everything(), [](const EpochPlan& epoch, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            const auto& queue = epoch.queues[operation.queue];
            const auto& target = queue.sides[1U - operation.initiator];
            if (!consumes_receive(operation.opcode)) {
                ASSERT_EQ(operation.receive, kNone);
                continue;
            }
            ASSERT_EQ(operation.receive == kNone, target.shared_receive);
            if (operation.receive == kNone) {
                continue;
            }
            const Receive& receive = plan.receives[operation.receive];
            std::uint32_t room = 0;
            for (std::uint32_t i = 0; i < receive.pieces.count; ++i) {
                room += plan.pieces[receive.pieces.first + i].length;
            }
            const std::uint32_t grh = queue.type == IBV_QPT_UD ? kGrhBytes : 0;
            ASSERT_GE(room, is_send(operation.opcode) ? operation.size + grh : 0U);
            ASSERT_EQ(receive.side, 1U - operation.initiator);
            ASSERT_EQ(receive.queue, operation.queue);
            ASSERT_LE(receive.pieces.count, target.recv_segments);
        }
    });
}

TEST(RoundPlan, shared_receives_are_as_many_as_messages_and_hold_any) {
    Limits limits = everything();
    limits.shared_receive = Wish::kAlways;
    each_plan(limits, [](const EpochPlan& epoch, const RoundPlan& plan) {
        for (unsigned side = 0; side < 2; ++side) {
            std::uint32_t messages = 0;
            std::uint32_t largest = 0;
            for (const Operation& operation : plan.operations) {
                if (operation.initiator != side && consumes_receive(operation.opcode) &&
                    epoch.queues[operation.queue].sides[side].shared_receive) {
                    ++messages;
                    largest =
                        is_send(operation.opcode) ? std::max(largest, operation.size) : largest;
                }
            }
            std::uint32_t buffers = 0;
            for (const Receive& receive : plan.receives) {
                if (!receive.shared || receive.side != side) {
                    continue;
                }
                ++buffers;
                std::uint32_t room = 0;
                for (std::uint32_t i = 0; i < receive.pieces.count; ++i) {
                    room += plan.pieces[receive.pieces.first + i].length;
                }
                ASSERT_GE(room, largest + kGrhBytes);
            }
            ASSERT_EQ(buffers, messages);
        }
    });
}

TEST(RoundPlan, operations_fit_their_transport) {
    each_plan(everything(), [](const EpochPlan& epoch, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            const auto type = epoch.queues[operation.queue].type;
            if (type == IBV_QPT_UD) {
                ASSERT_TRUE(is_send(operation.opcode));
                ASSERT_LE(operation.size, 2048U);
            } else if (type == IBV_QPT_UC) {
                ASSERT_TRUE(is_send(operation.opcode) || is_write(operation.opcode));
            }
            ASSERT_FALSE(operation.fence && type != IBV_QPT_RC);
        }
    });
}

TEST(RoundPlan, last_operation_on_each_queue_is_signaled_and_tells_over_uc) {
    each_plan(everything(), [](const EpochPlan& epoch, const RoundPlan& plan) {
        std::map<std::pair<std::uint32_t, unsigned>, const Operation*> last;
        for (const Operation& operation : plan.operations) {
            last[{operation.queue, operation.initiator}] = &operation;
        }
        for (const auto& [key, operation] : last) {
            ASSERT_TRUE(operation->signaled);
            if (epoch.queues[operation->queue].type == IBV_QPT_UC) {
                ASSERT_TRUE(consumes_receive(operation->opcode));
            }
        }
    });
}

TEST(RoundPlan, lists_stay_on_one_queue_and_side) {
    each_plan(everything(), [](const EpochPlan&, const RoundPlan& plan) {
        for (std::size_t i = 0; i < plan.operations.size(); ++i) {
            if (plan.operations[i].chained) {
                ASSERT_LT(i + 1, plan.operations.size());
                ASSERT_EQ(plan.operations[i].queue, plan.operations[i + 1].queue);
                ASSERT_EQ(plan.operations[i].initiator, plan.operations[i + 1].initiator);
            }
        }
    });
}

TEST(RoundPlan, what_depends_on_a_read_is_fenced) {
    std::uint64_t found = 0;
    each_plan(everything(), [&found](const EpochPlan&, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            if (operation.sends_from == kNone) {
                continue;
            }
            ++found;
            const Operation& read = plan.operations[operation.sends_from];
            ASSERT_TRUE(operation.fence);
            ASSERT_FALSE(operation.inline_data);
            ASSERT_EQ(read.opcode, Opcode::kRead);
            ASSERT_EQ(read.queue, operation.queue);
            ASSERT_EQ(read.initiator, operation.initiator);
            ASSERT_EQ(read.content, operation.content);
        }
    });
    EXPECT_GT(found, 0U);
}

TEST(RoundPlan, every_special_case_occurs) {
    std::map<std::string, int> seen;
    each_plan(everything(), [&seen](const EpochPlan&, const RoundPlan& plan) {
        seen["late"] += plan.late_receives ? 1 : 0;
        for (const Operation& operation : plan.operations) {
            seen[opcode_name(operation.opcode)] += 1;
            seen["inline"] += operation.inline_data ? 1 : 0;
            seen["unsignaled"] += operation.signaled ? 0 : 1;
            seen["reads what was written"] += operation.reads_from != kNone ? 1 : 0;
            seen["overwritten"] += operation.overwritten ? 1 : 0;
            seen["counter"] += operation.on_counter ? 1 : 0;
            seen["empty"] += operation.size == 0 ? 1 : 0;
            seen["large"] += operation.size > (1U << 20) ? 1 : 0;
            seen["many segments"] += operation.local.count > 8 ? 1 : 0;
        }
    });
    EXPECT_EQ(seen.size(), kOpcodes + 9);
    for (const auto& [name, times] : seen) {
        EXPECT_GT(times, 0) << name;
    }
}

TEST(RoundPlan, size_limit_is_kept) {
    Limits limits = everything();
    limits.max_size = 100;
    each_plan(limits, [](const EpochPlan&, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            ASSERT_LE(operation.size, 100U);
        }
    });
}

TEST(RoundPlan, atomics_can_be_left_out) {
    Limits limits = everything();
    limits.atomics = false;
    each_plan(limits, [](const EpochPlan&, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            ASSERT_FALSE(is_atomic(operation.opcode));
        }
    });
}

TEST(RoundPlan, atomics_address_whole_words) {
    each_plan(everything(), [](const EpochPlan&, const RoundPlan& plan) {
        for (const Operation& operation : plan.operations) {
            if (is_atomic(operation.opcode)) {
                ASSERT_EQ(operation.remote_offset % 8, 0U);
                ASSERT_EQ(operation.size, 8U);
                ASSERT_EQ(operation.local.count, 1U);
            }
        }
    });
}

}  // namespace
}  // namespace vrdma::verify
