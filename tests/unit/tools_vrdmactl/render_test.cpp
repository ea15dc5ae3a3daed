#include "tools/vrdmactl/render.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "dataplane/control/json.h"

namespace vrdma::vrdmactl {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

control::QpInfo stuck_queue_pair() {
    control::QpInfo qp;
    qp.qpn = 0x12;
    qp.vnic = "a";
    qp.pid = 100;
    qp.path = control::PathKind::kOtherWorker;
    qp.attributes.type = 2;
    qp.attributes.state = 6;
    qp.attributes.path_mtu = 5;
    qp.attributes.dest_qpn = 0x34;
    qp.attributes.dest_gid.octets = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2};
    qp.attributes.timeout = 14;
    qp.attributes.retry_count = 7;
    qp.attributes.rnr_retry = 7;
    qp.sq = {256, 12, 2};
    qp.last_reason = 49;
    qp.retries_left = 0;
    qp.counters = {{"retries", 7, "Retransmissions.", {}}};
    return qp;
}

control::PortInfo port_that_waits() {
    control::PortInfo port;
    port.config.name = "p0";
    port.config.network = "blue";
    port.config.devargs = "net_memif0,role=client";
    port.state = control::PortState::kWaiting;
    port.reason = "nobody listens";
    port.driver = "net_memif";
    port.mtu = 4338;
    port.neighbours = {{{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2}},
                        {{2, 0, 0, 0, 0, 2}},
                        control::NeighbourState::kStale,
                        3}};
    port.counters = {{"received_packets", 7, "Frames.", {}}, {"no_buffer", 0, "Empty.", {}}};
    return port;
}

TEST(Render, port_shows_why_it_is_not_up_and_whom_it_knows) {
    const std::string text = render_port(control::to_json(port_that_waits()), false);
    EXPECT_THAT(text, testing::StartsWith("Port p0\n"));
    for (const char* part : {"waiting", "nobody listens", "4338", "10.0.0.2", "02:00:00:00:00:02",
                             "stale", "received_packets"}) {
        EXPECT_THAT(text, HasSubstr(part));
    }
    EXPECT_THAT(text, Not(HasSubstr("no_buffer")));
    EXPECT_THAT(render_port(control::to_json(port_that_waits()), true), HasSubstr("no_buffer"));
}

TEST(Render, port_shows_the_faults_it_injects) {
    control::PortInfo port = port_that_waits();
    EXPECT_THAT(render_port(control::to_json(port), false), testing::ContainsRegex("Faults +off"));
    port.faults = control::PortFaults{};
    port.faults->drop = 10'000'000;
    EXPECT_EQ(faults_text(control::to_json(*port.faults)), "drop=0.01 seed=1 direction=both");
    port.faults->reorder = 64;
    port.faults->delay = std::chrono::microseconds(50);
    EXPECT_EQ(faults_text(control::to_json(*port.faults)),
              "drop=0.01 reorder=64 reorder_share=0.01 delay=50us seed=1 direction=both");
    EXPECT_THAT(render_port(control::to_json(port), false), HasSubstr("drop=0.01 reorder=64"));
}

TEST(Render, port_list_has_a_line_for_each) {
    const Json answer = {{"ports", Json::array({control::to_json(port_that_waits())})}};
    const std::string text = render_ports(answer);
    EXPECT_THAT(text, HasSubstr("nobody listens"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(Render, qp_answers_an_engineers_questions) {
    const std::string text = render_qp(control::to_json(stuck_queue_pair()));
    EXPECT_THAT(text, testing::StartsWith("Queue pair 0x000012 (18), RC, ERR\n"));
    EXPECT_THAT(text, HasSubstr("on this host, another worker"));
    EXPECT_THAT(text, HasSubstr("QP 0x000034 at 10.0.0.2 (::ffff:10.0.0.2)"));
    EXPECT_THAT(text, HasSubstr("10 of 256 entries in flight (producer 12, consumer 2)"));
    EXPECT_THAT(text, HasSubstr("0 of 7\n"));
    EXPECT_THAT(text, HasSubstr("7 (without end)"));
    EXPECT_THAT(text, HasSubstr("peer_silent (vendor_err 49)"));
    EXPECT_THAT(text, HasSubstr("What to do"));
    EXPECT_THAT(text, HasSubstr("14 (67.1 ms)"));
    EXPECT_THAT(text, HasSubstr("7  Retransmissions."));
}

TEST(Render, qp_without_error_says_none) {
    control::QpInfo qp = stuck_queue_pair();
    qp.last_reason = 0;
    qp.srq = 5;
    qp.path = control::PathKind::kNone;
    const std::string text = render_qp(control::to_json(qp));
    EXPECT_THAT(text, testing::ContainsRegex("Last error +none"));
    EXPECT_THAT(text, HasSubstr("shared, SRQ 5"));
    EXPECT_THAT(text, HasSubstr("not connected"));
    EXPECT_THAT(text, Not(HasSubstr("Peer  ")));
}

TEST(Render, qps_fit_one_line_each) {
    Json answer = {{"qps", Json::array({control::to_json(stuck_queue_pair())})}, {"total", 1}};
    const std::string text = render_qps(answer);
    EXPECT_THAT(text, HasSubstr("0x000012  RC    ERR"));
    EXPECT_THAT(text, HasSubstr("peer_silent"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(Render, list_that_was_cut_says_so) {
    Json answer = {{"qps", Json::array({control::to_json(stuck_queue_pair())})}, {"total", 70}};
    EXPECT_THAT(render_qps(answer), HasSubstr("1 of 70 shown"));
}

TEST(Render, mrs_show_how_memory_is_reached) {
    control::MrInfo mr;
    mr.vnic = "a";
    mr.iova = 0x7f0000001000;
    mr.length = 8192;
    mr.adopted_bytes = 4096;
    mr.process_bytes = 4096;
    mr.access = 1;
    mr.reason = "a file mapping";
    const Json answer = {{"mrs", Json::array({control::to_json(mr)})}, {"total", 1}};
    const std::string text = render_mrs(answer);
    EXPECT_THAT(text, HasSubstr("0x7f0000001000"));
    EXPECT_THAT(text, HasSubstr("8 KiB"));
    EXPECT_THAT(text, HasSubstr("local_write"));
    EXPECT_THAT(text, HasSubstr("a file mapping"));
}

TEST(Render, groups_show_who_is_in_them) {
    control::GroupInfo group;
    group.network = "blue";
    group.vnic = "a";
    group.group.octets = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 239, 1, 2, 3};
    group.qpns = {0x12, 0xabcdef};
    group.port = control::GroupReport::kJoined;
    Json answer = {{"groups", Json::array({control::to_json(group)})}, {"total", 2}};
    const std::string text = render_groups(answer);
    EXPECT_THAT(text,
                testing::ContainsRegex("blue +239\\.1\\.2\\.3 +a +joined +0x000012, 0xabcdef"));
    EXPECT_THAT(text, HasSubstr("1 of 2 shown"));
}

TEST(Render, vnic_shows_use_against_quota) {
    control::VnicInfo vnic;
    vnic.config.name = "a";
    vnic.config.network = "blue";
    vnic.qps = 3;
    vnic.mr_bytes = 1 << 20;
    const std::string text = render_vnic(control::to_json(vnic));
    EXPECT_THAT(text, testing::StartsWith("vNIC a\n"));
    EXPECT_THAT(text, HasSubstr("3 of 8192"));
    EXPECT_THAT(text, HasSubstr("1 MiB of 1 TiB"));
    EXPECT_THAT(text, HasSubstr("mode 0660, owner the service's"));
    EXPECT_THAT(text, ContainsRegex("Process memory +permitted"));
    vnic.config.process_memory = false;
    EXPECT_THAT(render_vnic(control::to_json(vnic)), ContainsRegex("Process memory +refused"));
}

TEST(Render, status_shows_workers_and_pools) {
    control::ServiceStatus status;
    status.version = "1.2";
    status.uptime = std::chrono::hours(25);
    status.workers = {{}, {}};
    status.workers[1].cpu = 3;
    status.pools = {{"qps", 1, 9}};
    const std::string text = render_status(control::to_json(status));
    EXPECT_THAT(text, HasSubstr("1 d 1 h"));
    EXPECT_THAT(text, HasSubstr("any  spinning"));
    EXPECT_THAT(text, testing::ContainsRegex("qps +1 +9"));
}

control::Counters some_counters() {
    control::Counters counters;
    counters.service = {{"attaches", 3, "Attached.", {}}, {"refusals", 0, "Refused.", {}}};
    counters.vnics = {{"a", "blue", {{"sends", 12, "Sends.", {}}}}};
    return counters;
}

TEST(Render, counters_that_are_zero_are_left_out_and_counted) {
    const std::string text = render_counters(control::to_json(some_counters()), false);
    EXPECT_THAT(text, HasSubstr("attaches"));
    EXPECT_THAT(text, Not(HasSubstr("refusals")));
    EXPECT_THAT(text, HasSubstr("1 more are zero"));
    EXPECT_THAT(text, HasSubstr("vNIC a in network blue"));
}

TEST(Render, counters_that_are_all_zero_are_only_counted) {
    control::Counters counters = some_counters();
    counters.vnics[0].counters[0].value = 0;
    EXPECT_THAT(render_counters(control::to_json(counters), false),
                HasSubstr("vNIC a in network blue\n1 counters, all zero; show them with --all\n"));
}

TEST(Render, counters_with_all_show_zeros) {
    EXPECT_THAT(render_counters(control::to_json(some_counters()), true), HasSubstr("refusals"));
}

TEST(Render, problem_is_one_sentence_and_its_details) {
    const Json problem = Json::parse(R"({"error":"name is bad","expected":"a good one",
        "remedy":"choose","details":[{"key":"name"},
        {"key":"mac","found":"x","expected":"y","remedy":"z"}]})");
    EXPECT_EQ(render_problem(problem),
              "name is bad, expected a good one; choose\nalso: mac is x, expected y; z\n");
}

TEST(Render, answers_of_another_shape_do_not_end_the_program) {
    for (const char* const text : {"null", "5", "[]", "{}", "{\"qps\":5,\"vnics\":{},\"mrs\":[[]]}",
                                   "{\"vnics\":[null,5],\"qps\":[{\"sq\":7}],\"workers\":7}",
                                   "{\"groups\":[5,{\"qpns\":[null,{}]},{\"qpns\":7}]}"}) {
        const Json answer = Json::parse(text);
        static_cast<void>(render_status(answer));
        static_cast<void>(render_vnics(answer));
        static_cast<void>(render_vnic(answer));
        static_cast<void>(render_qps(answer));
        static_cast<void>(render_qp(answer));
        static_cast<void>(render_mrs(answer));
        static_cast<void>(render_groups(answer));
        static_cast<void>(render_counters(answer, true));
        EXPECT_FALSE(render_problem(answer).empty());
    }
}

}  // namespace
}  // namespace vrdma::vrdmactl
