#include "tools/common/control_client.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include "tests/unit/control/served_model.h"

namespace vrdma::tools {
namespace {

namespace fs = std::filesystem;
using Kind = ControlError::Kind;
using Protocol = boost::asio::local::stream_protocol;
using testing::HasSubstr;

TEST(ControlClient, get_gives_status_and_body) {
    const control::ServedModel served;
    const auto response = ask_control(served.socket(), {"GET", "/v1/status", ""});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 200U);
    EXPECT_THAT(response->body, HasSubstr("\"version\":\"1.2.3\""));
}

TEST(ControlClient, post_sends_its_body) {
    const control::ServedModel served;
    const auto response = ask_control(
        served.socket(),
        {"POST", "/v1/vnics", R"({"name":"b","network":"green","address":"10.0.0.2"})"});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 201U);
}

TEST(ControlClient, delete_without_content_gives_an_empty_body) {
    const control::ServedModel served;
    const auto response = ask_control(served.socket(), {"DELETE", "/v1/vnics/a", ""});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 204U);
    EXPECT_EQ(response->body, "");
}

TEST(ControlClient, refusal_is_a_response) {
    const control::ServedModel served;
    const auto response = ask_control(served.socket(), {"GET", "/v1/vnics/zzz", ""});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 404U);
}

TEST(ControlClient, body_that_is_too_large_gives_the_services_own_explanation) {
    const control::ServedModel served;
    const auto response =
        ask_control(served.socket(), {"POST", "/v1/vnics", std::string(1 << 20, 'x')});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->status, 413U);
}

class ControlClientTest : public testing::Test {
  protected:
    ControlClientTest() {
        std::string name = testing::TempDir() + "vrdma-client-XXXXXX";
        directory_ = ::mkdtemp(name.data());
        path_ = directory_ / "control.sock";
    }
    ~ControlClientTest() override { fs::remove_all(directory_); }

    void expect_error(Kind kind, const std::string& remedy,
                      std::chrono::milliseconds timeout = std::chrono::seconds(10)) {
        const auto response = ask_control(path_, {"GET", "/v1/status", ""}, timeout);
        ASSERT_FALSE(response);
        EXPECT_EQ(response.error().kind, kind) << response.error().message;
        EXPECT_THAT(response.error().message, HasSubstr(path_));
        EXPECT_THAT(response.error().message, HasSubstr(remedy));
    }

    fs::path directory_;
    std::string path_;
    boost::asio::io_context context_;
};

TEST_F(ControlClientTest, no_socket_says_to_start_the_service) {
    expect_error(Kind::kNotRunning, "start vrdmad");
}

TEST_F(ControlClientTest, no_directory_says_to_start_the_service) {
    path_ = directory_ / "none" / "control.sock";
    expect_error(Kind::kNotRunning, "start vrdmad");
}

TEST_F(ControlClientTest, socket_of_a_dead_service_says_to_start_it) {
    { const Protocol::acceptor dead(context_, path_); }
    expect_error(Kind::kNotRunning, "nobody answers");
}

/// Gives up root's right to open everything until its end.
class WithoutRoot {
  public:
    WithoutRoot() : root_(::geteuid() == 0) {
        constexpr uid_t kNobody = 65534;
        dropped_ = !root_ || ::seteuid(kNobody) == 0;
    }
    WithoutRoot(const WithoutRoot&) = delete;
    WithoutRoot& operator=(const WithoutRoot&) = delete;
    ~WithoutRoot() {
        if (root_ && dropped_) {
            static_cast<void>(::seteuid(0) == 0);
        }
    }
    [[nodiscard]] bool dropped() const { return dropped_; }

  private:
    bool root_;
    bool dropped_ = false;
};

TEST_F(ControlClientTest, socket_of_others_names_their_group) {
    const Protocol::acceptor closed(context_, path_);
    fs::permissions(path_, fs::perms::none);
    fs::permissions(directory_, static_cast<fs::perms>(0755));
    const WithoutRoot user;
    ASSERT_TRUE(user.dropped());
    const group* const entry = ::getgrgid(::getegid());
    const std::string name = entry == nullptr ? std::to_string(::getegid()) : entry->gr_name;
    expect_error(Kind::kPermission, "a member of the group " + name);
}

TEST_F(ControlClientTest, directory_of_others_is_named) {
    const Protocol::acceptor closed(context_, path_);
    fs::permissions(directory_, fs::perms::none);
    {
        const WithoutRoot user;
        ASSERT_TRUE(user.dropped());
        expect_error(Kind::kPermission, "the directory " + directory_.string() + " is closed");
    }
    fs::permissions(directory_, fs::perms::owner_all);
}

TEST_F(ControlClientTest, path_too_long_is_refused) {
    path_ = "/" + std::string(107, 'x');
    expect_error(Kind::kNotRunning, "longer than the 107 bytes");
}

TEST_F(ControlClientTest, service_that_does_not_answer_ends_in_a_timeout) {
    const Protocol::acceptor silent(context_, path_);
    expect_error(Kind::kTimeout, "did not answer", std::chrono::milliseconds(20));
}

TEST_F(ControlClientTest, something_that_is_not_http_is_named) {
    Protocol::acceptor acceptor(context_, path_);
    std::thread other([&] {
        Protocol::socket socket(context_);
        acceptor.accept(socket);
        boost::system::error_code ignored;
        boost::asio::write(socket, boost::asio::buffer("220 mail ready\r\n\r\n", 18), ignored);
    });
    expect_error(Kind::kBroken, "does not answer as vrdmad does");
    other.join();
}

TEST_F(ControlClientTest, service_that_hangs_up_is_named) {
    Protocol::acceptor acceptor(context_, path_);
    std::thread other([&] {
        Protocol::socket socket(context_);
        acceptor.accept(socket);
    });
    expect_error(Kind::kBroken, "does not answer as vrdmad does");
    other.join();
}

}  // namespace
}  // namespace vrdma::tools
