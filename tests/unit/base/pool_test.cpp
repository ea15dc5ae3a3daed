#include "dataplane/base/pool.h"

#include <gtest/gtest.h>

#include <vector>

namespace vrdma {
namespace {

struct PoolTest : ::testing::Test {
    static constexpr uint32_t kCapacity = 256;
    std::vector<std::byte> memory =
        std::vector<std::byte>(Pool<uint64_t>::bytes_for(kCapacity) + 64);
    std::byte* base =
        reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
    Arena arena{base, Pool<uint64_t>::bytes_for(kCapacity)};
    Pool<uint64_t> pool{arena, kCapacity};
};

TEST_F(PoolTest, allocate_all_then_one_more_is_refused) {
    std::vector<bool> seen(kCapacity);
    for (uint32_t i = 0; i < kCapacity; ++i) {
        const auto index = pool.allocate();
        ASSERT_TRUE(index);
        ASSERT_FALSE(seen[*index]);
        seen[*index] = true;
    }
    EXPECT_FALSE(pool.allocate());
    pool.release(17);
    EXPECT_EQ(pool.allocate(), 17U);
}

TEST_F(PoolTest, freed_entry_is_not_handed_out_again_at_once) {
    const auto first = pool.allocate();
    ASSERT_TRUE(first);
    pool.release(*first);
    for (int i = 0; i < 60; ++i) {
        const auto next = pool.allocate();
        ASSERT_TRUE(next);
        EXPECT_NE(*next, *first);
    }
}

TEST_F(PoolTest, used_counts_live_entries) {
    const auto a = pool.allocate();
    const auto b = pool.allocate();
    ASSERT_TRUE(a && b);
    EXPECT_EQ(pool.used(), 2U);
    pool.release(*a);
    EXPECT_EQ(pool.used(), 1U);
}

}  // namespace
}  // namespace vrdma
