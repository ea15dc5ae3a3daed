#include "dataplane/net/local_addresses.h"

#include <array>

#include <gtest/gtest.h>

namespace vrdma::net {
namespace {

using wire::Address;

TEST(LocalAddresses, empty_finds_nothing) {
    EXPECT_FALSE(LocalAddresses().find(Address::v4(10, 0, 0, 1)));
}

TEST(LocalAddresses, each_address_finds_its_vnic_and_others_nothing) {
    LocalAddresses addresses;
    addresses.set(std::array{LocalAddress{Address::v4(10, 0, 0, 2), 5},
                             LocalAddress{Address::v4(10, 0, 0, 1), 7},
                             LocalAddress{Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1}}, 7}});
    EXPECT_EQ(addresses.find(Address::v4(10, 0, 0, 1)), 7U);
    EXPECT_EQ(addresses.find(Address::v4(10, 0, 0, 2)), 5U);
    EXPECT_EQ(addresses.find(Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1}}), 7U);
    EXPECT_FALSE(addresses.find(Address::v4(10, 0, 0, 3)));
    EXPECT_FALSE(addresses.find(Address{}));
}

TEST(LocalAddresses, set_again_forgets_the_old_ones) {
    LocalAddresses addresses;
    addresses.set(std::array{LocalAddress{Address::v4(10, 0, 0, 1), 1}});
    addresses.set(std::array{LocalAddress{Address::v4(10, 0, 0, 2), 2}});
    EXPECT_FALSE(addresses.find(Address::v4(10, 0, 0, 1)));
    EXPECT_EQ(addresses.all().size(), 1U);
}

}  // namespace
}  // namespace vrdma::net
