#include "dataplane/transport/window_bits.h"

#include <gtest/gtest.h>

#include <vector>

namespace vrdma::transport {
namespace {

TEST(WindowBits, range_across_the_end_of_the_ring_sets_exactly_itself) {
    WindowBits bits;
    const Sequence from = 1000 * kWindowPackets - 70;
    bits.set_range(from, from + 140);
    EXPECT_EQ(bits.count(), 140U);
    EXPECT_FALSE(bits.test(from - 1));
    EXPECT_TRUE(bits.test(from));
    EXPECT_TRUE(bits.test(from + 139));
    EXPECT_FALSE(bits.test(from + 140));
}

TEST(WindowBits, whole_window_from_any_place_is_every_bit) {
    for (Sequence from : {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{200}}) {
        WindowBits bits;
        bits.set_range(from, from + kWindowPackets);
        EXPECT_EQ(bits.count(), kWindowPackets);
        bits.clear_range(from, from + kWindowPackets);
        EXPECT_TRUE(bits.empty());
    }
}

TEST(WindowBits, first_set_finds_the_lowest_not_before_from) {
    WindowBits bits;
    bits.set(300);
    bits.set(310);
    EXPECT_EQ(bits.first_set(290, 400), 300U);
    EXPECT_EQ(bits.first_set(301, 400), 310U);
    EXPECT_EQ(bits.first_set(311, 400), 400U);
    EXPECT_EQ(bits.first_set(301, 305), 305U);
}

TEST(WindowBits, first_clear_ends_a_run) {
    WindowBits bits;
    bits.set_range(250, 330);
    EXPECT_EQ(bits.first_clear(250, 400), 330U);
    EXPECT_EQ(bits.first_clear(250, 300), 300U);
}

TEST(WindowBits, move_range_moves_only_what_was_set_inside) {
    WindowBits from;
    WindowBits to;
    from.set_range(100, 110);
    from.move_range(105, 120, to);
    EXPECT_EQ(from.count(), 5U);
    EXPECT_EQ(to.count(), 5U);
    EXPECT_TRUE(to.test(105));
    EXPECT_FALSE(to.test(110));
}

TEST(WindowBits, each_set_ascends) {
    WindowBits bits;
    const Sequence base = 5 * kWindowPackets + 250;
    bits.set(base);
    bits.set(base + 9);
    bits.set(base + 100);
    std::vector<Sequence> seen;
    bits.each_set(base, base + 200, [&](Sequence s) { seen.push_back(s); });
    EXPECT_EQ(seen, (std::vector<Sequence>{base, base + 9, base + 100}));
}

}  // namespace
}  // namespace vrdma::transport
