#include "dataplane/control/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, counter_gets_total_and_labels) {
    Counters counters;
    counters.vnics = {{"a", "blue", {{"send_operations", 12, "Sends.", CounterKind::kCounter}}}};
    const std::string text = prometheus_text({}, {}, {}, counters);
    EXPECT_THAT(text, HasSubstr("# HELP vrdma_vnic_send_operations_total Sends.\n"
                                "# TYPE vrdma_vnic_send_operations_total counter\n"
                                "vrdma_vnic_send_operations_total{vnic=\"a\",network=\"blue\"} "
                                "12"));
}

TEST(Metrics, gauge_gets_no_total) {
    Counters counters;
    counters.service = {{"temperature", 9, "A gauge.", CounterKind::kGauge}};
    const std::string text = prometheus_text({}, {}, {}, counters);
    EXPECT_THAT(text, HasSubstr("# TYPE vrdma_temperature gauge\nvrdma_temperature 9"));
}

TEST(Metrics, two_vnics_share_one_family) {
    Counters counters;
    counters.vnics = {{"a", "blue", {{"drops", 1, "Drops.", {}}}},
                      {"b", "blue", {{"drops", 2, "Drops.", {}}}}};
    const std::string text = prometheus_text({}, {}, {}, counters);
    const std::string header = "# TYPE vrdma_vnic_drops_total counter";
    const std::size_t first = text.find(header);
    ASSERT_NE(first, std::string::npos);
    EXPECT_EQ(text.find(header, first + 1), std::string::npos);
    EXPECT_THAT(text, HasSubstr("{vnic=\"b\",network=\"blue\"} 2"));
}

TEST(Metrics, status_and_vnics_become_gauges) {
    ServiceStatus status;
    status.version = "1.2";
    status.uptime = std::chrono::seconds(5);
    status.pools = {{"qps", 3, 10}};
    status.workers = {{}};
    status.workers[0].operations = 77;
    VnicInfo vnic;
    vnic.config.name = "a";
    vnic.config.network = "blue";
    vnic.state = LinkState::kUp;
    vnic.qps = 4;
    const std::string text = prometheus_text(status, {vnic}, {}, {});
    EXPECT_THAT(text, HasSubstr("vrdma_info{version=\"1.2\",mode=\"adaptive\"} 1"));
    EXPECT_THAT(text, HasSubstr("vrdma_uptime_seconds 5"));
    EXPECT_THAT(text, HasSubstr("vrdma_pool_in_use{pool=\"qps\"} 3"));
    EXPECT_THAT(text, HasSubstr("vrdma_worker_operations_total{worker=\"0\"} 77"));
    EXPECT_THAT(text, HasSubstr("vrdma_vnic_up{vnic=\"a\",network=\"blue\"} 1"));
    EXPECT_THAT(text, HasSubstr("vrdma_vnic_in_use{vnic=\"a\",network=\"blue\",object=\"qps\"} 4"));
    EXPECT_THAT(text,
                HasSubstr("vrdma_vnic_quota{vnic=\"a\",network=\"blue\",object=\"qps\"} 8192"));
}

TEST(Metrics, port_has_gauges_and_counters_of_its_own) {
    PortInfo port;
    port.config.name = "p0";
    port.config.network = "blue";
    port.state = PortState::kUp;
    port.mtu = 4200;
    port.counters = {{"received_packets", 7, "Frames.", CounterKind::kCounter}};
    const std::string text = prometheus_text({}, {}, {port}, {});
    EXPECT_THAT(text, HasSubstr("vrdma_port_up{port=\"p0\",network=\"blue\"} 1"));
    EXPECT_THAT(text, HasSubstr("vrdma_port_mtu_bytes{port=\"p0\",network=\"blue\"} 4200"));
    EXPECT_THAT(text,
                HasSubstr("vrdma_port_received_packets_total{port=\"p0\",network=\"blue\"} 7"));
}

}  // namespace
}  // namespace vrdma::control
