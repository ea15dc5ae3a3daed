#include "driver/channel/socket_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "tests/unit/fake_device/fake_device.h"

namespace vrdma::driver {
namespace {

using vrdma::testing::FakeDevice;

class SocketChannelTest : public ::testing::Test {
  protected:
    void TearDown() override { EXPECT_EQ(device_.complaint(), ""); }

    std::unique_ptr<SocketChannel> open() {
        auto opened = SocketChannel::open(device_.socket_path().c_str(), "program",
                                          VRDMA_FEATURE_PROCESS_MEMORY);
        EXPECT_TRUE(opened) << opened.error().reason;
        return opened ? std::move(*opened) : nullptr;
    }

    FakeDevice device_;
};

TEST_F(SocketChannelTest, open_says_who_we_are_and_learns_the_device) {
    const auto channel = open();
    const auto request = device_.last(VRDMA_CMD_OPEN).as<vrdma_cmd_open>();
    EXPECT_EQ(request.abi_major, unsigned{VRDMA_ABI_MAJOR});
    EXPECT_EQ(request.features, VRDMA_FEATURE_PROCESS_MEMORY);
    EXPECT_EQ(request.process_id, static_cast<std::uint32_t>(::getpid()));
    EXPECT_STREQ(request.program, "program");
    EXPECT_STREQ(channel->info().vnic, "test0");
    EXPECT_GE(channel->event_socket(), 0);
}

class UserfaultDeviceTest : public SocketChannelTest {
  protected:
    UserfaultDeviceTest() {
        device_.features = VRDMA_FEATURE_USERFAULT;
        device_.userfault_device = file_.get();  // any file will do
    }
    tl::expected<std::unique_ptr<SocketChannel>, CommandError> offer(std::uint64_t features) {
        return SocketChannel::open(device_.socket_path().c_str(), "program", features);
    }
    const UniqueFd file_{::open("/dev/null", O_RDWR | O_CLOEXEC)};
};

TEST_F(UserfaultDeviceTest, open_takes_what_is_handed_over_once) {
    const auto opened = offer(VRDMA_FEATURE_USERFAULT);
    ASSERT_TRUE(opened) << opened.error().reason;
    const UniqueFd got = (*opened)->take_userfault_device();
    EXPECT_TRUE(got.valid());
    EXPECT_NE(got.get(), (*opened)->event_socket());
    EXPECT_FALSE((*opened)->take_userfault_device().valid());
}

TEST_F(UserfaultDeviceTest, open_without_asking_takes_none) {
    const auto opened = offer(0);
    ASSERT_TRUE(opened) << opened.error().reason;
    EXPECT_FALSE((*opened)->take_userfault_device().valid());
}

TEST_F(UserfaultDeviceTest, open_that_announces_and_does_not_hand_over_is_eproto) {
    device_.corrupt_next(FakeDevice::Corruption::no_userfault_device);
    const auto opened = offer(VRDMA_FEATURE_USERFAULT);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().error, EPROTO);
}

TEST_F(SocketChannelTest, open_cuts_a_long_program_name) {
    const auto opened =
        SocketChannel::open(device_.socket_path().c_str(), std::string(100, 'x'), 0);
    ASSERT_TRUE(opened);
    EXPECT_EQ(std::string(device_.last(VRDMA_CMD_OPEN).as<vrdma_cmd_open>().program),
              std::string(31, 'x'));
}

TEST_F(SocketChannelTest, open_without_a_service_is_enoent) {
    const auto opened = SocketChannel::open("/nonexistent/device.sock", "program", 0);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().error, ENOENT);
}

TEST_F(SocketChannelTest, open_of_another_version_is_eproto_with_the_services_reason) {
    device_.refuse_next(VRDMA_CMD_OPEN, VRDMA_STATUS_VERSION, "the service speaks version 2");
    const auto opened = SocketChannel::open(device_.socket_path().c_str(), "program", 0);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().error, EPROTO);
    EXPECT_STREQ(opened.error().reason, "the service speaks version 2");
}

TEST_F(SocketChannelTest, open_answered_with_another_version_is_eproto) {
    device_.info.abi_major = 9;
    const auto opened = SocketChannel::open(device_.socket_path().c_str(), "program", 0);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().error, EPROTO);
}

TEST_F(SocketChannelTest, open_without_an_event_socket_is_refused) {
    device_.corrupt_next(FakeDevice::Corruption::no_event_socket);
    const auto opened = SocketChannel::open(device_.socket_path().c_str(), "program", 0);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().error, EPROTO);
}

TEST_F(SocketChannelTest, open_reaches_a_socket_whose_path_is_long) {
    const std::string deep = device_.directory() + "/" + std::string(120, 'd');
    std::filesystem::create_directories(deep);
    std::filesystem::create_symlink(device_.socket_path(), deep + "/device.sock");
    const auto opened = SocketChannel::open((deep + "/device.sock").c_str(), "program", 0);
    EXPECT_TRUE(opened) << opened.error().reason;
}

TEST_F(SocketChannelTest, request_returns_the_response) {
    const auto channel = open();
    const auto port = query_command<vrdma_rsp_query_port>(*channel, VRDMA_CMD_QUERY_PORT);
    ASSERT_TRUE(port);
    EXPECT_EQ(port->state, 4U);
    EXPECT_EQ(port->mtu, 5U);
}

TEST_F(SocketChannelTest, request_that_is_refused_keeps_the_channel_alive) {
    const auto channel = open();
    device_.refuse_next(VRDMA_CMD_ALLOC_PD, VRDMA_STATUS_NO_RESOURCE, "quota max_pds is used up");
    const auto pd = query_command<vrdma_handle>(*channel, VRDMA_CMD_ALLOC_PD);
    ASSERT_FALSE(pd);
    EXPECT_EQ(pd.error().error, ENOMEM);
    EXPECT_STREQ(pd.error().reason, "quota max_pds is used up");
    EXPECT_FALSE(channel->dead());
    EXPECT_TRUE(query_command<vrdma_handle>(*channel, VRDMA_CMD_ALLOC_PD));
}

TEST_F(SocketChannelTest, request_after_a_hang_up_is_eio_for_good) {
    const auto channel = open();
    device_.hang_up();
    for (int i = 0; i < 2; ++i) {
        const auto pd = query_command<vrdma_handle>(*channel, VRDMA_CMD_ALLOC_PD);
        ASSERT_FALSE(pd);
        EXPECT_EQ(pd.error().error, EIO);
    }
    EXPECT_TRUE(channel->dead());
}

class CorruptAnswerTest : public SocketChannelTest,
                          public ::testing::WithParamInterface<FakeDevice::Corruption> {};

TEST_P(CorruptAnswerTest, request_with_a_spoiled_answer_ends_the_device) {
    const auto channel = open();
    device_.corrupt_next(GetParam());
    const auto pd = query_command<vrdma_handle>(*channel, VRDMA_CMD_ALLOC_PD);
    ASSERT_FALSE(pd);
    EXPECT_EQ(pd.error().error, EIO);
    EXPECT_TRUE(channel->dead());
}

INSTANTIATE_TEST_SUITE_P(Each, CorruptAnswerTest,
                         ::testing::Values(FakeDevice::Corruption::wrong_tag,
                                           FakeDevice::Corruption::wrong_opcode,
                                           FakeDevice::Corruption::wrong_length,
                                           FakeDevice::Corruption::extra_bytes));

TEST_F(SocketChannelTest, request_above_the_message_limit_is_emsgsize) {
    const auto channel = open();
    const std::vector<std::byte> body(VRDMA_MAX_MESSAGE_BYTES);
    const auto done =
        channel->request({.opcode = VRDMA_CMD_REG_MR, .body = body, .tail = {}, .fds = {}}, {});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().error, EMSGSIZE);
    EXPECT_FALSE(channel->dead());
}

TEST_F(SocketChannelTest, requests_of_many_threads_get_their_own_answers) {
    const auto channel = open();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 100; ++i) {
                EXPECT_TRUE(query_command<vrdma_handle>(*channel, VRDMA_CMD_ALLOC_PD));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(device_.object_count(), 400U);
}

TEST_F(SocketChannelTest, goodbye_is_read_as_an_orderly_end) {
    auto channel = open();
    channel->say_goodbye();
    EXPECT_TRUE(channel->dead());
    channel.reset();
    while (!device_.closed_orderly()) {
        std::this_thread::yield();
    }
}

TEST_F(SocketChannelTest, abandoned_channel_refuses_and_does_not_tell_the_device) {
    const auto channel = open();
    channel->abandon();
    const auto pd = query_command<vrdma_handle>(*channel, VRDMA_CMD_ALLOC_PD);
    ASSERT_FALSE(pd);
    EXPECT_EQ(pd.error().error, EIO);
    EXPECT_FALSE(device_.closed_orderly());
}

TEST_F(SocketChannelTest, ring_reaches_the_device) {
    const auto channel = open();
    channel->doorbell().ring(3);
    EXPECT_EQ(device_.doorbell().leaf[0], 8U);
}

}  // namespace
}  // namespace vrdma::driver
