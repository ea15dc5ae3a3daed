// What an operator can configure or see is in docs/operations.md and in the example configuration.

#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataplane/control/capture_reader.h"
#include "dataplane/control/configuration.h"
#include "dataplane/control/fault_reader.h"
#include "dataplane/control/reason.h"
#include "dataplane/device/counters.h"
#include "driver/abi/status.h"
#include "tests/unit/control/rejected.h"

namespace vrdma::control {
namespace {

using testing::HasSubstr;

std::string read(const std::string& path) {
    std::ifstream file(std::string(VRDMA_SOURCE_DIR "/") + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The keys that a table of the configuration knows, from the error about one that it does not
/// know.
std::vector<std::string> known_keys(const std::string& table) {
    const auto result = parse_configuration(table + "\nno_such_key = 1\n", "f", plain_host());
    for (const ConfigurationError& error : result.error()) {
        if (error.fault == Fault::kUnknownKey) {
            const std::regex word("[a-z_]+");
            const std::string list = error.expected.substr(std::string("one of ").size());
            return {std::sregex_token_iterator(list.begin(), list.end(), word), {}};
        }
    }
    return {};
}

TEST(OperationsManual, every_configuration_key_has_a_row_and_is_in_the_example) {
    const std::string manual = read("docs/operations.md");
    const std::string example = read("dataplane/app/vrdmad.toml.example");
    for (const char* const table :
         {"[service]", "[limits]", "[[network]]", "[[vnic]]", "[[port]]"}) {
        const auto keys = known_keys(table);
        EXPECT_FALSE(keys.empty()) << table;
        EXPECT_THAT(example, HasSubstr(table));
        for (const std::string& key : keys) {
            EXPECT_THAT(manual, HasSubstr("\n| `" + key + "` | ")) << table;
            EXPECT_THAT(example, HasSubstr(key + " = ")) << table;
        }
    }
}

TEST(OperationsManual, every_key_of_a_fault_has_a_row_and_is_in_the_manual_page) {
    const std::string manual = read("docs/operations.md");
    const std::string page = read("tools/vrdmactl/vrdmactl.1");
    const auto result = parse_fault_request(R"({"faults": {"no_such_key": 1}})");
    ASSERT_FALSE(result);
    const std::string list = result.error()[0].expected.substr(std::string("one of ").size());
    const std::regex word("[a-z_]+");
    const std::vector<std::string> keys{std::sregex_token_iterator(list.begin(), list.end(), word),
                                        {}};
    EXPECT_GE(keys.size(), 10U) << list;
    for (const std::string& key : keys) {
        EXPECT_THAT(manual, HasSubstr("\n| `" + key + "` | "));
        EXPECT_THAT(page, HasSubstr(key + "="));
    }
}

TEST(OperationsManual, every_key_of_a_capture_is_in_the_manual_and_an_option_of_the_tool) {
    const std::string manual = read("docs/operations.md");
    const std::string page = read("tools/vrdmactl/vrdmactl.1");
    const auto result = parse_capture_request(R"({"no_such_key": 1})");
    ASSERT_FALSE(result);
    const std::string list = result.error()[0].expected.substr(std::string("one of ").size());
    const std::regex word("[a-z_]+");
    const std::vector<std::string> keys{std::sregex_token_iterator(list.begin(), list.end(), word),
                                        {}};
    EXPECT_GE(keys.size(), 4U) << list;
    for (const std::string& key : keys) {
        EXPECT_THAT(manual, HasSubstr("`--" + key + " "));
        EXPECT_THAT(page, HasSubstr("\\-\\-" + key));
    }
}

TEST(OperationsManual, every_counter_has_a_row) {
    const std::string manual = read("docs/operations.md");
    for (std::size_t i = 0; i < kCounterCount; ++i) {
        const CounterText text = counter_text(static_cast<vrdma::Counter>(i));
        EXPECT_THAT(manual, HasSubstr("\n| `" + std::string(text.name) + "` | "));
    }
}

TEST(OperationsManual, every_reason_has_a_row_with_its_number_and_texts) {
    const std::string manual = read("docs/operations.md");
    for (std::uint32_t reason = 1; reason < VRDMA_REASON_COUNT; ++reason) {
        const ReasonText text = reason_text(reason);
        if (text.name != "unknown") {
            EXPECT_THAT(manual,
                        HasSubstr("\n| " + std::to_string(reason) + " | `failed_" +
                                  std::string(text.name) + "` | " + std::string(text.meaning) +
                                  " | " + std::string(text.remedy) + " |\n"));
        }
    }
}

TEST(OperationsManual, reasons_are_called_alike_by_the_device_and_the_api) {
    for (std::uint32_t reason = 0; reason < VRDMA_REASON_COUNT; ++reason) {
        EXPECT_EQ(vrdma::reason_text(static_cast<vrdma_reason>(reason)).name,
                  reason_text(reason).name);
    }
}

TEST(OperationsManual, example_configuration_is_accepted) {
    const auto result =
        parse_configuration(read("dataplane/app/vrdmad.toml.example"), "example", plain_host());
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    EXPECT_EQ(result->vnics.size(), 2U);
}

TEST(OperationsManual, example_with_every_default_written_out_is_accepted_and_changes_nothing) {
    HostFacts host = plain_host();
    host.uid = 0;
    host.may_change_owner = true;
    const std::string example = read("dataplane/app/vrdmad.toml.example");
    const std::string complete = std::regex_replace(example, std::regex("# ([a-z_]+ = )"), "$1");
    ASSERT_NE(complete, example);
    const auto result = parse_configuration(complete, "example", host);
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    const auto defaults = parse_configuration(example, "example", host);
    EXPECT_EQ(result->service.runtime_dir, defaults->service.runtime_dir);
    EXPECT_EQ(result->service.workers, defaults->service.workers);
    EXPECT_EQ(result->service.idle_spin, defaults->service.idle_spin);
    EXPECT_EQ(result->service.memory_mb, defaults->service.memory_mb);
    EXPECT_EQ(result->limits.max_vnics, defaults->limits.max_vnics);
    EXPECT_EQ(result->limits.max_contexts, defaults->limits.max_contexts);
    EXPECT_EQ(result->limits.max_mrs, defaults->limits.max_mrs);
    EXPECT_EQ(result->limits.max_qps, defaults->limits.max_qps);
    EXPECT_EQ(result->vnics[0].mac, defaults->vnics[0].mac);
    EXPECT_EQ(result->vnics[0].access.mode, defaults->vnics[0].access.mode);
    EXPECT_EQ(result->vnics[0].quotas.max_qps, defaults->vnics[0].quotas.max_qps);
    EXPECT_EQ(result->vnics[0].quotas.max_mr_bytes, defaults->vnics[0].quotas.max_mr_bytes);
}

}  // namespace
}  // namespace vrdma::control
