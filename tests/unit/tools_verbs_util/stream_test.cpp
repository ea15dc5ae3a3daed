#include "tools/verbs_util/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

namespace vrdma::verbs_util {
namespace {

constexpr int kLimitMs = 10'000;

TEST(Stream, message_arrives_over_a_pair) {
    auto ends = Stream::pair();
    ASSERT_TRUE(ends);
    EXPECT_FALSE(ends->second.readable());
    ASSERT_TRUE(ends->first.send({{"hello", 1}}));
    EXPECT_TRUE(ends->second.readable());
    const auto message = ends->second.receive(kLimitMs);
    ASSERT_TRUE(message) << message.error().message();
    EXPECT_EQ((*message)["hello"], 1);
}

TEST(Stream, megabyte_message_arrives_over_tcp) {
    auto listener = Listener::listen("127.0.0.1:0");
    ASSERT_TRUE(listener) << listener.error().message();
    const std::string text(4'000'000, 'x');
    std::thread sender([&] {
        auto stream = Stream::connect("127.0.0.1:" + std::to_string(listener->port()), kLimitMs);
        ASSERT_TRUE(stream);
        EXPECT_TRUE(stream->send({{"text", text}}));
    });
    auto accepted = listener->accept(kLimitMs);
    ASSERT_TRUE(accepted);
    const auto message = accepted->receive(kLimitMs);
    sender.join();
    ASSERT_TRUE(message);
    EXPECT_EQ((*message)["text"], text);
}

TEST(Stream, closed_partner_is_reported) {
    auto ends = Stream::pair();
    ASSERT_TRUE(ends);
    ends->first.close();
    EXPECT_TRUE(ends->second.readable());
    const auto message = ends->second.receive(kLimitMs);
    ASSERT_FALSE(message);
    EXPECT_EQ(message.error().kind, ErrorKind::kPartner);
}

TEST(Stream, oversized_announcement_is_refused_without_waiting_for_it) {
    auto ends = Stream::pair();
    ASSERT_TRUE(ends);
    const unsigned char header[4] = {0xff, 0xff, 0xff, 0xff};
    ASSERT_EQ(::send(ends->first.fd(), header, sizeof header, 0), 4);
    const auto message = ends->second.receive(kLimitMs);
    ASSERT_FALSE(message);
    EXPECT_NE(message.error().what.find("announced"), std::string::npos);
}

TEST(Stream, text_that_is_not_json_is_refused) {
    auto ends = Stream::pair();
    ASSERT_TRUE(ends);
    const unsigned char frame[6] = {0, 0, 0, 2, '{', 'x'};
    ASSERT_EQ(::send(ends->first.fd(), frame, sizeof frame, 0), 6);
    EXPECT_FALSE(ends->second.receive(kLimitMs));
}

TEST(Stream, silent_partner_is_late) {
    auto ends = Stream::pair();
    ASSERT_TRUE(ends);
    const auto message = ends->second.receive(0);
    ASSERT_FALSE(message);
    EXPECT_EQ(message.error().error_number, ETIMEDOUT);
}

TEST(Stream, address_without_port_is_refused) {
    const auto stream = Stream::connect("localhost", 0);
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind, ErrorKind::kUsage);
}

TEST(Stream, unix_path_connects) {
    const std::string path = testing::TempDir() + "vrdma_stream_test.sock";
    auto listener = Listener::listen("unix:" + path);
    ASSERT_TRUE(listener) << listener.error().message();
    auto stream = Stream::connect("unix:" + path, kLimitMs);
    ASSERT_TRUE(stream) << stream.error().message();
    auto accepted = listener->accept(kLimitMs);
    ASSERT_TRUE(accepted);
    ASSERT_TRUE(accepted->send({{"a", 2}}));
    EXPECT_TRUE(stream->receive(kLimitMs));
    (void)unlink(path.c_str());
}

}  // namespace
}  // namespace vrdma::verbs_util
