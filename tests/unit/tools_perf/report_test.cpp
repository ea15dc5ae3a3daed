#include "tools/vrdma-perf/report.h"

#include <gtest/gtest.h>

namespace vrdma::perf {
namespace {

Report example() {
    Report report;
    report.options.sizes = {4096};
    report.options.verify = true;
    report.options.peers = true;
    report.options.command_line = "vrdma-perf --loopback";
    report.device = "vrdma0";
    report.peer_device = "vrdma1";
    report.tsc_invariant = true;
    Sample sample;
    sample.before = {Distance::kNear, 100.0};
    sample.after = {Distance::kNear, 110.0};
    sample.cpu_share = 1.0;
    sample.operations = 1'000'000;
    sample.seconds = 1.0;
    sample.latency.p50_ns = 500.0;
    Point point;
    point.size = 4096;
    point.verified = 1000;
    point.latency = {sample};
    point.rate = {sample};
    point.tcp_spinning = {sample};
    point.tcp_spinning[0].latency.p50_ns = 13'000.0;
    point.tcp_blocking = {sample};
    point.tcp_blocking[0].latency.p50_ns = 120'000.0;
    report.points = {point};
    sample.operations = 10'000;
    report.copy = {sample};
    return report;
}

TEST(ReportJson, numbers_are_where_scripts_look_for_them) {
    const auto json = report_json(example());
    EXPECT_EQ(json["program"], "vrdma-perf");
    EXPECT_EQ(json["command_line"], "vrdma-perf --loopback");
    const auto& point = json["points"][0];
    EXPECT_EQ(point["size_bytes"], 4096);
    EXPECT_EQ(point["latency"]["median_of_samples"]["p50_ns"], 500.0);
    EXPECT_EQ(point["latency"]["samples"][0]["distance"], "near");
    EXPECT_EQ(point["rate"]["operations_per_second"], 1e6);
    EXPECT_DOUBLE_EQ(point["rate"]["gigabytes_per_second"].get<double>(), 4.096);
    EXPECT_EQ(point["verified_operations"], 1000);
    EXPECT_EQ(point["peers"]["ratios"]["tcp_spinning_p50_over_ours"], 26.0);
    EXPECT_EQ(point["peers"]["ratios"]["tcp_blocking_p50_over_ours"], 240.0);
    EXPECT_NEAR(point["peers"]["ratios"]["bandwidth_share_of_copy_limit"].get<double>(),
                4.096e9 / (1e4 * (1 << 20)), 1e-9);
}

TEST(ReportTable, line_shows_size_latency_and_ratios) {
    const auto text = report_table(example());
    EXPECT_NE(text.find("vrdma0 -> vrdma1"), std::string::npos);
    EXPECT_NE(text.find("4K     0.500"), std::string::npos) << text;
    EXPECT_NE(text.find("26.00x"), std::string::npos) << text;
    EXPECT_NE(text.find("1/1 near"), std::string::npos) << text;
    EXPECT_EQ(text.find("note:"), std::string::npos) << text;
}

TEST(ReportTable, disturbed_samples_lost_messages_and_bad_clocks_are_said) {
    Report report = example();
    report.points[0].latency[0].cpu_share = 0.5;
    report.points[0].lost = 3;
    report.tsc_invariant = false;
    const auto text = report_table(report);
    EXPECT_NE(text.find("1 of 2 samples"), std::string::npos) << text;
    EXPECT_NE(text.find("3 messages were lost"), std::string::npos) << text;
    EXPECT_NE(text.find("not invariant"), std::string::npos) << text;
}

TEST(ReportTable, peers_without_measurement_have_no_ratio) {
    Report report = example();
    report.points[0].latency.clear();
    report.options.latency = false;
    EXPECT_EQ(report_table(report).find("inf"), std::string::npos);
}

}  // namespace
}  // namespace vrdma::perf
