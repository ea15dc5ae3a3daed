#include "tests/e2e/wire_verify/uc_round.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace vrdma::wire_verify {
namespace {

constexpr std::uint32_t kBytes = 1000;
constexpr std::uint32_t kSlot = 256;

// Side 1 receives what side 0 sends, three messages on queue pair 0 and one on queue pair 1.
class UcRoundTest : public testing::Test {
  protected:
    enum Message : std::size_t { kSend, kWriteImm, kWrite, kSendImm };

    UcRoundTest() {
        for (std::uint32_t side = 0; side < 2; ++side) {
            for (std::uint32_t i = 0; i < kBytes; ++i) {
                before_[side].push_back(static_cast<std::byte>(i * 7 + side * 100 + 1));
            }
        }
        now_ = before_[1];
        operations_ = {
            {.opcode = IBV_WR_SEND, .offset = 0, .size = 50},
            {.opcode = IBV_WR_RDMA_WRITE_WITH_IMM, .offset = 100, .size = 60, .immediate = 0x1234},
            {.opcode = IBV_WR_RDMA_WRITE, .offset = 200, .size = 70},
            {.opcode = IBV_WR_SEND_WITH_IMM,
             .queue_pair = 1,
             .offset = 300,
             .size = 80,
             .immediate = 0x5678}};
        round_ = UcRound(operations_, 1, {before_[0], before_[1]});
    }

    // As it would be if all went well.
    Arrival arrival(Message message) {
        const Operation& operation = operations_[message];
        buffer_.assign(kSlot, kUntouched);
        Arrival result;
        result.queue_pair = operation.queue_pair;
        result.write = operation.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
        result.bytes = operation.size;
        if (has_immediate(operation.opcode)) {
            result.immediate = operation.immediate;
        }
        if (!result.write) {
            std::copy_n(before_[0].begin() + operation.offset, operation.size, buffer_.begin());
        }
        result.buffer = buffer_;
        return result;
    }
    void place(Message message, std::uint32_t bytes) {
        const std::uint32_t offset = operations_[message].offset;
        std::copy_n(before_[0].begin() + offset, bytes, now_.begin() + offset);
    }

    std::vector<std::byte> before_[2];
    std::vector<std::byte> now_;
    std::vector<std::byte> buffer_;
    std::vector<Operation> operations_;
    UcRound round_;
};

TEST_F(UcRoundTest, everything_that_arrives_is_counted) {
    EXPECT_EQ(round_.told(), 3U);
    EXPECT_EQ(round_.silent(), 1U);
    for (const Message message : {kSend, kWriteImm, kSendImm}) {
        EXPECT_FALSE(round_.complete());
        EXPECT_FALSE(round_.take(arrival(message)));
    }
    EXPECT_TRUE(round_.complete());
    place(kWriteImm, 60);
    place(kWrite, 70);
    EXPECT_FALSE(round_.check(now_));
    EXPECT_EQ(round_.found(), 1U);
}

TEST_F(UcRoundTest, lost_messages_are_no_error) {
    EXPECT_FALSE(round_.take(arrival(kWriteImm)));  // the SEND before it is lost
    place(kWriteImm, 60);
    EXPECT_FALSE(round_.check(now_));
    EXPECT_EQ(round_.arrived(), 1U);
    EXPECT_EQ(round_.found(), 0U);
    EXPECT_FALSE(round_.complete());
}

TEST_F(UcRoundTest, part_of_a_write_that_was_lost_is_no_error) {
    place(kWrite, 30);
    place(kWriteImm, 10);
    EXPECT_FALSE(round_.check(now_));
}

TEST_F(UcRoundTest, write_that_tells_of_itself_and_is_not_whole_is_found) {
    EXPECT_FALSE(round_.take(arrival(kWriteImm)));
    place(kWriteImm, 59);
    EXPECT_TRUE(round_.check(now_));
}

TEST_F(UcRoundTest, message_that_arrives_twice_is_found) {
    EXPECT_FALSE(round_.take(arrival(kSend)));
    EXPECT_TRUE(round_.take(arrival(kSend)));
}

TEST_F(UcRoundTest, message_overtaken_on_its_queue_pair_is_found) {
    EXPECT_FALSE(round_.take(arrival(kWriteImm)));
    EXPECT_TRUE(round_.take(arrival(kSend)));
}

TEST_F(UcRoundTest, queue_pairs_have_no_order_among_each_other) {
    EXPECT_FALSE(round_.take(arrival(kSendImm)));
    EXPECT_FALSE(round_.take(arrival(kSend)));
}

TEST_F(UcRoundTest, wrong_byte_of_a_send_is_found) {
    Arrival wrong = arrival(kSend);
    buffer_[49] ^= std::byte{1};
    EXPECT_TRUE(round_.take(wrong));
}

TEST_F(UcRoundTest, byte_behind_a_send_is_found) {
    Arrival wrong = arrival(kSend);
    buffer_[50] = std::byte{};
    EXPECT_TRUE(round_.take(wrong));
}

TEST_F(UcRoundTest, beginning_of_a_lost_send_in_the_next_ones_buffer_is_no_error) {
    const Arrival next = arrival(kWriteImm);
    std::copy_n(before_[0].begin(), 20, buffer_.begin());
    EXPECT_FALSE(round_.take(next));
}

TEST_F(UcRoundTest, other_bytes_in_the_buffer_are_found) {
    const Arrival next = arrival(kWriteImm);
    std::copy_n(before_[0].begin() + 1, 20, buffer_.begin());
    EXPECT_TRUE(round_.take(next));
}

TEST_F(UcRoundTest, beginning_of_a_send_that_arrived_is_found) {
    EXPECT_FALSE(round_.take(arrival(kSend)));
    const Arrival next = arrival(kWriteImm);
    std::copy_n(before_[0].begin(), 20, buffer_.begin());
    EXPECT_TRUE(round_.take(next));
}

TEST_F(UcRoundTest, wrong_length_immediate_kind_or_queue_pair_is_found) {
    Arrival wrong = arrival(kSendImm);
    wrong.bytes = 79;
    EXPECT_TRUE(round_.take(wrong));
    wrong = arrival(kSendImm);
    wrong.immediate = 0x5679;
    EXPECT_TRUE(round_.take(wrong));
    wrong.immediate.reset();
    EXPECT_TRUE(round_.take(wrong));
    wrong = arrival(kWriteImm);
    wrong.write = false;
    EXPECT_TRUE(round_.take(wrong));
    wrong = arrival(kSendImm);
    wrong.queue_pair = 0;
    EXPECT_TRUE(round_.take(wrong));
    wrong.queue_pair = 7;
    EXPECT_TRUE(round_.take(wrong));
}

TEST_F(UcRoundTest, byte_that_belongs_to_no_write_is_found) {
    for (const std::size_t at : {std::size_t{10}, std::size_t{199}, std::size_t{270}}) {
        auto changed = now_;
        changed[at] ^= std::byte{1};
        EXPECT_TRUE(round_.check(changed)) << at;
    }
}

TEST_F(UcRoundTest, byte_of_neither_before_nor_the_message_is_found) {
    now_[230] = before_[0][230] ^ before_[1][230] ^ std::byte{0x80};
    EXPECT_TRUE(round_.check(now_));
}

}  // namespace
}  // namespace vrdma::wire_verify
