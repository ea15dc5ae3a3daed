#include "tools/vrdma-doctor/options.h"

#include <gtest/gtest.h>

#include <vector>

namespace vrdma::doctor {
namespace {

std::variant<Options, int> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "vrdma-doctor");
    const int count = static_cast<int>(words.size());
    words.push_back(nullptr);
    return parse_options(count, words.data());
}

TEST(options, nothing_given_measures_two_seconds_here) {
    const auto options = std::get<Options>(parse({}));
    EXPECT_EQ(options.seconds, 2);
    EXPECT_EQ(options.port, 18516);
    EXPECT_TRUE(options.peer.empty());
    EXPECT_TRUE(options.program.empty());
    EXPECT_FALSE(options.json);
}

TEST(options, program_and_its_options_stand_behind_two_dashes) {
    const auto options = std::get<Options>(parse({"--json", "--", "ib_write_bw", "--json", "-x"}));
    EXPECT_EQ(options.program, "ib_write_bw");
    EXPECT_TRUE(options.json);
}

TEST(options, two_dashes_without_program_are_refused) {
    EXPECT_EQ(std::get<int>(parse({"--"})), 3);
}

TEST(options, serve_together_with_a_report_is_refused) {
    EXPECT_EQ(std::get<int>(parse({"--serve", "--peer", "x"})), 3);
    EXPECT_EQ(std::get<int>(parse({"--serve", "--json"})), 3);
    EXPECT_EQ(std::get<int>(parse({"--serve", "--", "x"})), 3);
    EXPECT_TRUE(std::get<Options>(parse({"--serve"})).serve);
}

TEST(options, unknown_option_and_endless_measurement_are_refused) {
    EXPECT_EQ(std::get<int>(parse({"--what"})), 3);
    EXPECT_EQ(std::get<int>(parse({"--seconds", "61"})), 3);
    EXPECT_EQ(std::get<int>(parse({"--seconds", "-1"})), 3);
}

}  // namespace
}  // namespace vrdma::doctor
