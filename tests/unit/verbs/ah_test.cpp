#include "verbs/ah.h"

#include <cerrno>

#include "tests/unit/verbs/provider_fixture.h"

namespace vrdma::verbs {
namespace {

class AhTest : public ProviderTest {
  protected:
    AhTest() {
        attr_.is_global = 1;
        attr_.port_num = 1;
        attr_.grh.sgid_index = 3;
    }
    int refused() {
        errno = 0;
        return ibv_create_ah(pd_, &attr_) == nullptr ? errno : 0;
    }
    ibv_ah_attr attr_{};
};

TEST_F(AhTest, create_keeps_the_address) {
    attr_.grh.dgid.raw[15] = 9;
    attr_.grh.flow_label = 0xfff12345;
    attr_.grh.hop_limit = 64;
    attr_.grh.traffic_class = 0x88;
    attr_.sl = 3;
    ibv_ah* ah = ibv_create_ah(pd_, &attr_);
    ASSERT_NE(ah, nullptr);
    const UdAddress& address = Ah::of(ah)->address;
    EXPECT_EQ(address.remote_gid[15], 9);
    EXPECT_EQ(address.flow_label, 0x12345U) << "20 bits";
    EXPECT_EQ(address.sgid_index, 3);
    EXPECT_EQ(address.hop_limit, 64);
    EXPECT_EQ(address.traffic_class, 0x88);
    EXPECT_EQ(address.sl, 3);
    EXPECT_EQ(ibv_destroy_ah(ah), 0);
}

TEST_F(AhTest, create_without_a_gid_is_einval) {
    attr_.is_global = 0;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(AhTest, create_from_an_empty_gid_is_einval) {
    attr_.grh.sgid_index = 2;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(AhTest, create_from_beyond_the_table_is_einval) {
    attr_.grh.sgid_index = 4;
    EXPECT_EQ(refused(), EINVAL);
}

TEST_F(AhTest, create_on_another_port_is_einval) {
    attr_.port_num = 2;
    EXPECT_EQ(refused(), EINVAL);
}

}  // namespace
}  // namespace vrdma::verbs
