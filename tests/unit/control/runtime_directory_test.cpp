#include "dataplane/control/runtime_directory.h"

#include <gtest/gtest.h>

namespace vrdma::control {
namespace {

TEST(RuntimeDirectory, default_for_root_is_run_vrdma) {
    EXPECT_EQ(default_runtime_directory(0, "/run/user/0"), "/run/vrdma");
}

TEST(RuntimeDirectory, default_for_user_is_below_xdg_runtime_dir) {
    EXPECT_EQ(default_runtime_directory(1000, "/run/user/1000"), "/run/user/1000/vrdma");
}

TEST(RuntimeDirectory, default_for_user_without_xdg_is_in_tmp) {
    EXPECT_EQ(default_runtime_directory(1000, std::nullopt), "/tmp/vrdma-1000");
}

TEST(RuntimeDirectory, default_with_relative_xdg_ignores_it) {
    EXPECT_EQ(default_runtime_directory(1000, "run"), "/tmp/vrdma-1000");
    EXPECT_EQ(default_runtime_directory(1000, ""), "/tmp/vrdma-1000");
}

TEST(RuntimeDirectory, paths_are_below_the_directory) {
    EXPECT_EQ(control_socket_path("/run/vrdma"), "/run/vrdma/control.sock");
    EXPECT_EQ(device_socket_path("/run/vrdma", "a"), "/run/vrdma/vnic/a/device.sock");
}

}  // namespace
}  // namespace vrdma::control
