#include "dataplane/control/socket_claim.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

namespace vrdma::control {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SocketClaimTest : public testing::Test {
  protected:
    SocketClaimTest() {
        std::string name = testing::TempDir() + "vrdma-claim-XXXXXX";
        directory_ = ::mkdtemp(name.data());
        path_ = directory_ / "control.sock";
    }
    ~SocketClaimTest() override { fs::remove_all(directory_); }

    void expect_refused(const std::string& path, const std::string& error) {
        const auto claim = SocketClaim::take(path);
        ASSERT_FALSE(claim);
        EXPECT_THAT(claim.error().error, HasSubstr(error));
        EXPECT_FALSE(claim.error().remedy.empty());
    }

    fs::path directory_;
    std::string path_;
    boost::asio::io_context context_;
};

TEST_F(SocketClaimTest, take_free_path_succeeds) {
    EXPECT_TRUE(SocketClaim::take(path_));
}

TEST_F(SocketClaimTest, take_held_path_is_refused) {
    const auto first = SocketClaim::take(path_);
    ASSERT_TRUE(first);
    expect_refused(path_, "is in use: another vrdmad runs");
}

TEST_F(SocketClaimTest, take_after_the_holder_ended_succeeds) {
    { ASSERT_TRUE(SocketClaim::take(path_)); }
    EXPECT_TRUE(SocketClaim::take(path_));
}

TEST_F(SocketClaimTest, take_path_of_a_dead_service_removes_its_socket) {
    { boost::asio::local::stream_protocol::acceptor dead(context_, path_); }
    ASSERT_TRUE(fs::is_socket(path_));
    const auto claim = SocketClaim::take(path_);
    ASSERT_TRUE(claim);
    EXPECT_FALSE(fs::exists(path_));
}

TEST_F(SocketClaimTest, take_path_with_a_listener_is_refused_and_leaves_it) {
    const boost::asio::local::stream_protocol::acceptor alive(context_, path_);
    expect_refused(path_, "is in use");
    EXPECT_TRUE(fs::is_socket(path_));
}

TEST_F(SocketClaimTest, take_path_of_a_file_is_refused_and_leaves_it) {
    std::ofstream(path_) << "precious";
    expect_refused(path_, "is not a socket");
    EXPECT_TRUE(fs::is_regular_file(path_));
}

TEST_F(SocketClaimTest, take_path_of_a_link_is_refused) {
    fs::create_symlink("elsewhere", path_);
    expect_refused(path_, "is not a socket");
}

TEST_F(SocketClaimTest, take_in_missing_directory_is_refused) {
    expect_refused(directory_ / "none" / "control.sock", "cannot be opened");
}

TEST_F(SocketClaimTest, take_path_too_long_is_refused) {
    expect_refused(directory_ / std::string(108, 'x'), "longer than");
}

TEST_F(SocketClaimTest, take_with_lock_file_that_is_a_link_is_refused) {
    fs::create_symlink(directory_ / "victim", path_ + ".lock");
    expect_refused(path_, "cannot be opened");
    EXPECT_FALSE(fs::exists(directory_ / "victim"));
}

TEST_F(SocketClaimTest, end_removes_the_socket) {
    {
        const auto claim = SocketClaim::take(path_);
        ASSERT_TRUE(claim);
        const boost::asio::local::stream_protocol::acceptor bound(context_, path_);
    }
    EXPECT_FALSE(fs::exists(path_));
}

TEST_F(SocketClaimTest, end_leaves_an_empty_directory) {
    { ASSERT_TRUE(SocketClaim::take(path_)); }
    EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(SocketClaimTest, refused_claim_leaves_no_lock_file) {
    std::ofstream(path_) << "precious";
    expect_refused(path_, "is not a socket");
    EXPECT_FALSE(fs::exists(path_ + ".lock"));
}

TEST_F(SocketClaimTest, take_with_lock_file_of_a_dead_service_succeeds) {
    std::ofstream(path_ + ".lock") << "";
    EXPECT_TRUE(SocketClaim::take(path_));
}

TEST_F(SocketClaimTest, take_held_path_leaves_the_lock_file_of_the_holder) {
    const auto first = SocketClaim::take(path_);
    ASSERT_TRUE(first);
    expect_refused(path_, "is in use");
    EXPECT_TRUE(fs::exists(path_ + ".lock"));
    expect_refused(path_, "is in use");
}

}  // namespace
}  // namespace vrdma::control
