// The loss ladder stays inside its bands, and goodput under loss above what was promised.
#include <gtest/gtest.h>

#include <ostream>

#include "tests/sim/ladder.h"

namespace vrdma::sim {

void PrintTo(const Step& step, std::ostream* to) {
    *to << step.name();
}

namespace {

constexpr uint32_t kSeeds = 100;

class LadderTest : public testing::TestWithParam<Step> {};

// vrdma-sim --ladder --write-bands tests/sim/ladder_bands.txt makes new bands.
TEST_P(LadderTest, completion_times_stay_inside_bands) {
    EXPECT_EQ(compare(climb(GetParam(), kSeeds), read_bands(VRDMA_LADDER_BANDS)), "");
}

INSTANTIATE_TEST_SUITE_P(Ladder, LadderTest, testing::ValuesIn(ladder_steps()),
                         [](const testing::TestParamInfo<Step>& parameters) {
                             std::string name = parameters.param.name();
                             for (char& c : name) {
                                 c = c == ' ' || c == '.' || c == '-' ? '_' : c;
                             }
                             return name;
                         });

// Shares of the lossless rate below which the transport would be no better than others.
TEST(GoodputTest, loss_and_reordering_leave_what_is_promised) {
    const double lossless = goodput({"lossless", true, 0, 0});
    EXPECT_GE(goodput({"loss 1 %", true, 0.01, 0}), 0.90 * lossless);
    EXPECT_GE(goodput({"loss 2 %", true, 0.02, 0}), 0.85 * lossless);
    EXPECT_GE(goodput({"reordered by 64", true, 0, 64}), 0.90 * lossless);
}

}  // namespace
}  // namespace vrdma::sim
