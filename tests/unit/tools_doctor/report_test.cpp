#include "tools/vrdma-doctor/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/unit/tools_doctor/healthy.h"
#include "tools/vrdma-doctor/judge.h"

namespace vrdma::doctor {
namespace {

TEST(as_text, finding_has_its_level_id_and_remedy) {
    const std::string text = as_text(
        {{.id = "port-down", .level = Level::error, .text = "it is down", .remedy = "ask"}});
    EXPECT_NE(text.find("error    port-down: it is down\n"), std::string::npos);
    EXPECT_NE(text.find("-> ask\n"), std::string::npos);
    EXPECT_NE(text.find("errors above"), std::string::npos);
}

TEST(as_text, healthy_machine_fits_on_a_screen) {
    const std::string text = as_text(judge(healthy()));
    EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 24);
    EXPECT_NE(text.find("uses vRDMA\n"), std::string::npos);
}

TEST(as_json, document_has_findings_and_facts) {
    const Facts facts = healthy();
    const auto document = nlohmann::json::parse(as_json(facts, judge(facts)));
    EXPECT_EQ(document.at("exit_code"), 0);
    EXPECT_EQ(document.at("findings").at(0).at("id"), "libibverbs");
    EXPECT_EQ(document.at("devices").at(0).at("gids").at(1).at("gid"), "::ffff:10.0.0.1");
    EXPECT_EQ(document.at("memory").at("private").at("kind"), "adopted");
    EXPECT_EQ(document.at("transfer").at("microseconds"), 3);
}

TEST(as_json, text_that_is_not_utf_8_still_parses) {
    Facts facts = healthy();
    facts.settings["UCX_TLS"] = {.value = "tcp\xff", .where = "the environment"};
    const auto document = nlohmann::json::parse(as_json(facts, judge(facts)));
    EXPECT_EQ(document.at("exit_code"), 2);
}

}  // namespace
}  // namespace vrdma::doctor
