#include "tests/e2e/last_byte_poll/message.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace vrdma::last_byte {
namespace {

constexpr std::size_t kRoom = 8192;

struct alignas(64) Room {
    std::array<std::byte, kRoom> bytes{};
};

void write(std::byte* at, std::size_t size, std::uint64_t number) {
    write_body(at, size, number);
    write_stamp(at, size, number);
}

class EachSizeAndOffset : public testing::TestWithParam<std::tuple<std::size_t, std::size_t>> {};

TEST_P(EachSizeAndOffset, whole_message_is_visible_and_not_stale) {
    const auto [size, offset] = GetParam();
    Room room;
    std::byte* at = room.bytes.data() + offset;
    for (std::uint64_t number = 1; number < 300; ++number) {
        ASSERT_FALSE(end_is_visible(at, size, number));
        write(at, size, number);
        ASSERT_TRUE(end_is_visible(at, size, number));
        for (const auto order :
             {LookOrder::kForward, LookOrder::kBackward, LookOrder::kFromMiddle}) {
            ASSERT_FALSE(find_stale(at, size, number, order));
        }
    }
}

TEST_P(EachSizeAndOffset, every_byte_of_the_message_before_is_found) {
    const auto [size, offset] = GetParam();
    Room old_room;
    Room new_room;
    std::byte* before = old_room.bytes.data() + offset;
    std::byte* after = new_room.bytes.data() + offset;
    write(before, size, 7);
    const bool by_word = (offset + size) % 8 == 0 && size >= 8;
    const std::size_t looked_at = size - (by_word ? 8 : 1);
    for (std::size_t stale = 0; stale < looked_at; ++stale) {
        write(after, size, 10);
        if (after[stale] == before[stale]) {
            continue;  // words of two bodies differ, single bytes need not
        }
        after[stale] = before[stale];
        for (const auto order :
             {LookOrder::kForward, LookOrder::kBackward, LookOrder::kFromMiddle}) {
            ASSERT_EQ(find_stale(after, size, 10, order), stale);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(SizesAndOffsets, EachSizeAndOffset,
                         testing::Combine(testing::Values(8U, 64U, 100U, 256U, 1000U, 4096U),
                                          testing::Values(0U, 8U, 1U)));

TEST(Stamp, every_byte_changes_from_message_to_message) {
    for (std::uint64_t number = 0; number < 1000; ++number) {
        for (const std::uint64_t distance : {1U, 3U, 4U}) {
            const std::uint64_t difference = stamp_of(number) ^ stamp_of(number + distance);
            for (unsigned byte = 0; byte < 8; ++byte) {
                ASSERT_NE(difference >> (8 * byte) & 0xffU, 0U);
            }
        }
    }
}

TEST(FindStale, order_decides_which_of_two_is_found) {
    Room room;
    write(room.bytes.data(), 4096, 1);
    room.bytes[10] ^= std::byte{1};
    room.bytes[4000] ^= std::byte{1};
    EXPECT_EQ(find_stale(room.bytes.data(), 4096, 1, LookOrder::kForward), 10U);
    EXPECT_EQ(find_stale(room.bytes.data(), 4096, 1, LookOrder::kBackward), 4000U);
    EXPECT_EQ(find_stale(room.bytes.data(), 4096, 1, LookOrder::kFromMiddle), 4000U);
}

}  // namespace
}  // namespace vrdma::last_byte
