#include "dataplane/control/routes.h"

#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/control/fake_service_model.h"

namespace vrdma::control {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class RoutesTest : public testing::Test {
  protected:
    ApiResponse ask(const std::string& method, const std::string& target,
                    const std::string& body = "") {
        std::optional<ApiResponse> answer;
        routes_.handle({method, target, body}, [&](ApiResponse response) {
            EXPECT_FALSE(answer) << "answered twice";
            answer = std::move(response);
        });
        EXPECT_TRUE(answer) << "not answered";
        return answer.value_or(ApiResponse{});
    }

    json get(const std::string& target) {
        const ApiResponse response = ask("GET", target);
        EXPECT_EQ(response.status, 200U) << response.body;
        EXPECT_EQ(response.content_type, "application/json");
        return json::parse(response.body);
    }

    void expect_problem(const ApiResponse& response, unsigned status) {
        EXPECT_EQ(response.status, status) << response.body;
        const json body = json::parse(response.body);
        EXPECT_FALSE(body.at("error").get<std::string>().empty());
        EXPECT_TRUE(body.at("expected").is_string());
        EXPECT_FALSE(body.at("remedy").get<std::string>().empty());
    }

    FakeServiceModel model_;
    Routes routes_{model_};
};

TEST_F(RoutesTest, status_has_service_workers_and_pools) {
    const json status = get("/v1/status");
    EXPECT_EQ(status["version"], "1.2.3");
    EXPECT_EQ(status["uptime_seconds"], 90);
    EXPECT_EQ(status["mode"], "adaptive");
    EXPECT_EQ(status["workers"][0]["cpu"], 3);
    EXPECT_EQ(status["workers"][0]["state"], "asleep");
    EXPECT_TRUE(status["workers"][1]["cpu"].is_null());
    EXPECT_EQ(status["pools"][0], (json{{"name", "qps"}, {"in_use", 1}, {"size", 32768}}));
}

TEST_F(RoutesTest, vnics_lists_all) {
    const json vnics = get("/v1/vnics")["vnics"];
    ASSERT_EQ(vnics.size(), 1U);
    EXPECT_EQ(vnics[0]["name"], "a");
}

TEST_F(RoutesTest, vnic_shows_configuration_use_and_quotas) {
    const json vnic = get("/v1/vnics/a");
    EXPECT_EQ(vnic["network"], "blue");
    EXPECT_EQ(vnic["network_id"], 7);
    EXPECT_EQ(vnic["address"], "10.0.0.1");
    EXPECT_EQ(vnic["mac"], "02:76:0a:00:00:01");
    EXPECT_EQ(vnic["state"], "up");
    EXPECT_EQ(vnic["pids"], json::parse("[100, 101]"));
    EXPECT_EQ(vnic["socket"]["mode"], "0660");
    EXPECT_TRUE(vnic["socket"]["owner"].is_null());
    EXPECT_TRUE(vnic["system_device"].is_null());
    EXPECT_EQ(vnic["process_memory"], true);
    EXPECT_EQ(vnic["quotas"]["max_qps"], 8192);
    EXPECT_EQ(vnic["active_mtu"], 1024);
}

TEST_F(RoutesTest, vnic_unknown_is_not_found_and_names_the_known) {
    const ApiResponse response = ask("GET", "/v1/vnics/zzz");
    expect_problem(response, 404);
    EXPECT_THAT(response.body, HasSubstr("one of: a"));
}

TEST_F(RoutesTest, post_vnic_adds_it) {
    const ApiResponse response =
        ask("POST", "/v1/vnics", R"({"name":"b","network":"green","address":"10.0.0.2"})");
    EXPECT_EQ(response.status, 201U) << response.body;
    EXPECT_EQ(json::parse(response.body)["network_id"], 8);
    EXPECT_NE(model_.configuration().find_vnic("b"), nullptr);
}

TEST_F(RoutesTest, post_vnic_with_errors_reports_all_of_them) {
    const ApiResponse response =
        ask("POST", "/v1/vnics", R"({"name":"B","network":"red","address":"10"})");
    expect_problem(response, 400);
    EXPECT_EQ(json::parse(response.body)["details"].size(), 3U);
    EXPECT_EQ(model_.configuration().vnics.size(), 1U);
}

TEST_F(RoutesTest, post_vnic_that_exists_is_a_conflict) {
    expect_problem(
        ask("POST", "/v1/vnics", R"({"name":"a","network":"blue","address":"10.0.0.2"})"), 409);
}

TEST_F(RoutesTest, post_vnic_without_json_is_refused) {
    expect_problem(ask("POST", "/v1/vnics", "\xff\xfe"), 400);
}

TEST_F(RoutesTest, post_vnic_beyond_the_limit_is_refused) {
    const std::uint32_t most = model_.configuration().limits.max_vnics;
    for (std::uint32_t i = 1; i < most; ++i) {
        const std::string n = std::to_string(i);
        ASSERT_EQ(ask("POST", "/v1/vnics",
                      R"({"name":"v)" + n + R"(","network":"green","address":"10.1.)" +
                          std::to_string(i / 256) + "." + std::to_string(i % 256) + "\"}")
                      .status,
                  201U);
    }
    expect_problem(
        ask("POST", "/v1/vnics", R"({"name":"last","network":"green","address":"10.9.0.2"})"), 507);
}

TEST_F(RoutesTest, delete_vnic_removes_it) {
    const ApiResponse response = ask("DELETE", "/v1/vnics/a");
    EXPECT_EQ(response.status, 204U);
    EXPECT_TRUE(response.body.empty());
    EXPECT_FALSE(model_.forced);
    EXPECT_EQ(model_.configuration().find_vnic("a"), nullptr);
}

TEST_F(RoutesTest, delete_vnic_in_use_is_a_conflict_unless_forced) {
    model_.busy = true;
    expect_problem(ask("DELETE", "/v1/vnics/a"), 409);
    EXPECT_EQ(ask("DELETE", "/v1/vnics/a?force=true").status, 204U);
}

TEST_F(RoutesTest, delete_vnic_with_odd_force_is_refused) {
    expect_problem(ask("DELETE", "/v1/vnics/a?force=yes"), 400);
    EXPECT_NE(model_.configuration().find_vnic("a"), nullptr);
}

TEST_F(RoutesTest, delete_unknown_vnic_is_not_found) {
    expect_problem(ask("DELETE", "/v1/vnics/b"), 404);
}

TEST_F(RoutesTest, patch_vnic_sets_its_state) {
    const ApiResponse response = ask("PATCH", "/v1/vnics/a", R"({"state":"down"})");
    EXPECT_EQ(response.status, 200U);
    EXPECT_EQ(json::parse(response.body)["state"], "down");
    EXPECT_EQ(json::parse(ask("PATCH", "/v1/vnics/a", R"({"state":"up"})").body)["state"], "up");
}

class OddPatch : public RoutesTest, public testing::WithParamInterface<const char*> {};

TEST_P(OddPatch, is_refused) {
    expect_problem(ask("PATCH", "/v1/vnics/a", GetParam()), 400);
}

INSTANTIATE_TEST_SUITE_P(Bodies, OddPatch,
                         testing::Values("", "{}", "[]", "up", R"({"state":"Up"})",
                                         R"({"state":true})", R"({"state":"up","mac":"x"})"));

TEST_F(RoutesTest, patch_unknown_vnic_is_not_found) {
    expect_problem(ask("PATCH", "/v1/vnics/b", R"({"state":"down"})"), 404);
}

TEST_F(RoutesTest, qps_passes_filter_and_limit) {
    const json list = get("/v1/qps?vnic=a&limit=17");
    EXPECT_EQ(list["total"], 5);
    EXPECT_EQ(list["qps"].size(), 1U);
    EXPECT_EQ(model_.last_filter.vnic, "a");
    EXPECT_EQ(model_.last_filter.limit, 17U);
    static_cast<void>(get("/v1/qps"));
    EXPECT_EQ(model_.last_filter.vnic, std::nullopt);
    EXPECT_EQ(model_.last_filter.limit, kDefaultListLimit);
}

TEST_F(RoutesTest, qps_of_unknown_vnic_is_not_found) {
    expect_problem(ask("GET", "/v1/qps?vnic=b"), 404);
}

class OddLimit : public RoutesTest, public testing::WithParamInterface<const char*> {};

TEST_P(OddLimit, is_refused) {
    expect_problem(ask("GET", std::string("/v1/mrs?limit=") + GetParam()), 400);
}

INSTANTIATE_TEST_SUITE_P(Texts, OddLimit,
                         testing::Values("", "0", "-1", "1x", "65537", "99999999999999999999"));

TEST_F(RoutesTest, qp_shows_names_instead_of_codes) {
    const json qp = get("/v1/qps/11259375");
    EXPECT_EQ(qp["qpn"], 0xabcdef);
    EXPECT_EQ(qp["type"], "RC");
    EXPECT_EQ(qp["state"], "RTS");
    EXPECT_EQ(qp["path"], "same_worker");
    EXPECT_EQ(qp["attributes"]["cur_qp_state"], "ERR");
    EXPECT_EQ(qp["attributes"]["path_mtu"], 4096);
    EXPECT_EQ(qp["attributes"]["qp_access_flags"],
              json::parse(R"(["local_write","remote_write","remote_read","remote_atomic"])"));
    EXPECT_TRUE(qp["srq"].is_null());
    EXPECT_EQ(qp["counters"][0]["name"], "retries");
}

TEST_F(RoutesTest, qp_ring_in_flight_survives_the_wrap) {
    EXPECT_EQ(get("/v1/qps/0xabcdef")["sq"]["in_flight"], 3);
}

TEST_F(RoutesTest, qp_with_an_error_explains_it) {
    const json error = get("/v1/qps/0xabcdef")["last_error"];
    EXPECT_EQ(error["name"], "rnr");
    EXPECT_THAT(error["meaning"].get<std::string>(), HasSubstr("no receive"));
    EXPECT_FALSE(error["remedy"].get<std::string>().empty());
}

TEST_F(RoutesTest, qp_unknown_is_not_found) {
    expect_problem(ask("GET", "/v1/qps/1"), 404);
}

class OddQpn : public RoutesTest, public testing::WithParamInterface<const char*> {};

TEST_P(OddQpn, is_refused) {
    expect_problem(ask("GET", std::string("/v1/qps/") + GetParam()), 400);
}

INSTANTIATE_TEST_SUITE_P(Texts, OddQpn,
                         testing::Values("x", "0x", "-1", "1.", "16777216", "0x0x1"));

TEST_F(RoutesTest, mr_shows_only_half_of_its_key) {
    const ApiResponse response = ask("GET", "/v1/mrs");
    EXPECT_THAT(response.body, HasSubstr("0x1234...."));
    EXPECT_THAT(response.body, testing::Not(HasSubstr("abcd")));
    EXPECT_THAT(response.body, testing::Not(HasSubstr(std::to_string(0x1234abcd))));
    const json mr = json::parse(response.body)["mrs"][0];
    EXPECT_EQ(mr["bytes"]["adopted"], 4096);
    EXPECT_EQ(mr["reason"], "a file mapping");
}

TEST_F(RoutesTest, groups_tell_who_is_in_them_and_what_the_port_says) {
    const json list = get("/v1/groups?vnic=a&limit=17");
    EXPECT_EQ(model_.last_filter.vnic, "a");
    EXPECT_EQ(model_.last_filter.limit, 17U);
    EXPECT_EQ(list["total"], 3);
    EXPECT_EQ(list["groups"], json::parse(R"([{"network":"blue","network_id":10,
        "group":"0000:0000:0000:0000:0000:ffff:ef01:0203","vnic":"a","qpns":[17,11259375],
        "port":"joining"}])"));
}

TEST_F(RoutesTest, groups_of_unknown_vnic_is_not_found) {
    expect_problem(ask("GET", "/v1/groups?vnic=b"), 404);
}

TEST_F(RoutesTest, ports_lists_all) {
    const json ports = get("/v1/ports")["ports"];
    ASSERT_EQ(ports.size(), 1U);
    EXPECT_EQ(ports[0]["name"], "uplink");
    EXPECT_EQ(ports[0]["state"], "up");
    EXPECT_EQ(ports[0]["reason"], nullptr);
}

TEST_F(RoutesTest, port_shows_neighbours_and_counters) {
    const json port = get("/v1/ports/uplink");
    EXPECT_EQ(port["driver"], "net_null");
    EXPECT_EQ(port["peer"], "auto");
    EXPECT_EQ(port["spray"], "off");
    EXPECT_EQ(port["gateway"], nullptr);
    EXPECT_EQ(port["neighbours"][0]["mac"], "02:00:00:00:00:02");
    EXPECT_EQ(port["neighbours"][0]["state"], "reachable");
    EXPECT_EQ(port["counters"][0]["value"], 7);
}

TEST_F(RoutesTest, unknown_port_is_not_found) {
    expect_problem(ask("GET", "/v1/ports/p9"), 404);
}

TEST_F(RoutesTest, patch_port_sets_faults_and_shows_them) {
    const auto response =
        ask("PATCH", "/v1/ports/uplink", R"({"faults": {"drop": 0.01, "delay": "50us"}})");
    ASSERT_EQ(response.status, 200U) << response.body;
    EXPECT_EQ(model_.faults_of, "uplink");
    const json faults = json::parse(response.body)["faults"];
    EXPECT_EQ(faults["drop"], 0.01);
    EXPECT_EQ(faults["duplicate"], 0.0);
    EXPECT_EQ(faults["delay"], "50us");
    EXPECT_EQ(faults["jitter"], "0us");
    EXPECT_EQ(faults["direction"], "both");
    EXPECT_EQ(get("/v1/ports/uplink")["faults"], faults);
}

TEST_F(RoutesTest, patch_port_off_takes_faults_away) {
    model_.faults = PortFaults{};
    const auto response = ask("PATCH", "/v1/ports/uplink", R"({"faults": "off"})");
    ASSERT_EQ(response.status, 200U) << response.body;
    EXPECT_EQ(json::parse(response.body)["faults"], nullptr);
    EXPECT_EQ(model_.faults, std::nullopt);
}

TEST_F(RoutesTest, patch_port_with_errors_changes_nothing) {
    const auto response =
        ask("PATCH", "/v1/ports/uplink", R"({"faults": {"drop": 2, "delya": "50us"}})");
    EXPECT_EQ(response.status, 400U);
    EXPECT_EQ(json::parse(response.body)["details"].size(), 2U);
    EXPECT_EQ(model_.faults_of, "");
}

TEST_F(RoutesTest, patch_of_unknown_port_is_not_found) {
    expect_problem(ask("PATCH", "/v1/ports/p9", R"({"faults": "off"})"), 404);
    EXPECT_EQ(model_.faults_of, "");
}

TEST_F(RoutesTest, capture_is_started_read_stopped_and_ended) {
    const auto started = ask("POST", "/v1/ports/uplink/captures", R"({"snaplen": 128})");
    ASSERT_EQ(started.status, 201U) << started.body;
    EXPECT_EQ(model_.captured_port, "uplink");
    EXPECT_EQ(model_.capture_request.snap_length, 128U);
    const json info = json::parse(started.body);
    EXPECT_EQ(info, json::parse(R"({"id": 7, "running": true, "snaplen": 128, "captured": 0,
                                    "missed": 2, "memory": 1024})"));
    EXPECT_EQ(get("/v1/ports/uplink")["capture"], info);
    const auto piece = ask("GET", "/v1/ports/uplink/captures/7");
    EXPECT_EQ(piece.status, 200U);
    EXPECT_EQ(piece.content_type, "application/octet-stream");
    EXPECT_EQ(piece.body, std::string("packets\0", 8));
    const auto stopped = ask("PATCH", "/v1/ports/uplink/captures/7", R"({"running": false})");
    EXPECT_EQ(stopped.status, 200U);
    EXPECT_EQ(json::parse(stopped.body)["running"], false);
    EXPECT_EQ(ask("GET", "/v1/ports/uplink/captures/7").status, 204U);
    EXPECT_EQ(json::parse(ask("DELETE", "/v1/ports/uplink/captures/7").body)["captured"], 1);
    EXPECT_EQ(get("/v1/ports/uplink")["capture"], nullptr);
}

TEST_F(RoutesTest, second_capture_of_a_port_is_a_conflict) {
    ask("POST", "/v1/ports/uplink/captures", "{}");
    expect_problem(ask("POST", "/v1/ports/uplink/captures", "{}"), 409);
}

TEST_F(RoutesTest, capture_that_is_gone_is_not_found_in_any_way) {
    expect_problem(ask("GET", "/v1/ports/uplink/captures/7"), 404);
    expect_problem(ask("PATCH", "/v1/ports/uplink/captures/7", R"({"running": false})"), 404);
    expect_problem(ask("DELETE", "/v1/ports/uplink/captures/7"), 404);
}

TEST_F(RoutesTest, capture_of_an_unknown_port_is_not_found_and_names_the_known) {
    for (const auto& [method, target] : {std::pair{"POST", "/v1/ports/p9/captures"},
                                         {"GET", "/v1/ports/p9/captures/7"},
                                         {"DELETE", "/v1/ports/p9/captures/7"}}) {
        const auto response = ask(method, target, "{}");
        expect_problem(response, 404);
        EXPECT_THAT(response.body, HasSubstr("uplink"));
    }
}

TEST_F(RoutesTest, capture_with_an_odd_id_or_body_is_refused) {
    ask("POST", "/v1/ports/uplink/captures", "{}");
    expect_problem(ask("GET", "/v1/ports/uplink/captures/7x"), 400);
    expect_problem(ask("GET", "/v1/ports/uplink/captures/4294967296"), 400);
    expect_problem(ask("PATCH", "/v1/ports/uplink/captures/7", R"({"running": true})"), 400);
    EXPECT_TRUE(model_.capture->running);
}

TEST_F(RoutesTest, capture_with_a_wrong_request_does_not_start) {
    expect_problem(ask("POST", "/v1/ports/uplink/captures", R"({"snaplen": 1})"), 400);
    EXPECT_FALSE(model_.capture);
}

TEST_F(RoutesTest, counters_show_service_and_vnics) {
    const json counters = get("/v1/counters");
    EXPECT_EQ(counters["service"][0]["name"], "attaches");
    EXPECT_EQ(counters["service"][1]["kind"], "gauge");
    EXPECT_EQ(counters["vnics"][0]["counters"][0]["value"], 12);
}

TEST_F(RoutesTest, counters_of_one_vnic_leave_out_the_service) {
    EXPECT_TRUE(get("/v1/counters?vnic=a")["service"].empty());
}

TEST_F(RoutesTest, counters_of_unknown_vnic_are_not_found) {
    expect_problem(ask("GET", "/v1/counters?vnic=b"), 404);
}

TEST_F(RoutesTest, metrics_are_prometheus_text) {
    const ApiResponse response = ask("GET", "/metrics");
    EXPECT_EQ(response.status, 200U);
    EXPECT_THAT(response.content_type, HasSubstr("version=0.0.4"));
    EXPECT_THAT(response.body, HasSubstr("vrdma_attaches_total 3"));
    EXPECT_THAT(response.body, HasSubstr("vrdma_vnic_up{vnic=\"a\",network=\"blue\"} 1"));
}

TEST_F(RoutesTest, metrics_with_answers_that_come_later_are_complete) {
    model_.defer = true;
    std::optional<ApiResponse> answer;
    routes_.handle({"GET", "/metrics", ""}, [&](ApiResponse response) { answer = response; });
    for (int i = 0; i < 4; ++i) {
        EXPECT_FALSE(answer);
        model_.run_deferred();
    }
    ASSERT_TRUE(answer);
    EXPECT_THAT(answer->body, HasSubstr("vrdma_attaches_total 3"));
}

TEST_F(RoutesTest, wrong_method_is_refused_with_the_allowed_ones) {
    const ApiResponse response = ask("PUT", "/v1/vnics/a");
    expect_problem(response, 405);
    EXPECT_EQ(response.allow, "GET, DELETE, PATCH");
}

TEST_F(RoutesTest, unknown_query_key_is_refused) {
    const ApiResponse response = ask("GET", "/v1/qps?vnics=a");
    expect_problem(response, 400);
    EXPECT_THAT(response.body, HasSubstr("only vnic, limit"));
    EXPECT_THAT(ask("GET", "/v1/status?x=1").body, HasSubstr("no query"));
}

class OddPath : public RoutesTest, public testing::WithParamInterface<const char*> {};

TEST_P(OddPath, is_not_found) {
    expect_problem(ask("GET", GetParam()), 404);
}

INSTANTIATE_TEST_SUITE_P(Targets, OddPath,
                         testing::Values("/", "", "*", "/v1", "/v2/status", "/v1/status/x",
                                         "/v1/vnics/a/b", "/v1/vnics/", "/v1/vnics/%61",
                                         "/v1/../v1/status", "/v1/mrs/1", "/\xff\xfe"));

}  // namespace
}  // namespace vrdma::control
