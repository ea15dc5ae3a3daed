#include "verbs/event_pipe.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace vrdma::verbs {
namespace {

class EventPipeTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto end = pipe_.open(sizeof(std::uint64_t));
        ASSERT_TRUE(end);
        program_ = std::move(*end);
    }
    void send(std::uint64_t value) { pipe_.send(std::as_bytes(std::span(&value, 1))); }
    std::vector<std::uint64_t> read_all() {
        std::vector<std::uint64_t> values;
        std::uint64_t value = 0;
        for (;;) {
            if (::recv(program_.get(), &value, sizeof value, MSG_DONTWAIT) != sizeof value) {
                if (!pipe_.has_pending()) {
                    return values;
                }
                pipe_.flush();
                continue;
            }
            values.push_back(value);
        }
    }
    static auto equals(std::uint64_t wanted) {
        return [wanted](std::span<const std::byte> bytes) {
            std::uint64_t value = 0;
            std::memcpy(&value, bytes.data(), sizeof value);
            return value == wanted;
        };
    }

    EventPipe pipe_;
    driver::UniqueFd program_;
};

TEST_F(EventPipeTest, message_is_read_by_the_program) {
    send(1);
    send(2);
    EXPECT_EQ(read_all(), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(EventPipeTest, message_that_does_not_fit_waits_in_order) {
    std::vector<std::uint64_t> expected;
    while (!pipe_.has_pending()) {
        send(expected.size());
        expected.push_back(expected.size());
    }
    send(expected.size());
    expected.push_back(expected.size());
    EXPECT_EQ(read_all(), expected);
}

TEST_F(EventPipeTest, take_back_leaves_the_others_in_order) {
    for (const std::uint64_t value : {1U, 2U, 1U, 3U}) {
        send(value);
    }
    EXPECT_EQ(pipe_.take_back(program_.get(), equals(1)), 2U);
    EXPECT_EQ(read_all(), (std::vector<std::uint64_t>{2, 3}));
}

TEST_F(EventPipeTest, take_back_reaches_what_waits) {
    std::uint64_t sent = 0;
    while (!pipe_.has_pending()) {
        send(1);
        ++sent;
    }
    send(2);
    EXPECT_EQ(pipe_.take_back(program_.get(), equals(1)), sent);
    EXPECT_EQ(read_all(), (std::vector<std::uint64_t>{2}));
}

TEST_F(EventPipeTest, take_back_from_a_closed_end_touches_no_other_file) {
    const int number = program_.get();
    send(1);
    program_.reset();
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    const driver::UniqueFd a(pair[0]);
    const driver::UniqueFd b(pair[1]);
    const std::uint64_t foreign = 1;
    ASSERT_EQ(::send(b.get(), &foreign, sizeof foreign, 0), static_cast<ssize_t>(sizeof foreign));
    ASSERT_EQ(a.get(), number) << "the number is used again";
    EXPECT_EQ(pipe_.take_back(number, equals(1)), 0U);
    std::uint64_t value = 0;
    EXPECT_EQ(::recv(a.get(), &value, sizeof value, MSG_DONTWAIT),
              static_cast<ssize_t>(sizeof value));
}

TEST_F(EventPipeTest, send_to_a_closed_end_is_dropped) {
    program_.reset();
    send(1);
    EXPECT_FALSE(pipe_.has_pending());
}

}  // namespace
}  // namespace vrdma::verbs
