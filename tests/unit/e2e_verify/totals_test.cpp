#include "tests/e2e/verify/totals.h"

#include <gtest/gtest.h>

namespace vrdma::verify {
namespace {

TEST(Reconcile, counts_that_agree_pass) {
    Totals totals;
    totals.operations = 5;
    totals.posted[0] = totals.received[0] = {5, 100};
    Options options;
    options.operations = 5;
    EXPECT_TRUE(reconcile(totals, options));
}

TEST(Reconcile, too_few_operations_are_found) {
    Totals totals;
    totals.operations = 4;
    Options options;
    options.operations = 5;
    EXPECT_FALSE(reconcile(totals, options));
}

TEST(Reconcile, message_or_byte_that_nobody_received_is_found) {
    Options options;
    options.operations = 5;
    Totals totals;
    totals.operations = 5;
    totals.posted[0] = {5, 100};
    totals.received[0] = {4, 100};
    EXPECT_FALSE(reconcile(totals, options));
    totals.received[0] = {5, 99};
    const auto right = reconcile(totals, options);
    ASSERT_FALSE(right);
    EXPECT_NE(right.error().what.find("SEND"), std::string::npos);
}

TEST(AddUp, both_sides_of_all_pairs_count) {
    auto control = ControlBlock::create();
    ASSERT_TRUE(control);
    (*control)->pairs[0].sides[0].posted[2] = {1, 10};
    (*control)->pairs[1].sides[1].posted[2] = {2, 20};
    (*control)->pairs[2].sides[0].posted[2] = {4, 40};
    const Totals totals = add_up(**control, 2);
    EXPECT_EQ(totals.posted[2].operations, 3U);
    EXPECT_EQ(totals.operations, 3U);
    EXPECT_EQ(totals.bytes, 30U);
}

}  // namespace
}  // namespace vrdma::verify
