#include "tools/verbs_util/device.h"

#include <gtest/gtest.h>

namespace vrdma::verbs_util {
namespace {

ibv_gid_entry entry(std::uint32_t type, bool ipv4) {
    ibv_gid_entry made{};
    made.gid_type = type;
    if (ipv4) {
        made.gid.raw[10] = 0xff;
        made.gid.raw[11] = 0xff;
        made.gid.raw[12] = 10;
    } else {
        made.gid.raw[0] = 0xfe;
        made.gid.raw[1] = 0x80;
    }
    return made;
}

TEST(GidRank, ipv4_over_roce_v2_is_best) {
    EXPECT_LT(gid_rank(entry(IBV_GID_TYPE_ROCE_V2, true)),
              gid_rank(entry(IBV_GID_TYPE_ROCE_V2, false)));
}

TEST(GidRank, roce_v2_is_better_than_any_v1) {
    EXPECT_LT(gid_rank(entry(IBV_GID_TYPE_ROCE_V2, false)),
              gid_rank(entry(IBV_GID_TYPE_ROCE_V1, true)));
}

TEST(GidRank, empty_entry_is_unusable) {
    EXPECT_LT(gid_rank(ibv_gid_entry{}), 0);
}

}  // namespace
}  // namespace vrdma::verbs_util
