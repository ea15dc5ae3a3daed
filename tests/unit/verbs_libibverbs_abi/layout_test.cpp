#include "verbs/libibverbs_abi/layout.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace vrdma::verbs_abi {
namespace {

constexpr std::array kLayouts = {Layout::A, Layout::B, Layout::C, Layout::D, Layout::E};

struct Expected {
    Layout layout;
    std::size_t context_size;
    std::size_t context_offset;
    std::size_t ops_size;
    std::size_t ops;
};

constexpr std::array<Expected, kLayoutCount> kExpected = {{
    {Layout::A, 648, 320, 608, 76},
    {Layout::B, 672, 344, 632, 79},
    {Layout::C, 680, 352, 648, 81},
    {Layout::D, 696, 368, 664, 83},
    {Layout::E, 696, 368, 744, 93},
}};

Op op_at(std::size_t index) {
    return static_cast<Op>(index);
}

TEST(Layout, sizes_match_the_releases) {
    for (const Expected& expected : kExpected) {
        const LayoutSizes sizes = sizes_of(expected.layout);
        EXPECT_EQ(sizes.context_size, expected.context_size);
        EXPECT_EQ(sizes.context_offset, expected.context_offset);
        EXPECT_EQ(sizes.ops_size, expected.ops_size);
    }
}

TEST(Layout, embedded_context_is_the_last_member_everywhere) {
    for (const Layout layout : kLayouts) {
        const LayoutSizes sizes = sizes_of(layout);
        EXPECT_EQ(sizes.context_size - sizes.context_offset, 328U);
    }
}

TEST(Layout, operations_are_alphabetical) {
    for (std::size_t i = 1; i < kOpCount; ++i) {
        EXPECT_LT(name_of(op_at(i - 1)), name_of(op_at(i)));
    }
}

TEST(Layout, operations_are_eight_bytes_apart_and_fill_the_table) {
    for (const Expected& expected : kExpected) {
        std::size_t next = 0;
        for (std::size_t i = 0; i < kOpCount; ++i) {
            const auto offset = offset_of(expected.layout, op_at(i));
            if (!offset) {
                continue;
            }
            EXPECT_EQ(*offset, next) << name_of(op_at(i));
            next += 8;
        }
        EXPECT_EQ(next, expected.ops_size);
        EXPECT_EQ(next / 8, expected.ops);
    }
}

TEST(Layout, an_operation_once_added_stays) {
    for (std::size_t i = 0; i < kOpCount; ++i) {
        bool present = false;
        for (const Layout layout : kLayouts) {
            const bool here = offset_of(layout, op_at(i)).has_value();
            EXPECT_TRUE(here || !present) << name_of(op_at(i));
            present = here;
        }
        EXPECT_TRUE(present) << name_of(op_at(i));
    }
}

// Spot checks against the debugger's listings, so that a shifted column cannot pass the rules
// above.
TEST(Layout, known_offsets_stand_where_the_debugger_saw_them) {
    EXPECT_EQ(offset_of(Layout::A, Op::modify_qp), 376U);
    EXPECT_EQ(offset_of(Layout::A, Op::poll_cq), 424U);
    EXPECT_EQ(offset_of(Layout::A, Op::unimport_pd), 600U);
    EXPECT_EQ(offset_of(Layout::B, Op::alloc_dmah), 16U);
    EXPECT_EQ(offset_of(Layout::E, Op::free_context), 368U);
    EXPECT_EQ(offset_of(Layout::E, Op::post_send), 512U);
    EXPECT_EQ(offset_of(Layout::E, Op::query_port_speed), 576U);
    EXPECT_EQ(offset_of(Layout::E, Op::unimport_pd), 736U);
}

TEST(Layout, later_operations_are_absent_before_their_release) {
    EXPECT_FALSE(offset_of(Layout::A, Op::reg_mr_ex));
    EXPECT_TRUE(offset_of(Layout::B, Op::reg_mr_ex));
    EXPECT_FALSE(offset_of(Layout::B, Op::query_port_speed));
    EXPECT_TRUE(offset_of(Layout::C, Op::query_port_speed));
    EXPECT_FALSE(offset_of(Layout::C, Op::alloc_buf));
    EXPECT_TRUE(offset_of(Layout::D, Op::alloc_buf));
    EXPECT_FALSE(offset_of(Layout::D, Op::create_comp_cntr));
    EXPECT_TRUE(offset_of(Layout::E, Op::create_comp_cntr));
}

TEST(Layout, private_abi_59_is_told_apart_by_query_port_speed) {
    EXPECT_EQ(layout_of(Pabi::v59, false), Layout::B);
    EXPECT_EQ(layout_of(Pabi::v59, true), Layout::C);
}

TEST(Layout, query_port_speed_decides_nothing_elsewhere) {
    for (const bool speed : {false, true}) {
        EXPECT_EQ(layout_of(Pabi::v34, speed), Layout::A);
        EXPECT_EQ(layout_of(Pabi::v57, speed), Layout::A);
        EXPECT_EQ(layout_of(Pabi::v64, speed), Layout::D);
        EXPECT_EQ(layout_of(Pabi::v65, speed), Layout::E);
    }
}

TEST(Layout, numbers_and_layouts_agree_in_both_directions) {
    for (const Layout layout : kLayouts) {
        for (const Pabi pabi : pabis_of(layout)) {
            EXPECT_TRUE(layout_of(pabi, false) == layout || layout_of(pabi, true) == layout);
        }
    }
}

}  // namespace
}  // namespace vrdma::verbs_abi
