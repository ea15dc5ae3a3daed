#include "dataplane/control/target.h"

#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

TEST(Target, path_and_query_are_split) {
    const auto target = parse_target("/v1/qps?vnic=a&limit=5&flag");
    ASSERT_TRUE(target);
    EXPECT_EQ(target->path, (std::vector<std::string>{"v1", "qps"}));
    EXPECT_EQ(target->find("vnic"), "a");
    EXPECT_EQ(target->find("limit"), "5");
    EXPECT_EQ(target->find("flag"), "");
    EXPECT_EQ(target->find("other"), std::nullopt);
}

TEST(Target, query_may_be_empty) {
    const auto target = parse_target("/metrics?");
    ASSERT_TRUE(target);
    EXPECT_TRUE(target->query.empty());
}

class MalformedTarget : public testing::TestWithParam<const char*> {};

TEST_P(MalformedTarget, parse_is_refused) {
    EXPECT_FALSE(parse_target(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Texts, MalformedTarget,
                         testing::Values("", "*", "v1", "http://h/v1", "/v1/", "//v1", "/v1//qps",
                                         "/v1/%61", "/v1#x", "/v1?=a", "/v1?a=1&a=2", "/v1?&",
                                         "/v1?vnic=%61"));

}  // namespace
}  // namespace vrdma::control
