#include "tools/verbs_util/cpu.h"

#include <gtest/gtest.h>

namespace vrdma::verbs_util {
namespace {

TEST(ParseCpus, list_is_read_in_order) {
    const auto cpus = parse_cpus("3,0,12");
    ASSERT_TRUE(cpus);
    EXPECT_EQ(*cpus, (std::vector<int>{3, 0, 12}));
}

class BadCpuList : public testing::TestWithParam<const char*> {};

TEST_P(BadCpuList, is_refused) {
    EXPECT_FALSE(parse_cpus(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Each, BadCpuList,
                         testing::Values("", "a", "1,", ",1", "1,,2", "1-2", "-1", "1 ", "100000"));

TEST(PinThread, allowed_cpu_is_accepted_and_can_be_undone) {
    const auto cpus = allowed_cpus();
    ASSERT_FALSE(cpus.empty());
    ASSERT_TRUE(pin_this_thread(cpus.back()));
    EXPECT_EQ(allowed_cpus(), std::vector<int>{cpus.back()});
    ASSERT_TRUE(unpin_this_thread(cpus));
    EXPECT_EQ(allowed_cpus(), cpus);
}

TEST(PinThread, absent_cpu_is_refused_with_the_allowed_ones) {
    const auto pinned = pin_this_thread(CPU_SETSIZE - 1);
    ASSERT_FALSE(pinned);
    EXPECT_EQ(pinned.error().kind, ErrorKind::kUsage);
    EXPECT_NE(pinned.error().remedy.find("allowed here"), std::string::npos);
}

}  // namespace
}  // namespace vrdma::verbs_util
