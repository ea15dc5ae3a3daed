#include "verbs/cm_channel.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

namespace vrdma::verbs {
namespace {

bool readable(int fd) {
    pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&polled, 1, 0) == 1;
}

CmEvent event(std::uint32_t code) {
    CmEvent made;
    made.content.event = code;
    return made;
}

TEST(CmChannel, descriptor_is_readable_exactly_while_events_wait) {
    const auto channel = CmChannel::open();
    ASSERT_NE(channel, nullptr);
    EXPECT_FALSE(readable(channel->fd));
    channel->push(event(1));
    channel->push(event(2));
    EXPECT_TRUE(readable(channel->fd));
    EXPECT_EQ(channel->pop(0).content.event, 1U);
    EXPECT_TRUE(readable(channel->fd));
    EXPECT_EQ(channel->pop(0).content.event, 2U);
    EXPECT_FALSE(readable(channel->fd));
    close(channel->fd);
}

TEST(CmChannel, event_taken_from_the_middle_leaves_the_others) {
    const auto channel = CmChannel::open();
    ASSERT_NE(channel, nullptr);
    for (std::uint32_t code = 1; code <= 3; ++code) {
        channel->push(event(code));
    }
    EXPECT_EQ(channel->pop(1).content.event, 2U);
    EXPECT_EQ(channel->pop(0).content.event, 1U);
    EXPECT_EQ(channel->pop(0).content.event, 3U);
    EXPECT_FALSE(readable(channel->fd));
    close(channel->fd);
}

}  // namespace
}  // namespace vrdma::verbs
