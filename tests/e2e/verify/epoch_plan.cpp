#include "tests/e2e/verify/epoch_plan.h"

#include <utility>

#include "tests/e2e/verify/random.h"

// Decides the objects of an epoch: how many queue pairs of which kind, which completion queues they
// share, who uses a shared receive queue, how many segments and inline bytes they are created for,
// in which kind of memory each side lives. Small numbers are as likely as large ones, because one
// QP on one CQ is a case of its own.

namespace vrdma::verify {

namespace {

bool decide(Wish wish, Random& random) {
    return wish == Wish::kSometimes ? random.chance(1, 2) : wish == Wish::kAlways;
}

ibv_qp_type choose_type(const Limits& limits, Random& random) {
    std::array<ibv_qp_type, 3> types{};
    std::uint32_t count = 0;
    for (const auto& [wanted, type] :
         {std::pair(limits.rc, IBV_QPT_RC), std::pair(limits.uc, IBV_QPT_UC),
          std::pair(limits.ud, IBV_QPT_UD)}) {
        if (wanted) {
            types[count++] = type;
        }
    }
    return types[random.below(count)];
}

verbs_util::MemoryKind choose_memory(const Limits& limits, Random& random) {
    std::array<verbs_util::MemoryKind, 8> kinds{};
    std::uint32_t count = 0;
    for (std::uint8_t kind = 0; kind < kinds.size(); ++kind) {
        if ((limits.memory_kinds >> kind & 1U) != 0) {
            kinds[count++] = static_cast<verbs_util::MemoryKind>(kind);
        }
    }
    return kinds[random.below(count)];
}

std::uint8_t choose_segments(const Limits& limits, Random& random) {
    return static_cast<std::uint8_t>(random.log_uniform(1, limits.max_segments));
}

QueueSide plan_queue_side(const SidePlan& side, bool shared, ibv_qp_type type, const Limits& limits,
                          Random& random) {
    QueueSide queue;
    queue.shared_receive = shared && type != IBV_QPT_UC;
    queue.signal_all = random.chance(1, 8);
    queue.send_cq = static_cast<std::uint8_t>(random.below(side.completion_queues));
    queue.recv_cq = static_cast<std::uint8_t>(random.below(side.completion_queues));
    queue.send_segments = choose_segments(limits, random);
    queue.recv_segments = choose_segments(limits, random);
    queue.max_inline = random.chance(1, 4) ? 0 : random.below(limits.max_inline + 1);
    return queue;
}

}  // namespace

EpochPlan plan_epoch(const Limits& limits, std::uint64_t seed) {
    Random random(seed);
    EpochPlan plan;
    std::array<bool, 2> shared{};
    for (std::size_t side = 0; side < 2; ++side) {
        plan.sides[side].completion_queues =
            static_cast<std::uint8_t>(random.between(1, kMaxCompletionQueues));
        plan.sides[side].regions = static_cast<std::uint8_t>(random.between(1, kMaxRegions));
        plan.sides[side].shared_segments = choose_segments(limits, random);
        plan.sides[side].events = decide(limits.events, random);
        plan.sides[side].memory = choose_memory(limits, random);
        shared[side] = decide(limits.shared_receive, random);
    }
    plan.queues.resize(random.log_uniform(1, limits.max_queue_pairs));
    for (QueuePlan& queue : plan.queues) {
        queue.type = choose_type(limits, random);
        for (std::size_t side = 0; side < 2; ++side) {
            queue.sides[side] =
                plan_queue_side(plan.sides[side], shared[side], queue.type, limits, random);
        }
    }
    return plan;
}

}  // namespace vrdma::verify
