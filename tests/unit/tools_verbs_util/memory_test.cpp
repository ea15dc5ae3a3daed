#include "tools/verbs_util/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace vrdma::verbs_util {
namespace {

class PlainMemory : public testing::TestWithParam<MemoryKind> {};

TEST_P(PlainMemory, is_zero_and_aligned_to_a_cache_line) {
    const auto buffer = Buffer::allocate(GetParam(), 100'001);
    ASSERT_TRUE(buffer) << buffer.error().message();
    EXPECT_EQ(buffer->size(), 100'001U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data()) % 64, 0U);
    EXPECT_TRUE(std::all_of(buffer->data(), buffer->data() + buffer->size(),
                            [](std::byte b) { return b == std::byte{0}; }));
}

INSTANTIATE_TEST_SUITE_P(Each, PlainMemory,
                         testing::Values(MemoryKind::kMalloc, MemoryKind::kMmap,
                                         MemoryKind::kMemfd));

TEST(Buffer, moved_from_owns_nothing) {
    auto buffer = Buffer::allocate(MemoryKind::kMmap, 4096);
    ASSERT_TRUE(buffer);
    Buffer other;
    other = std::move(*buffer);
    EXPECT_EQ(buffer->data(), nullptr);
    EXPECT_NE(other.data(), nullptr);
}

TEST(MemoryKind, every_name_reads_back) {
    for (const auto kind :
         {MemoryKind::kMalloc, MemoryKind::kMmap, MemoryKind::kMemfd, MemoryKind::kHugetlb}) {
        EXPECT_EQ(memory_kind_from(memory_kind_name(kind)), kind);
    }
}

TEST(MemoryKind, unknown_name_is_refused) {
    EXPECT_FALSE(memory_kind_from("gpu"));
}

}  // namespace
}  // namespace vrdma::verbs_util
