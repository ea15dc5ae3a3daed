#include "verbs/cm_address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>

namespace vrdma::verbs {
namespace {

sockaddr_in v4(const char* text, std::uint16_t port = 0) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    EXPECT_EQ(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return address;
}

sockaddr_in6 v6(const char* text, std::uint16_t port = 0) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    EXPECT_EQ(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return address;
}

TEST(CmAddress, ipv4_is_read_as_a_gid_and_written_back) {
    const sockaddr_in given = v4("10.0.0.7", 7174);
    const auto address = CmAddress::read(&given);
    ASSERT_TRUE(address);
    EXPECT_EQ(address->gid[10], 0xff);
    EXPECT_EQ(address->gid[15], 7);
    EXPECT_EQ(address->port, 7174);
    EXPECT_FALSE(address->any || address->loopback || address->multicast());
    const sockaddr_in6 written = address->write();
    EXPECT_EQ(0, std::memcmp(&written, &given, sizeof given));
}

TEST(CmAddress, mapped_ipv4_keeps_the_form_of_the_program) {
    const sockaddr_in6 given = v6("::ffff:10.0.0.7", 7174);
    const auto address = CmAddress::read(&given);
    ASSERT_TRUE(address);
    EXPECT_EQ(address->gid[15], 7);
    const sockaddr_in6 written = address->write();
    EXPECT_EQ(0, std::memcmp(&written, &given, sizeof given));
}

TEST(CmAddress, ipv6_that_is_not_ipv4_is_refused) {
    const sockaddr_in6 given = v6("fd00::7");
    EXPECT_FALSE(CmAddress::read(&given));
}

TEST(CmAddress, other_family_is_refused) {
    sockaddr_in6 given{};
    given.sin6_family = 27;  // AF_IB
    EXPECT_FALSE(CmAddress::read(&given));
}

TEST(CmAddress, wildcard_loopback_and_multicast_are_told_apart) {
    const sockaddr_in any = v4("0.0.0.0");
    const sockaddr_in6 any6 = v6("::");
    const sockaddr_in loopback = v4("127.0.0.1");
    const sockaddr_in6 loopback6 = v6("::1");
    const sockaddr_in group = v4("239.1.2.3");
    EXPECT_TRUE(CmAddress::read(&any)->any);
    EXPECT_TRUE(CmAddress::read(&any6)->any);
    EXPECT_TRUE(CmAddress::read(&loopback)->loopback);
    EXPECT_TRUE(CmAddress::read(&loopback6)->loopback);
    EXPECT_TRUE(CmAddress::read(&group)->multicast());
    EXPECT_FALSE(CmAddress::read(&loopback6)->multicast());
}

}  // namespace
}  // namespace vrdma::verbs
