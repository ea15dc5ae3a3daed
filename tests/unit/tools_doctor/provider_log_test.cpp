#include "tools/vrdma-doctor/provider_log.h"

#include <gtest/gtest.h>

namespace vrdma::doctor {
namespace {

TEST(registration_in, line_gives_kind_and_reason) {
    const Registration found = registration_in(
        "vrdma: level=info verb=reg_mr address=0x1 length=64 kind=adopted reason=\"private "
        "memory\"\n");
    EXPECT_EQ(found.kind, "adopted");
    EXPECT_EQ(found.reason, "private memory");
}

TEST(registration_in, slowest_range_counts_in_any_order) {
    const char* slow = "x kind=process reason=\"a stack\"\n";
    const char* fast = "x kind=shared reason=\"a memfd\"\n";
    for (const std::string& log : {std::string(slow) + fast, std::string(fast) + slow}) {
        EXPECT_EQ(registration_in(log).kind, "process");
        EXPECT_EQ(registration_in(log).reason, "a stack");
    }
}

TEST(registration_in, refusal_gives_the_reason_only) {
    const Registration found = registration_in(
        "vrdma: verb=reg_mr address=0x1 length=64 event=refused reason=\"not permitted\"\n");
    EXPECT_EQ(found.kind, "");
    EXPECT_EQ(found.reason, "not permitted");
}

TEST(registration_in, other_lines_say_nothing) {
    const Registration found = registration_in("libibverbs: Warning: kind=of strange\n\nx");
    EXPECT_EQ(found.kind, "");
    EXPECT_EQ(found.reason, "");
    EXPECT_EQ(registration_in("").kind, "");
}

TEST(last_line, ends_of_lines_are_left_out) {
    EXPECT_EQ(last_line("one\ntwo\n"), "two");
    EXPECT_EQ(last_line("one"), "one");
    EXPECT_EQ(last_line("\n"), "");
}

}  // namespace
}  // namespace vrdma::doctor
