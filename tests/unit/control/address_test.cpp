#include "dataplane/control/address.h"

#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

TEST(Ipv4Address, parse_four_numbers_gives_octets_in_order) {
    const auto address = parse_ipv4("10.0.255.1");
    ASSERT_TRUE(address);
    EXPECT_EQ(*address, (Ipv4Address{{10, 0, 255, 1}}));
    EXPECT_EQ(to_string(*address), "10.0.255.1");
}

class MalformedIpv4 : public testing::TestWithParam<const char*> {};

TEST_P(MalformedIpv4, parse_is_refused) {
    EXPECT_FALSE(parse_ipv4(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Texts, MalformedIpv4,
                         testing::Values("", "10", "10.1", "10.0.0", "10.0.0.", ".10.0.0.1",
                                         "10.0.0.1.2", "10.0.0.256", "10.0.0.-1", "10.0.0.1/24",
                                         " 10.0.0.1", "10.0.0.1 ", "10.0..1", "0x0a.0.0.1",
                                         "010.0.0.1", "10.0.0.01", "a.b.c.d", "::1"));

TEST(Ipv4Address, is_host_address_holds_only_for_unicast) {
    EXPECT_TRUE(is_host_address(Ipv4Address{{10, 0, 0, 0}}));
    EXPECT_TRUE(is_host_address(Ipv4Address{{223, 255, 255, 255}}));
    EXPECT_FALSE(is_host_address(Ipv4Address{{0, 0, 0, 1}}));
    EXPECT_FALSE(is_host_address(Ipv4Address{{127, 0, 0, 1}}));
    EXPECT_FALSE(is_host_address(Ipv4Address{{224, 0, 0, 1}}));
    EXPECT_FALSE(is_host_address(Ipv4Address{{255, 255, 255, 255}}));
}

TEST(MacAddress, parse_six_pairs_gives_octets_in_order) {
    const auto mac = parse_mac("02:ab:CD:00:0f:ff");
    ASSERT_TRUE(mac);
    EXPECT_EQ(*mac, (MacAddress{{0x02, 0xab, 0xcd, 0x00, 0x0f, 0xff}}));
    EXPECT_EQ(to_string(*mac), "02:ab:cd:00:0f:ff");
}

class MalformedMac : public testing::TestWithParam<const char*> {};

TEST_P(MalformedMac, parse_is_refused) {
    EXPECT_FALSE(parse_mac(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Texts, MalformedMac,
                         testing::Values("", "02:00:00:00:00", "02:00:00:00:00:0",
                                         "02:00:00:00:00:01:", "02-00-00-00-00-01",
                                         "02:00:00:00:00:0g", "2:0:0:0:0:1", "020000000001",
                                         "02:00:00:00:0:001", "+2:00:00:00:00:01"));

TEST(MacAddress, is_host_address_refuses_multicast_and_zero) {
    EXPECT_TRUE(is_host_address(MacAddress{{0x02, 0, 0, 0, 0, 1}}));
    EXPECT_FALSE(is_host_address(MacAddress{{0x01, 0, 0x5e, 0, 0, 1}}));
    EXPECT_FALSE(is_host_address(MacAddress{}));
}

TEST(MacAddress, derived_mac_is_local_unicast_and_differs_by_address) {
    const MacAddress one = derived_mac(Ipv4Address{{10, 0, 0, 1}});
    const MacAddress two = derived_mac(Ipv4Address{{10, 0, 0, 2}});
    EXPECT_NE(one, two);
    EXPECT_TRUE(is_host_address(one));
    EXPECT_NE(one.octets[0] & 2, 0);
}

TEST(Guid, equal_addresses_in_two_networks_give_two_guids) {
    const Ipv4Address address{{10, 0, 0, 1}};
    EXPECT_NE(node_guid(10, address), node_guid(11, address));
    EXPECT_NE(node_guid(1, address), node_guid(1 << 16, address));
}

TEST(Guid, two_addresses_in_one_network_give_two_guids) {
    EXPECT_NE(node_guid(10, {{10, 0, 0, 1}}), node_guid(10, {{10, 0, 0, 2}}));
    EXPECT_NE(node_guid(10, {{10, 0, 0, 1}}), node_guid(10, {{11, 0, 0, 1}}));
}

TEST(Guid, holds_network_and_address_and_is_locally_administered) {
    EXPECT_EQ(node_guid(0xabcdef, {{10, 1, 2, 3}}), (Guid{{0x02, 0xab, 0xcd, 0xef, 10, 1, 2, 3}}));
}

TEST(Gid, to_string_writes_eight_groups) {
    Gid gid;
    gid.octets = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x76, 0x0a, 0xff, 0xfe, 0, 0, 1};
    EXPECT_EQ(to_string(gid), "fe80:0000:0000:0000:0076:0aff:fe00:0001");
}

}  // namespace
}  // namespace vrdma::control
