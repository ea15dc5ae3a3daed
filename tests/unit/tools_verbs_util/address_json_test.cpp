#include "tools/verbs_util/address_json.h"

#include <gtest/gtest.h>

#include <cstring>

namespace vrdma::verbs_util {
namespace {

QueuePairAddress example() {
    QueuePairAddress address;
    address.qpn = 0xabcdef;
    address.psn = 0x123456;
    address.qkey = 0x7fffffff;
    address.lid = 0xffff;
    address.mtu = IBV_MTU_4096;
    address.rd_atomic = 16;
    for (std::size_t i = 0; i < sizeof address.gid.raw; ++i) {
        address.gid.raw[i] = static_cast<std::uint8_t>(0xf0 + i);
    }
    return address;
}

TEST(AddressJson, complete_address_round_trips) {
    const auto read = address_from_json(address_to_json(example()));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->qpn, example().qpn);
    EXPECT_EQ(read->psn, example().psn);
    EXPECT_EQ(read->qkey, example().qkey);
    EXPECT_EQ(read->lid, example().lid);
    EXPECT_EQ(read->mtu, example().mtu);
    EXPECT_EQ(read->rd_atomic, example().rd_atomic);
    EXPECT_EQ(std::memcmp(read->gid.raw, example().gid.raw, sizeof read->gid.raw), 0);
}

class AddressField : public testing::TestWithParam<const char*> {};

TEST_P(AddressField, missing_is_refused_by_name) {
    auto json = address_to_json(example());
    json.erase(GetParam());
    const auto read = address_from_json(json);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind, ErrorKind::kPartner);
    EXPECT_NE(read.error().what.find(GetParam()), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Each, AddressField,
                         testing::Values("qpn", "psn", "qkey", "lid", "mtu", "rd_atomic", "gid"));

TEST(AddressJson, qpn_of_25_bits_is_refused) {
    auto json = address_to_json(example());
    json["qpn"] = 0x1000000;
    EXPECT_FALSE(address_from_json(json));
}

TEST(AddressJson, negative_number_is_refused) {
    auto json = address_to_json(example());
    json["psn"] = -1;
    EXPECT_FALSE(address_from_json(json));
}

TEST(AddressJson, gid_of_wrong_length_is_refused) {
    auto json = address_to_json(example());
    json["gid"] = "ff";
    EXPECT_FALSE(address_from_json(json));
}

TEST(AddressJson, gid_with_other_characters_is_refused) {
    auto json = address_to_json(example());
    json["gid"] = std::string(32, 'g');
    EXPECT_FALSE(address_from_json(json));
}

}  // namespace
}  // namespace vrdma::verbs_util
