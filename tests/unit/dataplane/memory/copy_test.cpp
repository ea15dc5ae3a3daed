// Copies into memory that somebody polls: right bytes at any length and place, nothing outside, and
// ascending visibility.
#include "dataplane/memory/copy.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

namespace vrdma {
namespace {

using Copy = void (*)(std::byte*, const std::byte*, size_t);

class Copies : public testing::TestWithParam<Copy> {
  protected:
    static constexpr size_t kGuard = 64;
    // Copies `length` bytes between the given misalignments and looks at every byte around.
    void expect_exact(size_t to_at, size_t from_at, size_t length) {
        std::fill(to_.begin(), to_.end(), std::byte{0xee});
        for (size_t i = 0; i < length; ++i) {
            from_[from_at + i] = static_cast<std::byte>(i * 31 + 7);
        }
        GetParam()(to_.data() + kGuard + to_at, from_.data() + from_at, length);
        ASSERT_EQ(std::memcmp(to_.data() + kGuard + to_at, from_.data() + from_at, length), 0)
            << length << " bytes, to " << to_at << ", from " << from_at;
        for (size_t i = 0; i < kGuard; ++i) {
            ASSERT_EQ(to_[to_at + i], std::byte{0xee}) << "before, " << length;
            ASSERT_EQ(to_[kGuard + to_at + length + i], std::byte{0xee}) << "behind, " << length;
        }
    }

    static constexpr size_t kRoom = 4096;
    alignas(64) std::array<std::byte, kRoom> to_;
    alignas(64) std::array<std::byte, kRoom> from_;
};

TEST_P(Copies, every_short_length_at_every_alignment_is_exact) {
    for (size_t length = 0; length <= 600; ++length) {
        for (const size_t to : {0U, 1U, 3U, 8U, 15U, 31U, 33U, 63U}) {
            for (const size_t from : {0U, 1U, 7U, 32U, 61U}) {
                expect_exact(to, from, length);
            }
        }
    }
}

TEST_P(Copies, every_alignment_of_both_sides_is_exact) {
    for (size_t to = 0; to < 64; ++to) {
        for (size_t from = 0; from < 64; ++from) {
            expect_exact(to, from, 300);
        }
    }
}

TEST_P(Copies, lengths_beyond_a_page_are_exact) {
    for (const size_t length : {1000U, 2047U, 2048U, 2049U, 3500U}) {
        for (size_t to = 0; to < 64; to += 7) {
            expect_exact(to, 5, length);
        }
    }
}

// One thread copies messages of one repeated byte into a ring of buffers, the other polls the last
// bytes of each and then expects the whole message.
class Order : public testing::TestWithParam<Copy> {
  protected:
    static constexpr size_t kSlots = 16;
    static constexpr size_t kStride = 8192;

    uint64_t violations(size_t length, size_t misalignment, uint32_t rounds, size_t polled) {
        std::vector<std::byte> memory(kSlots * kStride + 64, std::byte{0});
        const auto slot = [&](uint32_t round) {
            return memory.data() + 64 - (reinterpret_cast<uintptr_t>(memory.data()) & 63) +
                   round % kSlots * kStride + misalignment;
        };
        std::atomic<uint32_t> read{0};
        const Copy copy = GetParam();
        std::thread writer([&] {
            std::vector<std::byte> source(length);
            for (uint32_t round = 0; round < rounds; ++round) {
                while (round - read.load(std::memory_order_acquire) >= kSlots) {
                    std::this_thread::yield();
                }
                std::memset(source.data(), value(round), length);
                copy(slot(round), source.data(), length);
            }
        });
        uint64_t bad = 0;
        for (uint32_t round = 0; round < rounds; ++round) {
            std::byte* message = slot(round);
            const auto expected = static_cast<std::byte>(value(round));
            volatile std::byte* last = message + length - polled;
            for (uint32_t spins = 0; *last != expected; ++spins) {
                if (spins % 1024 == 1023) {
                    std::this_thread::yield();
                }
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            // Everything before what was polled must be there.
            for (size_t i = 0; i < length - polled + 1; ++i) {
                bad += static_cast<volatile std::byte*>(message)[i] != expected ? 1U : 0U;
            }
            read.store(round + 1, std::memory_order_release);
        }
        writer.join();
        return bad;
    }
    // Never zero, and another one when a slot is used again.
    static int value(uint32_t round) { return static_cast<int>(round / kSlots % 255 + 1); }
};

struct Shape {
    size_t length;
    size_t misalignment;
    uint32_t rounds;
};

TEST_P(Order, whoever_sees_the_last_byte_sees_all_of_the_message) {
    constexpr Shape kShapes[] = {{8, 0, 100'000},    {24, 3, 100'000},  {64, 0, 80'000},
                                 {100, 13, 60'000},  {256, 0, 40'000},  {600, 1, 30'000},
                                 {1024, 32, 30'000}, {4096, 0, 12'000}, {8000, 17, 8'000}};
    for (const Shape& shape : kShapes) {
        EXPECT_EQ(violations(shape.length, shape.misalignment, shape.rounds, 1), 0U)
            << shape.length;
    }
}

TEST_P(Order, whoever_sees_the_last_word_sees_all_of_the_message) {
    constexpr Shape kShapes[] = {{16, 0, 40'000}, {128, 8, 30'000}, {4096, 0, 5'000}};
    for (const Shape& shape : kShapes) {
        EXPECT_EQ(violations(shape.length, shape.misalignment, shape.rounds, 8), 0U)
            << shape.length;
    }
}

std::string name(const testing::TestParamInfo<Copy>& parameter) {
    return parameter.param == copy_ascending ? "ascending" : "streaming";
}
INSTANTIATE_TEST_SUITE_P(, Copies, testing::Values(copy_ascending, copy_streaming), name);
INSTANTIATE_TEST_SUITE_P(, Order, testing::Values(copy_ascending, copy_streaming), name);

}  // namespace
}  // namespace vrdma
