#include "dataplane/control/configuration.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/control/rejected.h"

namespace vrdma::control {
namespace {

using testing::HasSubstr;

tl::expected<Configuration, ConfigurationErrors> parse(const std::string& text,
                                                       const HostFacts& host = plain_host()) {
    return parse_configuration(text, "vrdmad.toml", host);
}

const char* const kEverything = R"(
[service]
runtime_dir = "/run/other/"
workers = 2
mode = "dedicated"
cpus = [2, 3]
idle_spin_us = 0
placement = "network"
system_view = false
log_level = "warning"
hugepages = "require"
memory_mb = 128

[limits]
max_vnics = 10
max_contexts = 11
max_pds = 12
max_mrs = 13
max_cqs = 14
max_qps = 65536
max_srqs = 16

[[network]]
name = "blue"
id = 16777215
[[network]]
name = "green"
id = 1

[[vnic]]
name = "a"
network = "blue"
address = "10.0.0.1"
[[vnic]]
name = "b"
network = "green"
address = "10.0.0.1"
mac = "02:00:00:00:00:01"
)";

TEST(Configuration, empty_file_gives_the_documented_defaults) {
    const auto result = parse("");
    ASSERT_TRUE(result);
    const ServiceConfig& service = result->service;
    EXPECT_EQ(service.runtime_dir, "/run/user/1000/vrdma");
    EXPECT_EQ(service.workers, 1U);
    EXPECT_EQ(service.mode, WorkerMode::kAdaptive);
    EXPECT_TRUE(service.cpus.empty());
    EXPECT_EQ(service.idle_spin.count(), 50);
    EXPECT_EQ(service.placement, Placement::kSpread);
    EXPECT_EQ(service.system_view, SystemView::kAuto);
    EXPECT_EQ(service.log_level, LogLevel::kInfo);
    EXPECT_EQ(service.hugepages, Hugepages::kAuto);
    EXPECT_EQ(service.memory_mb, 64U);
    EXPECT_EQ(result->limits.max_qps, 32768U);
    EXPECT_TRUE(result->networks.empty());
    EXPECT_TRUE(result->vnics.empty());
}

TEST(Configuration, default_configuration_equals_that_of_an_empty_file) {
    EXPECT_EQ(default_configuration(plain_host()).service.runtime_dir,
              parse("")->service.runtime_dir);
}

TEST(Configuration, every_key_is_read) {
    const auto result = parse(kEverything);
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    const ServiceConfig& service = result->service;
    EXPECT_EQ(service.runtime_dir, "/run/other");
    EXPECT_EQ(service.workers, 2U);
    EXPECT_EQ(service.mode, WorkerMode::kDedicated);
    EXPECT_EQ(service.cpus, (std::vector<std::uint32_t>{2, 3}));
    EXPECT_EQ(service.idle_spin.count(), 0);
    EXPECT_EQ(service.placement, Placement::kNetwork);
    EXPECT_EQ(service.system_view, SystemView::kOff);
    EXPECT_EQ(service.log_level, LogLevel::kWarning);
    EXPECT_EQ(service.hugepages, Hugepages::kRequire);
    EXPECT_EQ(service.memory_mb, 128U);
    EXPECT_EQ(result->limits.max_vnics, 10U);
    EXPECT_EQ(result->limits.max_contexts, 11U);
    EXPECT_EQ(result->limits.max_pds, 12U);
    EXPECT_EQ(result->limits.max_mrs, 13U);
    EXPECT_EQ(result->limits.max_cqs, 14U);
    EXPECT_EQ(result->limits.max_qps, 65536U);
    EXPECT_EQ(result->limits.max_srqs, 16U);
    ASSERT_EQ(result->networks.size(), 2U);
    EXPECT_EQ(result->find_network("blue")->id, kMaxNetworkId);
    ASSERT_EQ(result->vnics.size(), 2U);
    EXPECT_EQ(result->find_vnic("b")->network, "green");
    EXPECT_EQ(result->find_vnic("c"), nullptr);
    EXPECT_EQ(result->find_network("red"), nullptr);
}

TEST(Configuration, system_view_as_root_may_be_true) {
    HostFacts host = plain_host();
    host.uid = 0;
    const auto result = parse("[service]\nsystem_view = true\n", host);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->service.system_view, SystemView::kOn);
    EXPECT_EQ(result->service.runtime_dir, "/run/vrdma");
}

struct Reject {
    const char* what;
    const char* text;
    Fault fault;
    const char* key;
    std::uint32_t line;
};

class RejectedConfiguration : public testing::TestWithParam<Reject> {};

TEST_P(RejectedConfiguration, parse_reports_exactly_this_rule) {
    expect_only(parse(GetParam().text), GetParam().fault, GetParam().key, GetParam().line);
}

const Reject kRejects[] = {
    {"syntax", "[service\n", Fault::kSyntax, "", 1},
    {"unknown_section", "[sevice]\nworkers = 1\n", Fault::kUnknownKey, "sevice", 1},
    {"unknown_service_key", "[service]\nworker = 1\n", Fault::kUnknownKey, "service.worker", 2},
    {"unknown_limit", "[limits]\nmax_qp = 1\n", Fault::kUnknownKey, "limits.max_qp", 2},
    {"unknown_network_key", "[[network]]\nname = \"a\"\nid = 1\nvlan = 1\n", Fault::kUnknownKey,
     "network[1].vlan", 4},
    {"service_not_a_table", "service = 1\n", Fault::kWrongType, "service", 1},
    {"service_as_array", "[[service]]\nworkers = 1\n", Fault::kWrongType, "service", 1},
    {"limits_not_a_table", "limits = true\n", Fault::kWrongType, "limits", 1},
    {"network_as_table", "\n[network]\nname = \"a\"\n", Fault::kWrongType, "network", 2},
    {"vnic_as_table", "[vnic]\nname = \"a\"\n", Fault::kWrongType, "vnic", 1},
    {"vnic_array_of_numbers", "vnic = [1]\n", Fault::kWrongType, "vnic", 1},
    {"runtime_dir_type", "[service]\nruntime_dir = 1\n", Fault::kWrongType, "service.runtime_dir",
     2},
    {"runtime_dir_relative", "[service]\nruntime_dir = \"run\"\n", Fault::kMalformed,
     "service.runtime_dir", 2},
    {"runtime_dir_root", "[service]\nruntime_dir = \"//\"\n", Fault::kMalformed,
     "service.runtime_dir", 2},
    {"runtime_dir_dots", "[service]\nruntime_dir = \"/run/..\"\n", Fault::kMalformed,
     "service.runtime_dir", 2},
    {"runtime_dir_long",
     "[service]\nruntime_dir = \"/2345678901234567890123456789012345678901234567890123456789012345"
     "67890123456789012\"\n",
     Fault::kOutOfRange, "service.runtime_dir", 2},
    {"workers_type", "[service]\nworkers = \"2\"\n", Fault::kWrongType, "service.workers", 2},
    {"workers_fraction", "[service]\nworkers = 1.5\n", Fault::kWrongType, "service.workers", 2},
    {"workers_zero", "[service]\nworkers = 0\n", Fault::kOutOfRange, "service.workers", 2},
    {"workers_negative", "[service]\nworkers = -1\n", Fault::kOutOfRange, "service.workers", 2},
    {"workers_many", "[service]\nworkers = 65\n", Fault::kOutOfRange, "service.workers", 2},
    {"workers_starved", "[service]\nworkers = 5\nmode = \"dedicated\"\n", Fault::kInconsistent,
     "service.workers", 2},
    {"mode_unknown", "[service]\nmode = \"adaptiv\"\n", Fault::kUnknownChoice, "service.mode", 2},
    {"mode_type", "[service]\nmode = true\n", Fault::kWrongType, "service.mode", 2},
    {"cpus_type", "[service]\ncpus = 1\n", Fault::kWrongType, "service.cpus", 2},
    {"cpus_item_type", "[service]\ncpus = [\"1\"]\n", Fault::kWrongType, "service.cpus", 2},
    {"cpus_item_range", "[service]\ncpus = [1024]\n", Fault::kOutOfRange, "service.cpus", 2},
    {"cpus_negative", "[service]\ncpus = [-1]\n", Fault::kOutOfRange, "service.cpus", 2},
    {"cpus_too_many", "[service]\ncpus = [0, 1]\n", Fault::kInconsistent, "service.cpus", 2},
    {"cpus_too_few", "[service]\nworkers = 2\ncpus = [1]\n", Fault::kInconsistent, "service.cpus",
     3},
    {"cpus_twice", "[service]\nworkers = 2\ncpus = [1, 1]\n", Fault::kDuplicate, "service.cpus", 3},
    {"cpus_not_allowed", "[service]\ncpus = [9]\n", Fault::kInconsistent, "service.cpus", 2},
    {"idle_spin_type", "[service]\nidle_spin_us = \"1\"\n", Fault::kWrongType,
     "service.idle_spin_us", 2},
    {"idle_spin_long", "[service]\nidle_spin_us = 1000001\n", Fault::kOutOfRange,
     "service.idle_spin_us", 2},
    {"placement_unknown", "[service]\nplacement = \"tenant\"\n", Fault::kUnknownChoice,
     "service.placement", 2},
    {"system_view_word", "[service]\nsystem_view = \"yes\"\n", Fault::kUnknownChoice,
     "service.system_view", 2},
    {"system_view_type", "[service]\nsystem_view = 1\n", Fault::kWrongType, "service.system_view",
     2},
    {"system_view_not_root", "[service]\nsystem_view = true\n", Fault::kInconsistent,
     "service.system_view", 2},
    {"log_level_unknown", "[service]\nlog_level = \"loud\"\n", Fault::kUnknownChoice,
     "service.log_level", 2},
    {"hugepages_unknown", "[service]\nhugepages = \"2M\"\n", Fault::kUnknownChoice,
     "service.hugepages", 2},
    {"memory_little", "[service]\nmemory_mb = 15\n", Fault::kOutOfRange, "service.memory_mb", 2},
    {"memory_much", "[service]\nmemory_mb = 1048577\n", Fault::kOutOfRange, "service.memory_mb", 2},
    {"max_vnics", "[limits]\nmax_vnics = 1025\n", Fault::kOutOfRange, "limits.max_vnics", 2},
    {"max_contexts", "[limits]\nmax_contexts = 4097\n", Fault::kOutOfRange, "limits.max_contexts",
     2},
    {"max_pds", "[limits]\nmax_pds = 0\n", Fault::kOutOfRange, "limits.max_pds", 2},
    {"max_mrs", "[limits]\nmax_mrs = 4194305\n", Fault::kOutOfRange, "limits.max_mrs", 2},
    {"max_cqs", "[limits]\nmax_cqs = 65537\n", Fault::kOutOfRange, "limits.max_cqs", 2},
    {"max_qps", "[limits]\nmax_qps = 65537\n", Fault::kOutOfRange, "limits.max_qps", 2},
    {"max_srqs", "[limits]\nmax_srqs = 65537\n", Fault::kOutOfRange, "limits.max_srqs", 2},
    {"network_without_name", "[[network]]\nid = 1\n", Fault::kMissing, "network[1].name", 1},
    {"network_without_id", "[[network]]\nname = \"a\"\n", Fault::kMissing, "network[1].id", 1},
    {"network_name_type", "[[network]]\nname = 1\nid = 1\n", Fault::kWrongType, "network[1].name",
     2},
    {"network_name_form", "[[network]]\nname = \"A\"\nid = 1\n", Fault::kMalformed,
     "network[1].name", 2},
    {"network_id_zero", "[[network]]\nname = \"a\"\nid = 0\n", Fault::kOutOfRange, "network[1].id",
     3},
    {"network_id_25_bits", "[[network]]\nname = \"a\"\nid = 16777216\n", Fault::kOutOfRange,
     "network[1].id", 3},
    {"network_name_twice", "[[network]]\nname = \"a\"\nid = 1\n[[network]]\nname = \"a\"\nid = 2\n",
     Fault::kDuplicate, "network[2].name", 5},
    {"network_id_twice", "[[network]]\nname = \"a\"\nid = 1\n[[network]]\nname = \"b\"\nid = 1\n",
     Fault::kDuplicate, "network[2].id", 6},
    {"too_many_vnics", "vnic = [{}, {}]\n[limits]\nmax_vnics = 1\n", Fault::kOutOfRange, "vnic", 1},
};

INSTANTIATE_TEST_SUITE_P(Rules, RejectedConfiguration, testing::ValuesIn(kRejects),
                         [](const auto& test) { return std::string(test.param.what); });

TEST(Configuration, too_many_networks_are_refused) {
    std::string text;
    for (std::uint32_t i = 1; i <= kMaxNetworks + 1; ++i) {
        text +=
            "[[network]]\nname = \"n" + std::to_string(i) + "\"\nid = " + std::to_string(i) + "\n";
    }
    expect_only(parse(text), Fault::kOutOfRange, "network", 1);
}

TEST(Configuration, several_errors_are_all_reported_in_order_of_lines) {
    const auto result = parse(R"([[vnic]]
name = "A"
network = "nowhere"
address = "10.0.0"
[service]
workers = 0
mode = "x"
)");
    ASSERT_FALSE(result);
    std::vector<std::uint32_t> lines;
    for (const auto& error : result.error()) {
        lines.push_back(error.line);
    }
    EXPECT_THAT(lines, testing::ElementsAre(2, 3, 4, 6, 7));
}

TEST(Configuration, unknown_key_near_a_known_one_is_offered_it) {
    const auto result = parse("[service]\nwokers = 1\n");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error()[0].remedy, "did you mean \"workers\"?");
}

TEST(Configuration, unknown_key_far_from_all_gets_the_list) {
    const auto result = parse("[limits]\nzzzzzzzzzzzz = 1\n");
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error()[0].remedy, HasSubstr("use one of: max_vnics, max_contexts"));
}

TEST(Configuration, error_text_has_place_found_expected_and_remedy) {
    const auto result = parse("[service]\nworkers = 99\n");
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error()[0]),
              "vrdmad.toml:2: service.workers: found the number 99, expected a whole number from 1 "
              "to 64; choose a number in this range or remove the key to get the default");
}

TEST(Configuration, host_with_unknown_cpus_accepts_any_list) {
    HostFacts host = plain_host();
    host.cpus.clear();
    EXPECT_TRUE(parse("[service]\ncpus = [1000]\n", host));
}

TEST(Configuration, host_facts_name_this_user_and_its_cpus) {
    const HostFacts facts = host_facts();
    EXPECT_EQ(facts.uid, ::geteuid());
    EXPECT_FALSE(facts.cpus.empty());
}

class ConfigurationFile : public testing::Test {
  protected:
    ConfigurationFile() {
        std::string name = testing::TempDir() + "vrdma-configuration-XXXXXX";
        directory_ = ::mkdtemp(name.data());
    }
    ~ConfigurationFile() override { std::filesystem::remove_all(directory_); }

    std::string write(const std::string& text) const {
        const std::string path = directory_ / "vrdmad.toml";
        std::ofstream(path, std::ios::binary) << text;
        return path;
    }

    std::filesystem::path directory_;
};

TEST_F(ConfigurationFile, load_good_file_gives_its_configuration) {
    const auto result = load_configuration(write("[service]\nidle_spin_us = 7\n"));
    ASSERT_TRUE(result);
    EXPECT_EQ(result->service.idle_spin.count(), 7);
}

TEST_F(ConfigurationFile, load_missing_file_is_refused) {
    expect_only(load_configuration(directory_ / "none"), Fault::kUnreadable, "", 0);
}

TEST_F(ConfigurationFile, load_directory_is_refused) {
    expect_only(load_configuration(directory_), Fault::kUnreadable, "", 0);
}

TEST_F(ConfigurationFile, load_of_too_large_file_is_refused) {
    const std::string path = write(std::string(kMaxConfigurationBytes + 1, '#'));
    expect_only(load_configuration(path), Fault::kUnreadable, "", 0);
}

TEST_F(ConfigurationFile, load_of_largest_file_is_accepted) {
    EXPECT_TRUE(load_configuration(write(std::string(kMaxConfigurationBytes, '#'))));
}

}  // namespace
}  // namespace vrdma::control
