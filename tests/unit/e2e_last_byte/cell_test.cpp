#include "tests/e2e/last_byte_poll/cell.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace vrdma::last_byte {
namespace {

TEST(Cells, operations_add_up_whatever_their_number) {
    for (const std::uint64_t operations : {1ULL, 99ULL, 1'000'000ULL, 123'456'789ULL}) {
        const auto cells = make_cells(operations, 100);
        const auto total = std::accumulate(
            cells.begin(), cells.end(), std::uint64_t{0},
            [](std::uint64_t sum, const Cell& cell) { return sum + cell.operations; });
        EXPECT_EQ(total, operations);
    }
}

TEST(Cells, every_path_has_every_size_and_offset) {
    const auto cells = make_cells(1'000'000, 100);
    EXPECT_EQ(cells.size(), 3U * 8 * 3 + 2U * 3 * 3);
    for (const Cell& cell : cells) {
        EXPECT_GT(cell.operations, 0U);
    }
}

TEST(Cells, device_without_inline_has_no_inline_cells) {
    const auto cells = make_cells(1000, 0);
    EXPECT_TRUE(std::none_of(cells.begin(), cells.end(),
                             [](const Cell& cell) { return is_inline(cell.path); }));
}

}  // namespace
}  // namespace vrdma::last_byte
