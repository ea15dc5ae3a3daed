#include "dataplane/control/vnic_reader.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/control/rejected.h"

namespace vrdma::control {
namespace {

const std::string kBefore = R"([[network]]
name = "blue"
id = 1
[[network]]
name = "green"
id = 2
[[vnic]]
name = "first"
network = "blue"
address = "10.0.0.1"
mac = "02:00:00:00:00:01"
[[vnic]]
)";  // twelve lines
constexpr std::uint32_t kLinesBefore = 12;

tl::expected<Configuration, ConfigurationErrors> parse_after(const std::string& vnic,
                                                             const HostFacts& host = plain_host()) {
    return parse_configuration(kBefore + vnic, "vrdmad.toml", host);
}

const std::string kGood = "name = \"b\"\nnetwork = \"blue\"\naddress = \"10.0.0.2\"\n";

TEST(Vnic, without_optional_keys_gets_the_defaults) {
    const auto result = parse_after(kGood);
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    const VnicConfig& vnic = result->vnics[1];
    EXPECT_EQ(vnic.mac, derived_mac(vnic.address));
    EXPECT_FALSE(vnic.access.owner);
    EXPECT_FALSE(vnic.access.group);
    EXPECT_EQ(vnic.access.mode, 0660U);
    EXPECT_TRUE(vnic.process_memory);
    EXPECT_FALSE(vnic.userfaultfd);
    EXPECT_EQ(vnic.quotas.max_qps, 8192U);
    EXPECT_EQ(vnic.quotas.max_mr_bytes, std::uint64_t{1} << 40);
}

TEST(Vnic, every_key_is_read) {
    const auto result = parse_after(kGood + R"(mac = "02:00:00:00:00:0f"
owner = "root"
group = 4242
mode = "666"
process_memory = false
userfaultfd = true
max_contexts = 1
max_pds = 2
max_mrs = 3
max_cqs = 4
max_qps = 5
max_srqs = 6
max_mr_bytes = "64 GiB"
)",
                                    root_host());
    ASSERT_TRUE(result) << to_string(result.error()[0]);
    const VnicConfig& vnic = result->vnics[1];
    EXPECT_EQ(vnic.name, "b");
    EXPECT_EQ(vnic.network, "blue");
    EXPECT_EQ(to_string(vnic.address), "10.0.0.2");
    EXPECT_EQ(to_string(vnic.mac), "02:00:00:00:00:0f");
    EXPECT_EQ(vnic.access.owner, 0U);
    EXPECT_EQ(vnic.access.group, 4242U);
    EXPECT_EQ(vnic.access.mode, 0666U);
    EXPECT_FALSE(vnic.process_memory);
    EXPECT_TRUE(vnic.userfaultfd);
    EXPECT_EQ(vnic.quotas.max_contexts, 1U);
    EXPECT_EQ(vnic.quotas.max_pds, 2U);
    EXPECT_EQ(vnic.quotas.max_mrs, 3U);
    EXPECT_EQ(vnic.quotas.max_cqs, 4U);
    EXPECT_EQ(vnic.quotas.max_qps, 5U);
    EXPECT_EQ(vnic.quotas.max_srqs, 6U);
    EXPECT_EQ(vnic.quotas.max_mr_bytes, std::uint64_t{64} << 30);
}

TEST(Vnic, same_address_in_another_network_is_accepted) {
    EXPECT_TRUE(
        parse_after("name = \"b\"\nnetwork = \"green\"\naddress = \"10.0.0.1\"\n"
                    "mac = \"02:00:00:00:00:01\"\n"));
}

TEST(Vnic, default_quota_gives_way_to_a_smaller_host_limit) {
    const auto result = parse_after(kGood + "[limits]\nmax_qps = 100\n");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->vnics[1].quotas.max_qps, 100U);
}

struct Reject {
    const char* what;
    std::string text;
    Fault fault;
    const char* key;
    std::uint32_t line;  ///< within the text
};

class RejectedVnic : public testing::TestWithParam<Reject> {};

TEST_P(RejectedVnic, parse_reports_exactly_this_rule) {
    expect_only(parse_after(GetParam().text), GetParam().fault, GetParam().key,
                GetParam().line + kLinesBefore);
}

std::string named(const std::string& name) {
    return "name = " + name + "\nnetwork = \"blue\"\naddress = \"10.0.0.2\"\n";
}
std::string in_network(const std::string& network) {
    return "name = \"b\"\nnetwork = " + network + "\naddress = \"10.0.0.2\"\n";
}
std::string at(const std::string& address) {
    return "name = \"b\"\nnetwork = \"blue\"\naddress = " + address + "\n";
}

const Reject kRejects[] = {
    {"unknown_key", kGood + "adress = 1\n", Fault::kUnknownKey, "vnic[2].adress", 4},
    {"no_name", "network = \"blue\"\naddress = \"10.0.0.2\"\n", Fault::kMissing, "vnic[2].name", 0},
    {"no_network", "name = \"b\"\naddress = \"10.0.0.2\"\n", Fault::kMissing, "vnic[2].network", 0},
    {"no_address", "name = \"b\"\nnetwork = \"blue\"\n", Fault::kMissing, "vnic[2].address", 0},
    {"name_type", named("1"), Fault::kWrongType, "vnic[2].name", 1},
    {"name_empty", named("\"\""), Fault::kMalformed, "vnic[2].name", 1},
    {"name_capital", named("\"B\""), Fault::kMalformed, "vnic[2].name", 1},
    {"name_dash_first", named("\"-b\""), Fault::kMalformed, "vnic[2].name", 1},
    {"name_slash", named("\"a/b\""), Fault::kMalformed, "vnic[2].name", 1},
    {"name_dots", named("\"..\""), Fault::kMalformed, "vnic[2].name", 1},
    {"name_zero_byte", named("\"a\\u0000b\""), Fault::kMalformed, "vnic[2].name", 1},
    {"name_33_long", named("\"" + std::string(33, 'x') + "\""), Fault::kMalformed, "vnic[2].name",
     1},
    {"name_twice", named("\"first\""), Fault::kDuplicate, "vnic[2].name", 1},
    {"network_type", in_network("1"), Fault::kWrongType, "vnic[2].network", 2},
    {"network_unknown", in_network("\"red\""), Fault::kUnknownName, "vnic[2].network", 2},
    {"address_type", at("10"), Fault::kWrongType, "vnic[2].address", 3},
    {"address_form", at("\"10.0.0.2/24\""), Fault::kMalformed, "vnic[2].address", 3},
    {"address_multicast", at("\"224.0.0.1\""), Fault::kOutOfRange, "vnic[2].address", 3},
    {"address_twice", at("\"10.0.0.1\""), Fault::kDuplicate, "vnic[2].address", 3},
    {"mac_type", kGood + "mac = 2\n", Fault::kWrongType, "vnic[2].mac", 4},
    {"mac_form", kGood + "mac = \"02-00-00-00-00-02\"\n", Fault::kMalformed, "vnic[2].mac", 4},
    {"mac_multicast", kGood + "mac = \"01:00:00:00:00:02\"\n", Fault::kOutOfRange, "vnic[2].mac",
     4},
    {"mac_twice", kGood + "mac = \"02:00:00:00:00:01\"\n", Fault::kDuplicate, "vnic[2].mac", 4},
    {"owner_type", kGood + "owner = true\n", Fault::kWrongType, "vnic[2].owner", 4},
    {"owner_unknown", kGood + "owner = \"no such user\"\n", Fault::kUnknownName, "vnic[2].owner",
     4},
    {"owner_no_change", kGood + "owner = 4294967295\n", Fault::kOutOfRange, "vnic[2].owner", 4},
    {"group_unknown", kGood + "group = \"no such group\"\n", Fault::kUnknownName, "vnic[2].group",
     4},
    {"owner_of_another", kGood + "owner = 1001\n", Fault::kInconsistent, "vnic[2].owner", 4},
    {"group_of_others", kGood + "group = 1001\n", Fault::kInconsistent, "vnic[2].group", 4},
    {"group_negative", kGood + "group = -1\n", Fault::kOutOfRange, "vnic[2].group", 4},
    {"mode_type", kGood + "mode = 432\n", Fault::kWrongType, "vnic[2].mode", 4},
    {"mode_form", kGood + "mode = \"rw-rw----\"\n", Fault::kMalformed, "vnic[2].mode", 4},
    {"mode_setuid", kGood + "mode = \"4660\"\n", Fault::kMalformed, "vnic[2].mode", 4},
    {"mode_not_octal", kGood + "mode = \"0680\"\n", Fault::kMalformed, "vnic[2].mode", 4},
    {"process_memory_type", kGood + "process_memory = \"no\"\n", Fault::kWrongType,
     "vnic[2].process_memory", 4},
    {"userfaultfd_type", kGood + "userfaultfd = 1\n", Fault::kWrongType, "vnic[2].userfaultfd", 4},
    {"mode_owner_locked_out", kGood + "mode = \"0060\"\n", Fault::kOutOfRange, "vnic[2].mode", 4},
    {"max_contexts_zero", kGood + "max_contexts = 0\n", Fault::kOutOfRange, "vnic[2].max_contexts",
     4},
    {"max_pds_zero", kGood + "max_pds = 0\n", Fault::kOutOfRange, "vnic[2].max_pds", 4},
    {"max_mrs_zero", kGood + "max_mrs = 0\n", Fault::kOutOfRange, "vnic[2].max_mrs", 4},
    {"max_cqs_zero", kGood + "max_cqs = 0\n", Fault::kOutOfRange, "vnic[2].max_cqs", 4},
    {"max_qps_zero", kGood + "max_qps = 0\n", Fault::kOutOfRange, "vnic[2].max_qps", 4},
    {"max_srqs_zero", kGood + "max_srqs = 0\n", Fault::kOutOfRange, "vnic[2].max_srqs", 4},
    {"max_qps_above_host", kGood + "max_qps = 32769\n", Fault::kInconsistent, "vnic[2].max_qps", 4},
    {"max_mr_bytes_zero", kGood + "max_mr_bytes = 0\n", Fault::kOutOfRange, "vnic[2].max_mr_bytes",
     4},
    {"max_mr_bytes_zero_text", kGood + "max_mr_bytes = \"0 GiB\"\n", Fault::kOutOfRange,
     "vnic[2].max_mr_bytes", 4},
    {"max_mr_bytes_unit", kGood + "max_mr_bytes = \"1 GB\"\n", Fault::kMalformed,
     "vnic[2].max_mr_bytes", 4},
    {"max_mr_bytes_overflow", kGood + "max_mr_bytes = \"16777216 TiB\"\n", Fault::kMalformed,
     "vnic[2].max_mr_bytes", 4},
    {"max_mr_bytes_type", kGood + "max_mr_bytes = true\n", Fault::kWrongType,
     "vnic[2].max_mr_bytes", 4},
};

INSTANTIATE_TEST_SUITE_P(Rules, RejectedVnic, testing::ValuesIn(kRejects),
                         [](const auto& test) { return std::string(test.param.what); });

TEST(Vnic, socket_of_the_services_own_user_and_group_is_accepted) {
    HostFacts host = plain_host();
    host.gids = {1000, 27};
    EXPECT_TRUE(parse_after(kGood + "owner = 1000\ngroup = 27\n", host));
}

TEST(Vnic, socket_of_others_is_refused_to_root_without_the_capability) {
    HostFacts host = root_host();
    host.may_change_owner = false;
    expect_only(parse_after(kGood + "owner = 1000\n", host), Fault::kInconsistent, "vnic[2].owner",
                4 + kLinesBefore);
}

TEST(Vnic, name_of_32_characters_is_accepted) {
    EXPECT_TRUE(parse_after(named("\"" + std::string(32, 'x') + "\"")));
}

TEST(Vnic, unknown_network_near_a_known_one_is_offered_it) {
    const auto result = parse_after(in_network("\"bleu\""));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error()[0].remedy, "did you mean \"blue\"?");
}

TEST(Vnic, network_in_a_configuration_without_any_asks_to_add_one) {
    const auto result = parse_configuration("[[vnic]]\n" + kGood, "vrdmad.toml", plain_host());
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error()[0].remedy, "add a [[network]] with this name");
}

TEST(Vnic, socket_path_beyond_the_kernels_limit_is_refused) {
    const std::string directory = "/" + std::string(79, 'd');
    const std::string text = "[service]\nruntime_dir = \"" + directory +
                             "\"\n[[network]]\nname = \"blue\"\nid = 1\n[[vnic]]\n" +
                             named("\"ninechars\"");
    EXPECT_TRUE(parse_configuration(text, "f", plain_host()));
    const std::string longer = "[service]\nruntime_dir = \"" + directory +
                               "\"\n[[network]]\nname = \"blue\"\nid = 1\n[[vnic]]\n" +
                               named("\"tencharact\"");
    expect_only(parse_configuration(longer, "f", plain_host()), Fault::kOutOfRange, "vnic[1].name",
                7);
}

class VnicRequest : public testing::Test {
  protected:
    VnicRequest() : in_force_(*parse_configuration(kBefore + kGood, "f", plain_host())) {}
    Configuration in_force_;
};

TEST_F(VnicRequest, good_object_gives_the_vnic) {
    const auto vnic = parse_vnic_request(
        R"({"name": "c", "network": "green", "address": "10.0.0.3", "max_qps": 10})", in_force_,
        plain_host());
    ASSERT_TRUE(vnic) << to_string(vnic.error()[0]);
    EXPECT_EQ(vnic->name, "c");
    EXPECT_EQ(vnic->quotas.max_qps, 10U);
}

TEST_F(VnicRequest, text_that_is_not_json_is_refused) {
    expect_only(parse_vnic_request("name=c", in_force_, plain_host()), Fault::kSyntax, "", 0);
}

TEST_F(VnicRequest, name_in_use_is_a_duplicate) {
    expect_only(parse_vnic_request(R"({"name": "b", "network": "green", "address": "10.0.0.3"})",
                                   in_force_, plain_host()),
                Fault::kDuplicate, "name", 0);
}

TEST_F(VnicRequest, number_where_text_is_needed_is_refused) {
    expect_only(parse_vnic_request(R"({"name": "c", "network": "green", "address": 1})", in_force_,
                                   plain_host()),
                Fault::kWrongType, "address", 0);
}

TEST_F(VnicRequest, socket_of_another_user_is_refused_to_an_ordinary_service) {
    expect_only(parse_vnic_request(
                    R"({"name": "c", "network": "green", "address": "10.0.0.3", "owner": 1001})",
                    in_force_, plain_host()),
                Fault::kInconsistent, "owner", 0);
}

}  // namespace
}  // namespace vrdma::control
