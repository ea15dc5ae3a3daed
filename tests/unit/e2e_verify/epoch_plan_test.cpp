#include "tests/e2e/verify/epoch_plan.h"

#include <gtest/gtest.h>

namespace vrdma::verify {
namespace {

constexpr std::uint64_t kSeeds = 300;

Limits everything() {
    Limits limits;
    limits.rc = limits.uc = limits.ud = true;
    limits.max_inline = 100;
    return limits;
}

TEST(EpochPlan, stays_within_the_limits) {
    Limits limits = everything();
    limits.max_queue_pairs = 5;
    limits.max_segments = 3;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const auto plan = plan_epoch(limits, seed);
        ASSERT_GE(plan.queues.size(), 1U);
        ASSERT_LE(plan.queues.size(), 5U);
        for (const auto& queue : plan.queues) {
            for (std::size_t side = 0; side < 2; ++side) {
                ASSERT_LT(queue.sides[side].send_cq, plan.sides[side].completion_queues);
                ASSERT_LT(queue.sides[side].recv_cq, plan.sides[side].completion_queues);
                ASSERT_LE(queue.sides[side].send_segments, 3);
                ASSERT_LE(queue.sides[side].recv_segments, 3);
                ASSERT_LE(queue.sides[side].max_inline, 100U);
            }
        }
    }
}

TEST(EpochPlan, shared_receive_queue_is_never_planned_for_uc) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        for (const auto& queue : plan_epoch(everything(), seed).queues) {
            if (queue.type == IBV_QPT_UC) {
                ASSERT_FALSE(queue.sides[0].shared_receive || queue.sides[1].shared_receive);
            }
        }
    }
}

TEST(EpochPlan, wishes_are_followed) {
    Limits limits = everything();
    limits.rc = limits.uc = false;
    limits.shared_receive = Wish::kAlways;
    limits.events = Wish::kNever;
    limits.memory_kinds = 1U << static_cast<unsigned>(verbs_util::MemoryKind::kMemfd);
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const auto plan = plan_epoch(limits, seed);
        for (std::size_t side = 0; side < 2; ++side) {
            ASSERT_FALSE(plan.sides[side].events);
            ASSERT_EQ(plan.sides[side].memory, verbs_util::MemoryKind::kMemfd);
            ASSERT_EQ(plan.queues[0].type, IBV_QPT_UD);
            ASSERT_TRUE(plan.queues[0].sides[side].shared_receive);
        }
    }
}

TEST(EpochPlan, same_seed_gives_the_same_plan) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const auto a = plan_epoch(everything(), seed);
        const auto b = plan_epoch(everything(), seed);
        ASSERT_EQ(a.queues.size(), b.queues.size());
        for (std::size_t i = 0; i < a.queues.size(); ++i) {
            ASSERT_EQ(a.queues[i].type, b.queues[i].type);
            ASSERT_EQ(a.queues[i].sides[1].max_inline, b.queues[i].sides[1].max_inline);
        }
    }
}

}  // namespace
}  // namespace vrdma::verify
