#include "tools/vrdmactl/answer.h"

#include <gtest/gtest.h>

namespace vrdma::vrdmactl {
namespace {

TEST(Answer, member_that_is_missing_is_null) {
    EXPECT_TRUE(member(Json::object(), "a").is_null());
    EXPECT_TRUE(member(Json(5), "a").is_null());
    EXPECT_TRUE(member(member(Json(), "a"), "b").is_null());
}

TEST(Answer, text_of_names_each_kind) {
    const Json json = Json::parse(R"({"s":"x","n":5,"m":-1,"b":true,"o":{},"z":null})");
    EXPECT_EQ(text_of(json, "s"), "x");
    EXPECT_EQ(text_of(json, "n"), "5");
    EXPECT_EQ(text_of(json, "m"), "-1");
    EXPECT_EQ(text_of(json, "b"), "yes");
    EXPECT_EQ(text_of(json, "o"), "-");
    EXPECT_EQ(text_of(json, "z"), "-");
    EXPECT_EQ(text_of(json, "missing"), "-");
}

TEST(Answer, number_of_what_is_no_number_is_zero) {
    const Json json = Json::parse(R"({"n":5,"s":"5","m":-1})");
    EXPECT_EQ(number_of(json, "n"), 5U);
    EXPECT_EQ(number_of(json, "s"), 0U);
    EXPECT_EQ(number_of(json, "m"), 0U);
}

TEST(Answer, join_puts_the_separator_between) {
    EXPECT_EQ(join(Json::parse(R"([1, "a"])"), ", "), "1, a");
    EXPECT_EQ(join(Json::array(), ","), "-");
    EXPECT_EQ(join(Json(7), ","), "-");
}

}  // namespace
}  // namespace vrdma::vrdmactl
