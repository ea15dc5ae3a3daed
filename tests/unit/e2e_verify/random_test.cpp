#include "tests/e2e/verify/random.h"

#include <gtest/gtest.h>

#include <set>

namespace vrdma::verify {
namespace {

TEST(Random, same_seed_gives_the_same_sequence) {
    Random a(5);
    Random b(5);
    Random c(6);
    bool different = false;
    for (int i = 0; i < 100; ++i) {
        const auto value = a.next();
        EXPECT_EQ(value, b.next());
        different = different || value != c.next();
    }
    EXPECT_TRUE(different);
}

TEST(Random, bounds_are_reached_and_kept) {
    Random random(1);
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 1000; ++i) {
        const auto value = random.between(3, 7);
        ASSERT_GE(value, 3U);
        ASSERT_LE(value, 7U);
        seen.insert(value);
    }
    EXPECT_EQ(seen.size(), 5U);
}

TEST(Random, log_uniform_keeps_bounds_that_are_no_powers_of_two) {
    Random random(1);
    for (int i = 0; i < 10'000; ++i) {
        const auto value = random.log_uniform(5, 1000);
        ASSERT_GE(value, 5U);
        ASSERT_LE(value, 1000U);
    }
    EXPECT_EQ(random.log_uniform(9, 9), 9U);
}

TEST(Random, log_uniform_visits_every_magnitude) {
    Random random(1);
    int small = 0;
    for (int i = 0; i < 10'000; ++i) {
        small += random.log_uniform(1, 65535) < 256 ? 1 : 0;
    }
    EXPECT_NEAR(small, 5000, 300);
}

TEST(Derive, different_parts_have_different_seeds) {
    EXPECT_EQ(derive(1, 2), derive(1, 2));
    EXPECT_NE(derive(1, 2), derive(1, 3));
    EXPECT_NE(derive(1, 2), derive(2, 2));
    EXPECT_NE(derive(1, 2), derive(2, 1));
}

}  // namespace
}  // namespace vrdma::verify
