#include "tools/vrdma-perf/layout.h"

#include <gtest/gtest.h>

namespace vrdma::perf {
namespace {

TEST(Layout, slots_start_on_cache_lines) {
    EXPECT_EQ(layout_for(1, 0, 1).stride, 64U);
    EXPECT_EQ(layout_for(65, 0, 1).stride, 128U);
    EXPECT_EQ(layout_for(0, 0, 1).stride, 64U);
}

TEST(Layout, hot_default_has_one_slot_for_each_message_of_the_window) {
    EXPECT_EQ(layout_for(4096, 0, 1).slots, 1U);
    EXPECT_EQ(layout_for(4096, 0, 64).slots, 64U);
}

TEST(Layout, hot_default_stays_within_four_mebibytes) {
    EXPECT_EQ(layout_for(1 << 20, 0, 64).slots, 4U);
    EXPECT_EQ(layout_for(8 << 20, 0, 64).slots, 1U);
}

TEST(Layout, wanted_working_set_is_filled) {
    const Layout layout = layout_for(4096, 256 << 20, 64);
    EXPECT_EQ(layout.slots, 65536U);
    EXPECT_EQ(layout.bytes(), 256U << 20);
}

TEST(Layout, message_larger_than_the_working_set_gets_one_slot) {
    EXPECT_EQ(layout_for(4096, 100, 64).slots, 1U);
}

}  // namespace
}  // namespace vrdma::perf
