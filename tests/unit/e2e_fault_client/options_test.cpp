#include "tests/e2e/fault_client/options.h"

#include <gtest/gtest.h>

namespace vrdma::fault {
namespace {

template <typename... Args>
std::variant<Options, int> parse(Args... args) {
    const char* argv[] = {"vrdma-fault-client", args...};
    return parse_options(static_cast<int>(std::size(argv)), argv);
}

TEST(Options, victim_gets_its_values) {
    const auto parsed =
        parse("victim", "--connect", "unix:/p", "--qps", "9", "--mrs", "4", "--cqs", "3", "--size",
              "1K", "--operation", "read", "--traffic", "partner", "--device", "vrdma1");
    ASSERT_TRUE(std::holds_alternative<Options>(parsed));
    const auto& options = std::get<Options>(parsed);
    EXPECT_EQ(options.role, Role::kVictim);
    EXPECT_EQ(options.session.address, "unix:/p");
    EXPECT_EQ(options.session.link.qps, 9U);
    EXPECT_EQ(options.session.link.mrs, 4U);
    EXPECT_EQ(options.session.link.cqs, 3U);
    EXPECT_EQ(options.session.link.size, 1024U);
    EXPECT_EQ(options.session.transfer, Transfer::kRead);
    EXPECT_FALSE(options.session.victim_sends);
    EXPECT_TRUE(options.session.partner_sends);
    EXPECT_EQ(options.session.device.name, "vrdma1");
}

TEST(Options, other_roles_are_recognised) {
    EXPECT_EQ(std::get<Options>(parse("partner", "--listen", ":0", "--rounds", "5")).session.rounds,
              5U);
    const auto bystander = std::get<Options>(
        parse("bystander", "--seconds", "3", "--size", "64", "--memory", "memfd"));
    EXPECT_EQ(bystander.role, Role::kBystander);
    EXPECT_EQ(bystander.bystander.size, 64U);
    EXPECT_EQ(bystander.bystander.memory, verbs_util::MemoryKind::kMemfd);
    const auto churn = std::get<Options>(parse("churn", "--qps", "50", "--rounds", "2"));
    EXPECT_EQ(churn.role, Role::kChurn);
    EXPECT_EQ(churn.churn.link.qps, 50U);
    EXPECT_EQ(churn.churn.rounds, 2U);
}

TEST(Options, nobody_may_send) {
    const auto parsed = parse("victim", "--connect", "unix:/p", "--traffic", "none");
    const auto& options = std::get<Options>(parsed);
    EXPECT_FALSE(options.session.victim_sends || options.session.partner_sends);
}

TEST(Options, usage_errors_have_exit_code_one) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(std::get<int>(parse()), 1);
    EXPECT_EQ(std::get<int>(parse("witness")), 1);
    EXPECT_EQ(std::get<int>(parse("victim")), 1);
    EXPECT_EQ(std::get<int>(parse("partner")), 1);
    EXPECT_EQ(std::get<int>(parse("victim", "--connect", "unix:/p", "--operation", "x")), 1);
    EXPECT_EQ(std::get<int>(parse("victim", "--connect", "unix:/p", "--traffic", "x")), 1);
    EXPECT_EQ(std::get<int>(parse("victim", "--connect", "unix:/p", "--qps", "0")), 1);
    EXPECT_EQ(std::get<int>(parse("bystander", "--size", "x")), 1);
    EXPECT_EQ(std::get<int>(parse("bystander", "--memory", "x")), 1);
    (void)testing::internal::GetCapturedStderr();
}

TEST(Options, help_documents_the_output) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(std::get<int>(parse("--help")), 0);
    const auto text = testing::internal::GetCapturedStdout();
    for (const char* word : {"control_closed", "first_error_ns", "longest_wait_ns", "Exit codes"}) {
        EXPECT_NE(text.find(word), std::string::npos) << word;
    }
}

}  // namespace
}  // namespace vrdma::fault
