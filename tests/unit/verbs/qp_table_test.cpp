#include "verbs/qp_table.h"

#include <gtest/gtest.h>

namespace vrdma::verbs {
namespace {

Qp* fake(std::uintptr_t value) {
    return reinterpret_cast<Qp*>(value << 8U);
}

TEST(QpTable, finds_what_was_inserted) {
    QpTable table;
    ASSERT_TRUE(table.create(100));
    for (std::uint32_t qpn = 0; qpn < 100; ++qpn) {
        ASSERT_TRUE(table.insert(qpn, fake(qpn + 1)));
    }
    for (std::uint32_t qpn = 0; qpn < 100; ++qpn) {
        EXPECT_EQ(table.find(qpn), fake(qpn + 1));
    }
    EXPECT_EQ(table.find(100), nullptr);
}

TEST(QpTable, highest_number_is_no_special_key) {
    QpTable table;
    ASSERT_TRUE(table.create(4));
    ASSERT_TRUE(table.insert(0xffffff, fake(1)));
    EXPECT_EQ(table.find(0xffffff), fake(1));
}

TEST(QpTable, removed_numbers_are_not_found_and_do_not_hide_others) {
    QpTable table;
    ASSERT_TRUE(table.create(32));
    for (std::uint32_t qpn = 0; qpn < 64; ++qpn) {
        ASSERT_TRUE(table.insert(qpn * 64, fake(qpn + 1)));
    }
    for (std::uint32_t qpn = 0; qpn < 64; qpn += 2) {
        table.remove(qpn * 64);
    }
    for (std::uint32_t qpn = 0; qpn < 64; ++qpn) {
        EXPECT_EQ(table.find(qpn * 64), qpn % 2 == 0 ? nullptr : fake(qpn + 1));
    }
}

TEST(QpTable, full_table_refuses) {
    QpTable table;
    ASSERT_TRUE(table.create(32));
    for (std::uint32_t qpn = 0; qpn < 64; ++qpn) {
        ASSERT_TRUE(table.insert(qpn, fake(1)));
    }
    EXPECT_FALSE(table.insert(64, fake(1)));
    EXPECT_EQ(table.find(64), nullptr);
    table.remove(3);
    EXPECT_TRUE(table.insert(64, fake(2)));
    EXPECT_EQ(table.find(64), fake(2));
}

TEST(QpTable, endless_churn_keeps_working) {
    QpTable table;
    ASSERT_TRUE(table.create(32));
    for (std::uint32_t qpn = 0; qpn < 10000; ++qpn) {
        ASSERT_TRUE(table.insert(qpn, fake(qpn + 1)));
        ASSERT_EQ(table.find(qpn), fake(qpn + 1));
        table.remove(qpn);
    }
}

}  // namespace
}  // namespace vrdma::verbs
