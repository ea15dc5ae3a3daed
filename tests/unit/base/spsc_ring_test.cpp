#include "dataplane/base/spsc_ring.h"

#include <gtest/gtest.h>

#include <thread>

namespace vrdma {
namespace {

TEST(SpscRing, full_ring_refuses_and_keeps_its_content) {
    SpscRing<int> ring(4);
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(ring.push(i));
    }
    EXPECT_FALSE(ring.push(4));
    int value = -1;
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(ring.pop(value));
        EXPECT_EQ(value, i);
    }
    EXPECT_FALSE(ring.pop(value));
}

TEST(SpscRing, two_threads_lose_and_reorder_nothing) {
    SpscRing<uint64_t> ring(64);
    constexpr uint64_t kCount = 200000;
    std::thread producer([&] {
        for (uint64_t i = 0; i < kCount;) {
            if (ring.push(i)) {
                ++i;
            } else {
                std::this_thread::yield();
            }
        }
    });
    uint64_t value = 0;
    for (uint64_t expected = 0; expected < kCount;) {
        if (ring.pop(value)) {
            ASSERT_EQ(value, expected);
            ++expected;
        } else {
            std::this_thread::yield();
        }
    }
    producer.join();
    EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace vrdma
