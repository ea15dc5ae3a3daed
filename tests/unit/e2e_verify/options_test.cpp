#include "tests/e2e/verify/options.h"

#include <gtest/gtest.h>

#include "tests/e2e/verify/side_run.h"
#include "tools/verbs_util/memory.h"

namespace vrdma::verify {
namespace {

template <typename... Args>
std::variant<Options, int> parse(Args... args) {
    const char* argv[] = {"vrdma-verify", args...};
    return parse_options(static_cast<int>(std::size(argv)), argv);
}

TEST(Options, values_arrive) {
    const auto parsed = parse("-p", "3", "-n", "1000", "-s", "42", "-t", "rc,ud", "--max-size",
                              "64K", "--srq", "on", "--events", "off", "--inline", "off",
                              "--no-atomics", "--memory", "memfd", "--threads", "--rounds", "5");
    ASSERT_TRUE(std::holds_alternative<Options>(parsed));
    const auto& options = std::get<Options>(parsed);
    EXPECT_EQ(options.pairs, 3U);
    EXPECT_EQ(options.operations, 1000U);
    EXPECT_EQ(options.seed, 42U);
    EXPECT_TRUE(options.limits.rc && options.limits.ud && !options.limits.uc);
    EXPECT_EQ(options.limits.max_size, 65536U);
    EXPECT_EQ(options.limits.shared_receive, Wish::kAlways);
    EXPECT_EQ(options.limits.events, Wish::kNever);
    EXPECT_EQ(options.limits.max_inline, 0U);
    EXPECT_FALSE(options.limits.atomics);
    EXPECT_EQ(options.limits.memory_kinds,
              1U << static_cast<unsigned>(verbs_util::MemoryKind::kMemfd));
    EXPECT_TRUE(options.threads);
    EXPECT_EQ(options.rounds_per_epoch, 5U);
}

TEST(Options, usage_errors_have_exit_code_one) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(std::get<int>(parse("-p", "0")), 1);
    EXPECT_EQ(std::get<int>(parse("-p", "65")), 1);
    EXPECT_EQ(std::get<int>(parse("-t", "xrc")), 1);
    EXPECT_EQ(std::get<int>(parse("--max-size", "5M")), 1);
    EXPECT_EQ(std::get<int>(parse("--srq", "perhaps")), 1);
    EXPECT_EQ(std::get<int>(parse("--events", "perhaps")), 1);
    EXPECT_EQ(std::get<int>(parse("--inline", "perhaps")), 1);
    EXPECT_EQ(std::get<int>(parse("--memory", "malloc,gpu")), 1);
    EXPECT_EQ(std::get<int>(parse("--qps", "33")), 1);
    EXPECT_EQ(std::get<int>(parse("--sge", "0")), 1);
    EXPECT_EQ(std::get<int>(parse("--rounds", "0")), 1);
    EXPECT_EQ(std::get<int>(parse("-p", "4", "-n", "3")), 1);
    EXPECT_EQ(std::get<int>(parse("--unknown")), 1);
    (void)testing::internal::GetCapturedStderr();
}

TEST(ShareOf, shares_add_up_to_the_whole) {
    Options options;
    options.pairs = 3;
    options.operations = 11;
    EXPECT_EQ(share_of(options, 0), 4U);
    EXPECT_EQ(share_of(options, 1), 4U);
    EXPECT_EQ(share_of(options, 2), 3U);
}

}  // namespace
}  // namespace vrdma::verify
