#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tools/vrdmactl/exit_code.h"
#include "tools/vrdmactl/invocation.h"

namespace vrdma::vrdmactl {
namespace {

using Arguments = std::vector<std::string>;
using testing::HasSubstr;

struct Line {
    Arguments arguments;
    const char* method;
    const char* target;
};

class CommandLine : public testing::TestWithParam<Line> {};

TEST_P(CommandLine, becomes_this_request) {
    const auto invocation = parse_command_line(GetParam().arguments);
    ASSERT_TRUE(invocation) << invocation.error().text;
    EXPECT_EQ(invocation->request.method, GetParam().method);
    EXPECT_EQ(invocation->request.target, GetParam().target);
    EXPECT_TRUE(invocation->render);
}

INSTANTIATE_TEST_SUITE_P(
    Subcommands, CommandLine,
    testing::Values(
        Line{{"status"}, "GET", "/v1/status"}, Line{{"vnic", "list"}, "GET", "/v1/vnics"},
        Line{{"vnic", "show", "a"}, "GET", "/v1/vnics/a"},
        Line{{"vnic", "del", "a"}, "DELETE", "/v1/vnics/a"},
        Line{{"vnic", "del", "a", "--force"}, "DELETE", "/v1/vnics/a?force=true"},
        Line{{"vnic", "set", "a", "down"}, "PATCH", "/v1/vnics/a"},
        Line{{"port", "list"}, "GET", "/v1/ports"},
        Line{{"port", "show", "p0", "--all"}, "GET", "/v1/ports/p0"},
        Line{{"port", "fault", "p0", "off"}, "PATCH", "/v1/ports/p0"},
        Line{{"qp", "list"}, "GET", "/v1/qps"},
        Line{{"qp", "list", "--vnic", "a", "--limit", "5"}, "GET", "/v1/qps?vnic=a&limit=5"},
        Line{{"qp", "show", "0x12"}, "GET", "/v1/qps/0x12"},
        Line{{"mr", "list", "--limit", "5"}, "GET", "/v1/mrs?limit=5"},
        Line{{"group", "list"}, "GET", "/v1/groups"},
        Line{{"group", "list", "--vnic", "a", "--limit", "5"}, "GET", "/v1/groups?vnic=a&limit=5"},
        Line{{"counters"}, "GET", "/v1/counters"},
        Line{{"counters", "--vnic", "a", "--all"}, "GET", "/v1/counters?vnic=a"}));

TEST(CommandLineOptions, capture_sends_only_what_was_given) {
    const auto all = parse_command_line({"capture", "p0", "-w", "-"});
    ASSERT_TRUE(all) << all.error().text;
    EXPECT_EQ(all->request.method, "POST");
    EXPECT_EQ(all->request.target, "/v1/ports/p0/captures");
    EXPECT_EQ(all->request.body, "{}");
    ASSERT_TRUE(all->capture);
    EXPECT_EQ(all->capture->name, "-");
    EXPECT_FALSE(all->capture->duration);
    const auto some = parse_command_line({"capture", "p0", "--write", "f", "--duration", "5min",
                                          "--count", "9", "--snaplen", "128", "--qp", "0x1f"});
    ASSERT_TRUE(some) << some.error().text;
    EXPECT_EQ(some->request.body, R"({"snaplen":128,"count":9,"qp":31})");
    EXPECT_EQ(some->capture->duration, std::chrono::minutes(5));
    const auto peer = parse_command_line({"capture", "p0", "-w", "f", "--peer", "10.0.0.2"});
    ASSERT_TRUE(peer) << peer.error().text;
    EXPECT_EQ(peer->request.body, R"({"peer":"10.0.0.2"})");
}

TEST(CommandLineOptions, odd_capture_is_a_usage_error) {
    for (const Arguments& arguments :
         {Arguments{"capture", "p0"}, Arguments{"capture", "-w", "f"},
          Arguments{"capture", "p0", "-w", "f", "--duration", "10"},
          Arguments{"capture", "p0", "-w", "f", "--duration", "0s"},
          Arguments{"capture", "p0", "-w", "f", "--qp", "1", "--peer", "10.0.0.2"}}) {
        const auto invocation = parse_command_line(arguments);
        ASSERT_FALSE(invocation);
        EXPECT_EQ(invocation.error().exit_code, kUsage);
    }
}

TEST(CommandLineOptions, vnic_add_sends_numbers_as_numbers) {
    const auto invocation = parse_command_line(
        {"vnic", "add", "b", "--network", "7", "--address", "10.0.0.2", "--owner", "1000",
         "--group", "users", "--mode", "0666", "--max-qps", "10", "--max-mr-bytes", "64 GiB"});
    ASSERT_TRUE(invocation) << invocation.error().text;
    EXPECT_EQ(invocation->request.method, "POST");
    EXPECT_EQ(invocation->request.target, "/v1/vnics");
    EXPECT_EQ(nlohmann::json::parse(invocation->request.body),
              nlohmann::json::parse(R"({"name":"b","network":"7","address":"10.0.0.2",
                  "owner":1000,"group":"users","mode":"0666","max_qps":10,
                  "max_mr_bytes":"64 GiB"})"));
}

TEST(CommandLineOptions, vnic_add_sends_truth_values_as_such) {
    const auto body = [](const char* value) {
        const auto invocation =
            parse_command_line({"vnic", "add", "b", "--network", "7", "--address", "10.0.0.2",
                                "--process-memory", value});
        return invocation ? nlohmann::json::parse(invocation->request.body) : nlohmann::json();
    };
    EXPECT_EQ(body("false")["process_memory"], false);
    EXPECT_EQ(body("true")["process_memory"], true);
    EXPECT_EQ(body("maybe")["process_memory"], "maybe");  // for the service to refuse
}

TEST(CommandLineOptions, vnic_set_sends_the_state) {
    const auto invocation = parse_command_line({"vnic", "set", "a", "up"});
    ASSERT_TRUE(invocation);
    EXPECT_EQ(invocation->request.body, R"({"state":"up"})");
}

TEST(CommandLineOptions, service_options_stand_before_or_after_the_subcommand) {
    const auto before = parse_command_line({"--json", "--socket", "/s", "vnic", "list"});
    ASSERT_TRUE(before) << before.error().text;
    EXPECT_TRUE(before->json);
    EXPECT_EQ(before->service.socket, "/s");
    const auto after = parse_command_line({"vnic", "list", "--runtime-dir", "/r", "--json"});
    ASSERT_TRUE(after) << after.error().text;
    EXPECT_TRUE(after->json);
    EXPECT_EQ(after->service.runtime_dir, "/r");
    EXPECT_EQ(after->service.socket, std::nullopt);
}

TEST(CommandLineOptions, port_fault_sends_numbers_as_numbers) {
    const auto invocation = parse_command_line({"port", "fault", "p0", "drop=0.01", "reorder=64",
                                                "delay=50us", "direction=send", "seed=x"});
    ASSERT_TRUE(invocation) << invocation.error().text;
    EXPECT_EQ(nlohmann::json::parse(invocation->request.body),
              nlohmann::json::parse(R"({"faults":{"drop":0.01,"reorder":64,"delay":"50us",
                  "direction":"send","seed":"x"}})"));
}

TEST(CommandLineOptions, port_fault_off_sends_the_word) {
    const auto invocation = parse_command_line({"port", "fault", "p0", "off"});
    ASSERT_TRUE(invocation);
    EXPECT_EQ(invocation->request.body, R"({"faults":"off"})");
    EXPECT_EQ(invocation->render(Json{{"faults", nullptr}}), "Faults: off\n");
}

class WrongLine : public testing::TestWithParam<Arguments> {};

TEST_P(WrongLine, is_a_usage_error) {
    const auto invocation = parse_command_line(GetParam());
    ASSERT_FALSE(invocation);
    EXPECT_EQ(invocation.error().exit_code, kUsage);
    EXPECT_FALSE(invocation.error().text.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Lines, WrongLine,
    testing::Values(Arguments{}, Arguments{"stats"}, Arguments{"vnic"}, Arguments{"vnic", "show"},
                    Arguments{"vnic", "show", "a/b"}, Arguments{"vnic", "show", ""},
                    Arguments{"vnic", "set", "a"}, Arguments{"vnic", "set", "a", "off"},
                    Arguments{"vnic", "add", "b"}, Arguments{"vnic", "add", "b", "--network", "n"},
                    Arguments{"port", "fault", "p0"}, Arguments{"port", "fault", "p0", "drop"},
                    Arguments{"port", "fault", "p0", "=1"},
                    Arguments{"port", "fault", "p0", "off", "drop=0.1"},
                    Arguments{"port", "fault", "p0", "drop=0.1", "drop=0.2"},
                    Arguments{"qp", "show"}, Arguments{"qp", "show", "1?x=1"},
                    Arguments{"qp", "list", "--limit", "0"},
                    Arguments{"qp", "list", "--limit", "65537"},
                    Arguments{"qp", "list", "--vnic", "a&limit=5"}, Arguments{"status", "extra"},
                    Arguments{"--socket", "/s", "--runtime-dir", "/r", "status"}));

TEST(CommandLineOptions, help_ends_well_and_names_the_exit_codes) {
    const auto invocation = parse_command_line({"--help"});
    ASSERT_FALSE(invocation);
    EXPECT_EQ(invocation.error().exit_code, kDone);
    EXPECT_THAT(invocation.error().text, HasSubstr("Exit status: 0 done"));
}

TEST(CommandLineOptions, version_ends_well) {
    const auto invocation = parse_command_line({"--version"});
    ASSERT_FALSE(invocation);
    EXPECT_EQ(invocation.error().exit_code, kDone);
    EXPECT_THAT(invocation.error().text, HasSubstr("vrdmactl "));
}

}  // namespace
}  // namespace vrdma::vrdmactl
