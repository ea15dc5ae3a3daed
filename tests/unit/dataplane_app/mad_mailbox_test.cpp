#include "dataplane/app/mad_mailbox.h"

#include <poll.h>

#include <gtest/gtest.h>

namespace vrdma::app {
namespace {

bool readable(const MadMailbox& mailbox) {
    pollfd file{.fd = mailbox.file(), .events = POLLIN, .revents = 0};
    return poll(&file, 1, 0) == 1;
}

Mad numbered(uint32_t number) {
    Mad mad;
    mad.vnic = number;
    return mad;
}

TEST(MadMailbox, datagrams_come_out_as_they_went_in) {
    MadMailbox mailbox;
    EXPECT_FALSE(readable(mailbox));
    for (uint32_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(mailbox.receive(numbered(i)));
    }
    EXPECT_TRUE(readable(mailbox));
    mailbox.take_notice();
    EXPECT_FALSE(readable(mailbox));
    for (uint32_t i = 0; i < 3; ++i) {
        EXPECT_EQ(mailbox.take()->vnic, i);
    }
    EXPECT_FALSE(mailbox.take());
}

TEST(MadMailbox, what_comes_after_the_notice_was_taken_gives_another) {
    MadMailbox mailbox;
    EXPECT_TRUE(mailbox.receive(numbered(1)));
    mailbox.take_notice();
    EXPECT_TRUE(mailbox.receive(numbered(2)));
    EXPECT_TRUE(readable(mailbox));
}

TEST(MadMailbox, full_one_takes_no_more) {
    MadMailbox mailbox;
    uint32_t taken = 0;
    while (mailbox.receive(numbered(taken))) {
        ++taken;
        ASSERT_LT(taken, 100'000U);
    }
    EXPECT_GE(taken, 256U);
    EXPECT_EQ(mailbox.take()->vnic, 0U);
    EXPECT_TRUE(mailbox.receive(numbered(taken)));
}

}  // namespace
}  // namespace vrdma::app
