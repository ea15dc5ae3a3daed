#include "tools/common/control_socket.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "dataplane/control/runtime_directory.h"

namespace vrdma::tools {
namespace {

using testing::ElementsAre;

TEST(ControlSocket, named_socket_is_the_only_candidate) {
    EXPECT_THAT(control_socket_candidates({"/a/b.sock", std::nullopt}), ElementsAre("/a/b.sock"));
    EXPECT_EQ(find_control_socket({"/a/b.sock", std::nullopt}), "/a/b.sock");
}

TEST(ControlSocket, named_directory_is_the_only_candidate) {
    EXPECT_THAT(control_socket_candidates({std::nullopt, "/a"}), ElementsAre("/a/control.sock"));
}

TEST(ControlSocket, unnamed_service_is_the_users_own_and_then_the_systems) {
    const auto candidates = control_socket_candidates({});
    EXPECT_EQ(candidates.front(),
              control::control_socket_path(control::default_runtime_directory()));
    EXPECT_EQ(candidates.back(), "/run/vrdma/control.sock");
}

}  // namespace
}  // namespace vrdma::tools
