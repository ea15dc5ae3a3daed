#include "dataplane/control/http_server.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <boost/asio/io_context.hpp>

#include "dataplane/control/routes.h"
#include "tests/unit/control/fake_service_model.h"

namespace vrdma::control {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// A client that sends and receives bytes as they are.
class RawClient {
  public:
    explicit RawClient(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const auto* const any = reinterpret_cast<const sockaddr*>(&address);
        connected_ = ::connect(fd_, any, sizeof address) == 0;
    }
    RawClient(RawClient&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;
    RawClient& operator=(RawClient&&) = delete;
    ~RawClient() { ::close(fd_); }

    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] const std::string& received() const { return received_; }
    [[nodiscard]] bool closed() const { return closed_; }

    void send(std::string_view text) const {
        static_cast<void>(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    }

    /// Takes what is there.
    void receive() {
        char buffer[4096];
        ssize_t count = 0;
        while ((count = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
            received_.append(buffer, static_cast<std::size_t>(count));
        }
        closed_ = closed_ || count == 0 || (errno != EAGAIN && errno != EINTR);
    }

  private:
    int fd_;
    bool connected_ = false;
    bool closed_ = false;
    std::string received_;
};

class HttpServerTest : public testing::Test {
  protected:
    HttpServerTest() {
        std::string name = testing::TempDir() + "vrdma-http-XXXXXX";
        directory_ = ::mkdtemp(name.data());
        options_.socket_path = directory_ / "control.sock";
    }
    ~HttpServerTest() override {
        server_.reset();
        fs::remove_all(directory_);
    }

    void start() {
        auto server = HttpServer::start(context_, options_,
                                        [this](const ApiRequest& request, Respond respond) {
                                            routes_.handle(request, std::move(respond));
                                        });
        ASSERT_TRUE(server) << server.error().error;
        server_ = std::move(*server);
    }

    RawClient connect() { return RawClient(options_.socket_path); }

    /// Runs the server until the condition holds; a test that waits longer than this has failed.
    bool run_until(const std::function<bool()>& condition) {
        constexpr std::chrono::seconds kGiveUp{10};
        const auto end = std::chrono::steady_clock::now() + kGiveUp;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) {
                return false;
            }
            context_.restart();
            context_.run_one_for(std::chrono::milliseconds(1));
        }
        return true;
    }

    /// Sends one request and gives all that came back until the server closed.
    std::string exchange(const std::string& request) {
        RawClient client = connect();
        client.send(request);
        EXPECT_TRUE(run_until([&] {
            client.receive();
            return client.closed();
        })) << "the server did not close; it sent: "
            << client.received();
        return client.received();
    }

    fs::path directory_;
    boost::asio::io_context context_;
    HttpServerOptions options_;
    FakeServiceModel model_;
    Routes routes_{model_};
    std::unique_ptr<HttpServer> server_;
};

const std::string kGetStatus = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kGetStatusOnce =
    "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

TEST_F(HttpServerTest, get_is_answered_with_json) {
    start();
    const std::string response = exchange(kGetStatusOnce);
    EXPECT_THAT(response, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(response, HasSubstr("Content-Type: application/json\r\n"));
    EXPECT_THAT(response, HasSubstr("\"version\":\"1.2.3\""));
}

TEST_F(HttpServerTest, socket_belongs_to_owner_and_group_only) {
    start();
    EXPECT_EQ(fs::status(options_.socket_path).permissions(), static_cast<fs::perms>(0660));
}

TEST_F(HttpServerTest, connection_is_kept_for_further_requests) {
    start();
    RawClient client = connect();
    for (int i = 1; i <= 3; ++i) {
        client.send(kGetStatus);
        ASSERT_TRUE(run_until([&] {
            client.receive();
            std::size_t answers = 0;
            for (std::size_t at = 0;
                 (at = client.received().find("200 OK", at)) != std::string::npos; ++at) {
                ++answers;
            }
            return answers == static_cast<std::size_t>(i);
        }));
    }
    EXPECT_FALSE(client.closed());
    EXPECT_EQ(server_->connections(), 1U);
}

TEST_F(HttpServerTest, pipelined_requests_are_answered_in_order) {
    start();
    const std::string response =
        exchange("GET /nothing HTTP/1.1\r\n\r\nGET /v1/vnics HTTP/1.1\r\n\r\n" + kGetStatusOnce);
    EXPECT_LT(response.find("404"), response.find("\"vnics\":["));
    EXPECT_LT(response.find("\"vnics\":["), response.find("\"version\""));
}

TEST_F(HttpServerTest, http_1_0_connection_is_closed_after_the_answer) {
    start();
    EXPECT_THAT(exchange("GET /v1/status HTTP/1.0\r\n\r\n"), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, post_body_reaches_the_handler) {
    start();
    const std::string body = R"({"name":"b","network":"green","address":"10.0.0.2"})";
    const std::string response =
        exchange("POST /v1/vnics HTTP/1.1\r\nConnection: close\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_THAT(response, StartsWith("HTTP/1.1 201 Created"));
    EXPECT_NE(model_.configuration().find_vnic("b"), nullptr);
}

TEST_F(HttpServerTest, delete_is_answered_without_body) {
    start();
    const std::string response =
        exchange("DELETE /v1/vnics/a HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(response, StartsWith("HTTP/1.1 204 No Content"));
    EXPECT_THAT(response, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, wrong_method_names_the_allowed_ones) {
    start();
    EXPECT_THAT(exchange("PUT /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n"),
                testing::AllOf(StartsWith("HTTP/1.1 405"), HasSubstr("Allow: GET\r\n")));
}

TEST_F(HttpServerTest, head_is_answered_without_body) {
    start();
    const std::string response = exchange("HEAD /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(response, StartsWith("HTTP/1.1 405"));
    EXPECT_THAT(response, EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, body_of_more_than_64_kib_is_refused) {
    start();
    EXPECT_THAT(exchange("POST /v1/vnics HTTP/1.1\r\nContent-Length: 65537\r\n\r\n"),
                StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpServerTest, chunked_body_of_more_than_64_kib_is_refused) {
    start();
    const std::string chunk = "8000\r\n" + std::string(0x8000, 'x') + "\r\n";
    EXPECT_THAT(exchange("POST /v1/vnics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk +
                         chunk + chunk),
                StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpServerTest, header_of_more_than_8_kib_is_refused) {
    start();
    EXPECT_THAT(exchange("GET / HTTP/1.1\r\nX: " + std::string(9000, 'x')),
                StartsWith("HTTP/1.1 431"));
}

class NotHttp : public HttpServerTest, public testing::WithParamInterface<std::string> {};

TEST_P(NotHttp, is_refused_and_closed) {
    start();
    EXPECT_THAT(exchange(GetParam()), StartsWith("HTTP/1.1 400"));
}

INSTANTIATE_TEST_SUITE_P(
    Bytes, NotHttp,
    testing::Values("hello\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                    "GET / HTTP/3.0\r\n\r\n", "GET /\x01 HTTP/1.1\r\n\r\n",
                    "GET / HTTP/1.1\r\nNo colon\r\n\r\n",
                    "POST /v1/vnics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                    "POST /v1/vnics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                    "POST /v1/vnics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                    "POST /v1/vnics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));

TEST_F(HttpServerTest, client_that_sends_nothing_is_closed_after_the_time_limit) {
    options_.read_timeout = std::chrono::milliseconds(20);
    start();
    EXPECT_EQ(exchange(""), "");
    EXPECT_TRUE(run_until([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, client_that_sends_half_a_request_is_closed_after_the_time_limit) {
    options_.read_timeout = std::chrono::milliseconds(20);
    start();
    EXPECT_EQ(exchange("GET /v1/status HTTP/1.1\r\nX: "), "");
}

TEST_F(HttpServerTest, client_that_does_not_read_is_closed_after_the_time_limit) {
    options_.write_timeout = std::chrono::milliseconds(20);
    start();
    RawClient client = connect();
    const std::string get = "GET /metrics HTTP/1.1\r\n\r\n";
    for (int i = 0; i < 2000; ++i) {
        client.send(get);
    }
    ASSERT_TRUE(run_until([&] { return server_->connections() == 1; }));
    EXPECT_TRUE(run_until([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, client_that_goes_away_is_forgotten) {
    start();
    {
        RawClient client = connect();
        client.send("GET /v1");
        ASSERT_TRUE(run_until([&] { return server_->connections() == 1; }));
    }
    EXPECT_TRUE(run_until([&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, handler_that_does_not_answer_gives_504) {
    options_.answer_timeout = std::chrono::milliseconds(20);
    model_.defer = true;
    start();
    EXPECT_THAT(exchange(kGetStatusOnce), StartsWith("HTTP/1.1 504"));
    model_.run_deferred();  // late: dropped
}

TEST_F(HttpServerTest, late_answer_does_not_go_to_the_next_request) {
    options_.answer_timeout = std::chrono::milliseconds(20);
    model_.defer = true;
    start();
    RawClient client = connect();
    client.send(kGetStatus);
    ASSERT_TRUE(run_until([&] {
        client.receive();
        return client.received().find("504") != std::string::npos;
    }));
    client.send("GET /v1/vnics HTTP/1.1\r\nConnection: close\r\n\r\n");
    ASSERT_TRUE(run_until([&] { return model_.deferred() == 2; }));
    model_.run_deferred();
    ASSERT_TRUE(run_until([&] {
        client.receive();
        return client.closed();
    }));
    EXPECT_THAT(client.received(), testing::Not(HasSubstr("\"version\"")));
    EXPECT_THAT(client.received(), HasSubstr("\"vnics\":["));
}

TEST_F(HttpServerTest, connections_beyond_the_limit_replace_the_oldest_idle_one) {
    options_.max_connections = 2;
    start();
    RawClient first = connect();
    RawClient second = connect();
    ASSERT_TRUE(run_until([&] { return server_->connections() == 2; }));
    EXPECT_THAT(exchange(kGetStatusOnce), HasSubstr("200 OK"));
    ASSERT_TRUE(run_until([&] {
        first.receive();
        return first.closed();
    }));
    second.receive();
    EXPECT_FALSE(second.closed());
}

TEST_F(HttpServerTest, connection_beyond_the_limit_is_refused_while_all_wait_for_the_service) {
    options_.max_connections = 1;
    model_.defer = true;
    start();
    RawClient waiting = connect();
    waiting.send(kGetStatus);
    ASSERT_TRUE(run_until([&] { return model_.deferred() == 1; }));
    EXPECT_THAT(exchange(kGetStatus), StartsWith("HTTP/1.1 503"));
    model_.run_deferred();
    ASSERT_TRUE(run_until([&] {
        waiting.receive();
        return waiting.received().find("200 OK") != std::string::npos;
    }));
}

TEST_F(HttpServerTest, hundreds_of_silent_connections_do_not_keep_others_out) {
    start();
    std::vector<RawClient> silent;
    for (int i = 0; i < 300; ++i) {
        silent.push_back(connect());
        ASSERT_TRUE(silent.back().connected());
        context_.restart();
        context_.poll();
    }
    EXPECT_LE(server_->connections(), options_.max_connections);
    EXPECT_THAT(exchange(kGetStatusOnce), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, answer_after_the_server_is_gone_does_nothing) {
    model_.defer = true;
    start();
    RawClient client = connect();
    client.send(kGetStatus);
    ASSERT_TRUE(run_until([&] { return model_.deferred() == 1; }));
    server_.reset();
    model_.run_deferred();
    context_.restart();
    context_.poll();
    client.receive();
    EXPECT_TRUE(client.closed());
}

TEST_F(HttpServerTest, end_removes_the_socket) {
    start();
    server_.reset();
    EXPECT_FALSE(fs::exists(options_.socket_path));
}

TEST_F(HttpServerTest, second_server_on_one_socket_is_refused) {
    start();
    const auto second = HttpServer::start(context_, options_, {});
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().error, HasSubstr("another vrdmad runs"));
    EXPECT_THAT(second.error().remedy, HasSubstr("another service.runtime_dir"));
    EXPECT_THAT(exchange(kGetStatusOnce), HasSubstr("200 OK"));
}

}  // namespace
}  // namespace vrdma::control
