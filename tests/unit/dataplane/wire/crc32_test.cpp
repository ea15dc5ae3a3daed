#include "dataplane/wire/crc32.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "dataplane/wire/crc32_fold.h"

namespace vrdma::wire {
namespace {

// Bit by bit, as the polynomial says.
uint32_t reference(uint32_t state, std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
        state ^= std::to_integer<uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit) {
            state = (state >> 1) ^ ((state & 1) != 0 ? 0xedb88320U : 0);
        }
    }
    return state;
}

std::vector<std::byte> noise(size_t length) {
    std::vector<std::byte> bytes(length);
    uint64_t state = 0x9e3779b97f4a7c15;
    for (std::byte& byte : bytes) {
        state = state * 6364136223846793005 + 1442695040888963407;
        byte = static_cast<std::byte>(state >> 56);
    }
    return bytes;
}

class Crc32 : public testing::TestWithParam<CrcMethod> {
  protected:
    void SetUp() override {
        if (!crc32_supported(GetParam())) {
            GTEST_SKIP() << "this CPU lacks the instructions";
        }
    }
};

TEST_P(Crc32, check_string_has_the_published_value) {
    const auto bytes = std::as_bytes(std::span("123456789", 9));
    EXPECT_EQ(~crc32_update_by(GetParam(), 0xffffffff, bytes), 0xcbf43926U);
}

TEST_P(Crc32, every_length_at_every_offset_equals_the_bitwise_reference) {
    const auto bytes = noise(1000);
    for (size_t offset = 0; offset < 17; ++offset) {
        for (size_t length = 0; length <= 600; ++length) {
            const auto piece = std::span(bytes).subspan(offset, length);
            const uint32_t seed = static_cast<uint32_t>(0x12345678 + offset * 977 + length);
            ASSERT_EQ(crc32_update_by(GetParam(), seed, piece), reference(seed, piece))
                << "length " << length << " offset " << offset;
        }
    }
}

TEST_P(Crc32, long_pieces_equal_the_bitwise_reference) {
    const auto bytes = noise(70000);
    for (const size_t length : {1023U, 1024U, 4096U, 4097U, 65536U, 69999U}) {
        const auto piece = std::span(bytes).subspan(1, length);
        EXPECT_EQ(crc32_update_by(GetParam(), 7, piece), reference(7, piece)) << length;
    }
}

TEST_P(Crc32, pieces_equal_the_whole) {
    const auto bytes = noise(600);
    const uint32_t whole = crc32_update_by(GetParam(), 5, bytes);
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
        const uint32_t first = crc32_update_by(GetParam(), 5, std::span(bytes).first(cut));
        ASSERT_EQ(crc32_update_by(GetParam(), first, std::span(bytes).subspan(cut)), whole) << cut;
    }
}

TEST_P(Crc32, fused_copy_equals_copy_and_crc_and_touches_nothing_else) {
    constexpr std::byte kFence{0x5a};
    const auto bytes = noise(1000);
    for (size_t offset = 0; offset < 5; ++offset) {
        for (size_t length = 0; length <= 900; ++length) {
            std::vector<std::byte> target(length + 64, kFence);
            const uint32_t state = crc32_copy_by(GetParam(), 99, target.data() + 32 - offset,
                                                 bytes.data() + offset, length);
            const auto piece = std::span(bytes).subspan(offset, length);
            ASSERT_EQ(state, reference(99, piece)) << length;
            for (size_t i = 0; i < target.size(); ++i) {
                const size_t at = i - (32 - offset);
                ASSERT_EQ(target[i], at < length ? piece[at] : kFence) << length << " at " << i;
            }
        }
    }
}

TEST_P(Crc32, masked_equals_the_crc_of_the_bytes_with_the_bits_set) {
    const auto bytes = noise(101);
    const auto ones = noise(190);
    for (size_t length = 16; length <= 100; length += 4) {
        std::vector<std::byte> masked(length);
        for (size_t i = 0; i < length; ++i) {
            masked[i] = bytes[i + 1] | ones[i + 90];
        }
        EXPECT_EQ(crc32_masked_by(GetParam(), 77, bytes.data() + 1, ones.data() + 90, length),
                  reference(77, masked))
            << length;
    }
}

// The source ends and begins at the borders of a heap block, which the address sanitizer guards.
TEST_P(Crc32, source_of_exactly_its_length_is_not_read_beyond) {
    for (size_t length = 1; length <= 300; ++length) {
        const auto bytes = noise(length);
        std::vector<std::byte> target(length);
        EXPECT_EQ(crc32_copy_by(GetParam(), 1, target.data(), bytes.data(), length),
                  crc32_update_by(GetParam(), 1, bytes));
    }
}

INSTANTIATE_TEST_SUITE_P(Methods, Crc32,
                         testing::Values(CrcMethod::Table, CrcMethod::Carryless,
                                         CrcMethod::Carryless256, CrcMethod::Carryless512),
                         [](const auto& test) -> std::string {
                             switch (test.param) {
                                 case CrcMethod::Table:
                                     return "table";
                                 case CrcMethod::Carryless:
                                     return "carryless";
                                 case CrcMethod::Carryless256:
                                     return "carryless_256";
                                 case CrcMethod::Carryless512:
                                     return "carryless_512";
                             }
                             return "unknown";
                         });

TEST(Crc32Dispatch, best_supported_method_is_taken) {
    EXPECT_TRUE(crc32_supported(crc32_method()));
    for (const auto method : {CrcMethod::Table, CrcMethod::Carryless, CrcMethod::Carryless256,
                              CrcMethod::Carryless512}) {
        if (crc32_supported(method)) {
            EXPECT_GE(crc32_method(), method);
        }
    }
    const auto bytes = noise(333);
    std::array<std::byte, 333> target{};
    EXPECT_EQ(crc32_update(3, bytes), reference(3, bytes));
    EXPECT_EQ(crc32_copy(3, target.data(), bytes.data(), bytes.size()), reference(3, bytes));
    EXPECT_EQ(std::memcmp(target.data(), bytes.data(), bytes.size()), 0);
}

// Intel's paper and its many users print these.
TEST(Crc32Fold, derived_constants_equal_the_published_ones) {
    EXPECT_EQ(crc32_fold::kFold512.low, 0x154442bd4U);
    EXPECT_EQ(crc32_fold::kFold512.high, 0x1c6e41596U);
    EXPECT_EQ(crc32_fold::kFold128.low, 0x1751997d0U);
    EXPECT_EQ(crc32_fold::kFold128.high, 0x0ccaa009eU);
    EXPECT_EQ(crc32_fold::kFold64, 0x163cd6124U);
    EXPECT_EQ(crc32_fold::kModulus, 0x1db710641U);
    EXPECT_EQ(crc32_fold::kBarrett, 0x1f7011641U);
}

}  // namespace
}  // namespace vrdma::wire
