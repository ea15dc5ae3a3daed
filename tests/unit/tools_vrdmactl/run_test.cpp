#include "tools/vrdmactl/run.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/control/served_model.h"
#include "tools/vrdmactl/exit_code.h"

namespace vrdma::vrdmactl {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class RunTest : public testing::Test {
  protected:
    int vrdmactl(std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"--runtime-dir", served_.directory()});
        out_.str("");
        err_.str("");
        return run(arguments, out_, err_);
    }

    control::ServedModel served_;
    std::ostringstream out_;
    std::ostringstream err_;
};

TEST_F(RunTest, each_list_and_view_works_against_a_service) {
    const std::vector<std::vector<std::string>> lines = {
        {"status"},     {"vnic", "list"}, {"vnic", "show", "a"},     {"qp", "list"},
        {"mr", "list"}, {"counters"},     {"qp", "show", "0xabcdef"}};
    for (const auto& line : lines) {
        EXPECT_EQ(vrdmactl(line), kDone) << err_.str();
        EXPECT_FALSE(out_.str().empty());
        EXPECT_EQ(err_.str(), "");
    }
}

TEST_F(RunTest, vnic_is_added_set_and_deleted) {
    EXPECT_EQ(vrdmactl({"vnic", "add", "b", "--network", "green", "--address", "10.0.0.2"}), kDone)
        << err_.str();
    EXPECT_THAT(out_.str(), StartsWith("vNIC b\n"));
    EXPECT_EQ(vrdmactl({"vnic", "set", "b", "down"}), kDone) << err_.str();
    EXPECT_THAT(out_.str(), testing::ContainsRegex("State +down"));
    EXPECT_EQ(vrdmactl({"vnic", "del", "b"}), kDone) << err_.str();
    EXPECT_EQ(out_.str(), "");
    EXPECT_EQ(vrdmactl({"vnic", "show", "b"}), kRefused);
}

TEST_F(RunTest, json_prints_the_answer_of_the_service) {
    EXPECT_EQ(vrdmactl({"status", "--json"}), kDone);
    EXPECT_EQ(nlohmann::json::parse(out_.str())["version"], "1.2.3");
}

TEST_F(RunTest, refusal_is_one_sentence_with_its_remedy) {
    EXPECT_EQ(vrdmactl({"vnic", "show", "zzz"}), kRefused);
    EXPECT_EQ(out_.str(), "");
    EXPECT_EQ(err_.str(),
              "vrdmactl: there is no vNIC \"zzz\", expected one of: a; list them with "
              "vrdmactl vnic list (GET /v1/vnics)\n");
}

TEST_F(RunTest, refusal_with_json_is_json_on_standard_output) {
    EXPECT_EQ(vrdmactl({"vnic", "show", "zzz", "--json"}), kRefused);
    EXPECT_THAT(nlohmann::json::parse(out_.str())["error"].get<std::string>(), HasSubstr("zzz"));
}

TEST_F(RunTest, usage_error_goes_to_standard_error) {
    EXPECT_EQ(vrdmactl({"stats"}), kUsage);
    EXPECT_EQ(out_.str(), "");
    EXPECT_FALSE(err_.str().empty());
}

TEST_F(RunTest, help_goes_to_standard_output) {
    EXPECT_EQ(vrdmactl({"--help"}), kDone);
    EXPECT_THAT(out_.str(), HasSubstr("vnic"));
    EXPECT_EQ(err_.str(), "");
}

TEST(Run, service_that_is_not_running_is_one_sentence_with_its_remedy) {
    std::ostringstream out;
    std::ostringstream err;
    EXPECT_EQ(run({"status", "--runtime-dir", "/nonexistent"}, out, err), kRefused);
    EXPECT_EQ(err.str(),
              "vrdmactl: vrdmad is not running: there is no socket at /nonexistent/control.sock; "
              "start vrdmad, or name its runtime directory with --runtime-dir\n");
}

}  // namespace
}  // namespace vrdma::vrdmactl
