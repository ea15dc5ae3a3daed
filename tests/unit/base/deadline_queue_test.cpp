#include "dataplane/base/deadline_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace vrdma {
namespace {

TEST(DeadlineQueue, pop_due_before_deadline_returns_nothing) {
    DeadlineQueue queue(4);
    queue.set(2, Instant{100});
    uint32_t index = 0;
    EXPECT_FALSE(queue.pop_due(Instant{99}, index));
    EXPECT_TRUE(queue.pop_due(Instant{100}, index));
    EXPECT_EQ(index, 2U);
    EXPECT_EQ(queue.next(), Instant::never());
}

TEST(DeadlineQueue, random_operations_agree_with_a_map) {
    constexpr uint32_t kCount = 64;
    DeadlineQueue queue(kCount);
    std::map<uint32_t, int64_t> model;
    std::mt19937 random(7);
    for (int step = 0; step < 20000; ++step) {
        const uint32_t index = random() % kCount;
        if (random() % 3 == 0) {
            queue.clear(index);
            model.erase(index);
        } else {
            const int64_t deadline = static_cast<int64_t>(random() % 1000);
            queue.set(index, Instant{deadline});
            model[index] = deadline;
        }
        int64_t next = INT64_MAX;
        for (const auto& [key, deadline] : model) {
            next = std::min(next, deadline);
            ASSERT_TRUE(queue.contains(key));
        }
        ASSERT_EQ(queue.next().ns, next);
    }
    int64_t last = 0;
    uint32_t index = 0;
    while (queue.pop_due(Instant{1000}, index)) {
        ASSERT_GE(model.at(index), last);
        last = model.at(index);
        model.erase(index);
    }
    EXPECT_TRUE(model.empty());
}

}  // namespace
}  // namespace vrdma
