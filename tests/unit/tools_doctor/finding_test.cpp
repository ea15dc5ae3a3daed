#include "tools/vrdma-doctor/finding.h"

#include <gtest/gtest.h>

namespace vrdma::doctor {
namespace {

Finding of(Level level) {
    return {.id = "x", .level = level, .text = "", .remedy = ""};
}

TEST(exit_code, worst_level_decides) {
    EXPECT_EQ(exit_code({}), 0);
    EXPECT_EQ(exit_code({of(Level::ok), of(Level::note)}), 0);
    EXPECT_EQ(exit_code({of(Level::warning), of(Level::note)}), 1);
    EXPECT_EQ(exit_code({of(Level::error), of(Level::warning), of(Level::ok)}), 2);
}

}  // namespace
}  // namespace vrdma::doctor
