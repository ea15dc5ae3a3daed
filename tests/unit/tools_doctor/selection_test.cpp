#include "tools/vrdma-doctor/selection.h"

#include <gtest/gtest.h>

namespace vrdma::doctor {
namespace {

TEST(nccl_takes_device, names_are_beginnings) {
    EXPECT_TRUE(nccl_takes_device("vrdma", "vrdma0"));
    EXPECT_TRUE(nccl_takes_device("mlx5,vrdma0", "vrdma0"));
    EXPECT_FALSE(nccl_takes_device("mlx5", "vrdma0"));
    EXPECT_FALSE(nccl_takes_device("vrdma00", "vrdma0"));
}

TEST(nccl_takes_device, equals_sign_wants_the_whole_name) {
    EXPECT_FALSE(nccl_takes_device("=vrdma", "vrdma0"));
    EXPECT_TRUE(nccl_takes_device("=vrdma0", "vrdma0"));
}

TEST(nccl_takes_device, circumflex_excludes) {
    EXPECT_FALSE(nccl_takes_device("^vrdma", "vrdma0"));
    EXPECT_TRUE(nccl_takes_device("^mlx5", "vrdma0"));
    EXPECT_TRUE(nccl_takes_device("^=vrdma", "vrdma0"));
    EXPECT_FALSE(nccl_takes_device("^=vrdma0", "vrdma0"));
}

TEST(nccl_takes_device, port_must_be_the_only_one_there_is) {
    EXPECT_TRUE(nccl_takes_device("vrdma0:1", "vrdma0"));
    EXPECT_FALSE(nccl_takes_device("vrdma0:2", "vrdma0"));
}

TEST(ucx_takes_device, lists_name_devices_with_ports) {
    EXPECT_TRUE(ucx_takes_device("", "vrdma0"));
    EXPECT_TRUE(ucx_takes_device("all", "vrdma0"));
    EXPECT_TRUE(ucx_takes_device("eth0,vrdma0:1", "vrdma0"));
    EXPECT_FALSE(ucx_takes_device("eth0", "vrdma0"));
    EXPECT_FALSE(ucx_takes_device("vrdma0:2", "vrdma0"));
    EXPECT_FALSE(ucx_takes_device("^vrdma0:1", "vrdma0"));
    EXPECT_TRUE(ucx_takes_device("^eth0", "vrdma0"));
}

TEST(ucx_takes_verbs, aliases_of_rc_and_ud_are_known) {
    for (const char* setting : {"", "all", "ib", "rc", "rc_v", "rc_verbs", "ud", "ud_v",
                                "ud_verbs,self", "tcp,rc", "\\rc", "^tcp", "^rc", "^ud_v"}) {
        EXPECT_TRUE(ucx_takes_verbs(setting)) << setting;
    }
    for (const char* setting :
         {"tcp", "tcp,self,sm", "rc_x", "ud_x,self", "dc", "^ib", "^rc,ud", "^rc_verbs,ud_verbs"}) {
        EXPECT_FALSE(ucx_takes_verbs(setting)) << setting;
    }
}

}  // namespace
}  // namespace vrdma::doctor
