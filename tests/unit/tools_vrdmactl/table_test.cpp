#include "tools/vrdmactl/table.h"

#include <gtest/gtest.h>

namespace vrdma::vrdmactl {
namespace {

TEST(Table, columns_are_aligned_and_lines_have_no_trailing_blanks) {
    Table table({{"NAME"}, {"QPS", Table::Align::kRight}, {"NOTE"}});
    table.add({"a", "5", "x"});
    table.add({"longer", "12345", ""});
    EXPECT_EQ(table.text(),
              "NAME      QPS  NOTE\n"
              "a           5  x\n"
              "longer  12345  -\n");
}

TEST(Table, row_that_is_short_is_filled) {
    Table table({{"A"}, {"B"}});
    table.add({"1"});
    EXPECT_EQ(table.text(), "A  B\n1  -\n");
}

TEST(Table, without_rows_shows_its_headings) {
    const Table table({{"A"}});
    EXPECT_TRUE(table.empty());
    EXPECT_EQ(table.text(), "A\n");
}

TEST(Table, control_characters_are_not_printed) {
    Table table({{"A"}});
    table.add({"\x1b[31mred"});
    EXPECT_EQ(table.text(), "A\n?[31mred\n");
}

TEST(Fields, values_are_aligned) {
    Fields fields;
    fields.add("A", "1");
    fields.add("Longer", "");
    EXPECT_EQ(fields.text(), "  A       1\n  Longer  -\n");
}

}  // namespace
}  // namespace vrdma::vrdmactl
