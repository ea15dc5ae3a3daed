#include "tests/e2e/fault_client/event_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace vrdma::fault {
namespace {

TEST(EventLog, line_is_one_json_object_with_everything_a_driver_needs) {
    testing::internal::CaptureStdout();
    EventLog log("victim");
    EXPECT_EQ(log.write_at(123, "connected", {{"qps", 7}}), 123U);
    const auto text = testing::internal::GetCapturedStdout();
    ASSERT_EQ(text.find('\n'), text.size() - 1);
    const auto line = nlohmann::json::parse(text);
    EXPECT_EQ(line["role"], "victim");
    EXPECT_EQ(line["event"], "connected");
    EXPECT_EQ(line["monotonic_ns"], 123);
    EXPECT_EQ(line["pid"], getpid());
    EXPECT_EQ(line["qps"], 7);
}

TEST(EventLog, failure_carries_exit_code_and_message) {
    testing::internal::CaptureStdout();
    EventLog log("partner");
    log.write_error({verbs_util::ErrorKind::kTransfer, "lost", 0, "look"});
    const auto line = nlohmann::json::parse(testing::internal::GetCapturedStdout());
    EXPECT_EQ(line["event"], "failed");
    EXPECT_EQ(line["exit_code"], 4);
    EXPECT_EQ(line["message"], "lost; look");
}

}  // namespace
}  // namespace vrdma::fault
