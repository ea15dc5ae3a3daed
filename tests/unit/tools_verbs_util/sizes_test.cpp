#include "tools/verbs_util/sizes.h"

#include <gtest/gtest.h>

namespace vrdma::verbs_util {
namespace {

struct Good {
    const char* text;
    std::uint64_t bytes;
};

class GoodSize : public testing::TestWithParam<Good> {};

TEST_P(GoodSize, is_read) {
    const auto size = parse_size(GetParam().text);
    ASSERT_TRUE(size) << size.error().message();
    EXPECT_EQ(*size, GetParam().bytes);
}

INSTANTIATE_TEST_SUITE_P(Each, GoodSize,
                         testing::Values(Good{"0", 0}, Good{"8", 8}, Good{"4K", 4096},
                                         Good{"4k", 4096}, Good{"64KiB", 65536},
                                         Good{"1M", 1 << 20}, Good{"2GB", 2ULL << 30},
                                         Good{"17B", 17}));

class BadSize : public testing::TestWithParam<const char*> {};

TEST_P(BadSize, is_refused) {
    const auto size = parse_size(GetParam());
    ASSERT_FALSE(size);
    EXPECT_EQ(size.error().kind, ErrorKind::kUsage);
}

INSTANTIATE_TEST_SUITE_P(Each, BadSize,
                         testing::Values("", "K", "4T", "-1", "4KK", "1.5M", " 4", "4 K",
                                         "18446744073709551615K", "99999999999999999999"));

TEST(ParseSizes, list_is_read_in_order) {
    const auto sizes = parse_sizes("8,4K,1M");
    ASSERT_TRUE(sizes);
    EXPECT_EQ(*sizes, (std::vector<std::uint64_t>{8, 4096, 1 << 20}));
}

TEST(ParseSizes, empty_element_is_refused) {
    EXPECT_FALSE(parse_sizes("8,,4K"));
    EXPECT_FALSE(parse_sizes("8,"));
    EXPECT_FALSE(parse_sizes(""));
}

TEST(FormatSize, only_whole_multiples_are_shortened) {
    EXPECT_EQ(format_size(0), "0");
    EXPECT_EQ(format_size(1023), "1023");
    EXPECT_EQ(format_size(4096), "4K");
    EXPECT_EQ(format_size(4097), "4097");
    EXPECT_EQ(format_size(3ULL << 20), "3M");
}

}  // namespace
}  // namespace vrdma::verbs_util
