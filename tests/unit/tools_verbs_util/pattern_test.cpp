#include "tools/verbs_util/pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace vrdma::verbs_util {
namespace {

std::vector<std::uint8_t> made(std::uint64_t seed, std::size_t length, std::uint64_t offset = 0) {
    std::vector<std::uint8_t> bytes(length);
    Pattern(seed).fill(bytes.data(), length, offset);
    return bytes;
}

TEST(Pattern, any_part_equals_that_part_of_the_whole) {
    const auto whole = made(7, 300);
    for (std::size_t offset = 0; offset < 20; ++offset) {
        for (std::size_t length = 0; length < 200; length += 7) {
            const auto part = made(7, length, offset);
            ASSERT_EQ(std::memcmp(part.data(), whole.data() + offset, length), 0)
                << offset << " " << length;
            ASSERT_FALSE(Pattern(7).check(part.data(), length, offset));
        }
    }
}

TEST(Pattern, byte_at_agrees_with_fill) {
    const auto whole = made(9, 64);
    for (std::size_t i = 0; i < whole.size(); ++i) {
        EXPECT_EQ(Pattern(9).byte_at(i), whole[i]);
    }
}

TEST(Pattern, every_flipped_byte_is_found_where_it_is) {
    for (std::size_t length = 1; length < 200; length += 13) {
        for (std::size_t at = 0; at < length; ++at) {
            auto bytes = made(3, length, 5);
            bytes[at] ^= 0x10;
            const auto mismatch = Pattern(3).check(bytes.data(), length, 5);
            ASSERT_TRUE(mismatch) << length << " " << at;
            EXPECT_EQ(mismatch->offset, at);
            EXPECT_EQ(mismatch->wrong_bytes, 1U);
            EXPECT_NE(mismatch->expected_word, mismatch->actual_word);
        }
    }
}

TEST(Pattern, shift_by_one_word_is_found) {
    const auto shifted = made(3, 4096, 8);
    EXPECT_TRUE(Pattern(3).check(shifted.data(), shifted.size()));
}

TEST(Pattern, swapped_cache_lines_are_found) {
    auto bytes = made(3, 4096);
    std::swap_ranges(bytes.begin() + 64, bytes.begin() + 128, bytes.begin() + 1024);
    const auto mismatch = Pattern(3).check(bytes.data(), bytes.size());
    ASSERT_TRUE(mismatch);
    EXPECT_EQ(mismatch->offset, 64U);
}

TEST(Pattern, other_seed_is_found) {
    const auto bytes = made(4, 64);
    EXPECT_TRUE(Pattern(5).check(bytes.data(), bytes.size()));
}

TEST(Pattern, description_names_offset_and_bytes) {
    auto bytes = made(1, 16);
    bytes[9] ^= 0xff;
    const auto text = Pattern(1).check(bytes.data(), bytes.size())->describe();
    EXPECT_NE(text.find("offset 9"), std::string::npos);
    EXPECT_NE(text.find("1 bytes wrong"), std::string::npos);
}

TEST(Pattern, nothing_to_check_is_right) {
    EXPECT_FALSE(Pattern(1).check(nullptr, 0));
}

}  // namespace
}  // namespace vrdma::verbs_util
