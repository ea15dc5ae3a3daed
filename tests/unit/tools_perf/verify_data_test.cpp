#include "tools/vrdma-perf/verify_data.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace vrdma::perf {
namespace {

constexpr VerifyBatch kBatch{0x5eed, 10, 3};

Workload workload_of(std::uint64_t size, Operation operation = Operation::kWrite) {
    Workload workload;
    workload.operation = operation;
    workload.size = size;
    workload.layout = layout_for(size, 0, 3);
    return workload;
}

/// The slots of a batch as they must look after the transfers.
std::vector<std::byte> transferred(const Workload& workload) {
    std::vector<std::byte> memory(workload.layout.bytes());
    background_pattern(kBatch).fill(memory.data(), memory.size());
    for (std::uint64_t i = 0; i < kBatch.count; ++i) {
        message_pattern(kBatch.seed, kBatch.first + i)
            .fill(memory.data() + i * workload.layout.stride, workload.size);
    }
    return memory;
}

verbs_util::Result<void> check_all(const Workload& workload, const std::vector<std::byte>& memory) {
    for (std::uint64_t i = 0; i < kBatch.count; ++i) {
        auto checked = check_slot(workload, kBatch, i, memory.data() + i * workload.layout.stride,
                                  0, "far end");
        if (!checked) {
            return checked;
        }
    }
    return {};
}

TEST(CheckSlot, right_data_passes) {
    for (const std::uint64_t size : {0U, 1U, 8U, 63U, 64U, 100U}) {
        const Workload workload = workload_of(size);
        EXPECT_TRUE(check_all(workload, transferred(workload))) << size;
    }
}

TEST(CheckSlot, every_flipped_byte_is_found_inside_and_behind_the_message) {
    const Workload workload = workload_of(100);
    const auto right = transferred(workload);
    for (std::size_t at = 0; at < right.size(); ++at) {
        auto memory = right;
        memory[at] ^= std::byte{1};
        const auto checked = check_all(workload, memory);
        ASSERT_FALSE(checked) << at;
        EXPECT_EQ(checked.error().kind, verbs_util::ErrorKind::kVerification);
        const bool inside = at % workload.layout.stride < workload.size;
        EXPECT_EQ(checked.error().what.find("behind the message") == std::string::npos, inside);
        EXPECT_NE(checked.error().what.find("seed 0x5eed"), std::string::npos);
    }
}

TEST(CheckSlot, data_of_the_neighbour_message_is_found) {
    const Workload workload = workload_of(64);
    auto memory = transferred(workload);
    std::memcpy(memory.data(), memory.data() + 64, 64);
    EXPECT_FALSE(check_all(workload, memory));
}

TEST(CheckSlot, memory_that_was_never_written_is_found) {
    const Workload workload = workload_of(8);
    std::vector<std::byte> memory(workload.layout.bytes());
    background_pattern(kBatch).fill(memory.data(), memory.size());
    EXPECT_FALSE(check_all(workload, memory));
}

TEST(CheckWordSlot, wrong_word_is_found) {
    const Workload workload = workload_of(8, Operation::kFetchAdd);
    std::vector<std::byte> memory(workload.layout.bytes());
    background_pattern(kBatch).fill(memory.data(), memory.size());
    const std::uint64_t word = 42;
    std::memcpy(memory.data(), &word, sizeof word);
    EXPECT_TRUE(check_word_slot(workload, kBatch, 0, memory.data(), 42, "near end"));
    EXPECT_FALSE(check_word_slot(workload, kBatch, 0, memory.data(), 43, "near end"));
    memory[8] ^= std::byte{1};
    EXPECT_FALSE(check_word_slot(workload, kBatch, 0, memory.data(), 42, "near end"));
}

TEST(AtomicPlan, add_is_modulo_two_to_the_64) {
    const auto plan = atomic_plan(Operation::kFetchAdd, 1, 2);
    EXPECT_EQ(plan.after, plan.before + plan.operand);
}

TEST(AtomicPlan, every_second_swap_must_not_happen) {
    const auto equal = atomic_plan(Operation::kCmpSwap, 1, 2);
    EXPECT_EQ(equal.compare, equal.before);
    EXPECT_EQ(equal.after, equal.operand);
    const auto different = atomic_plan(Operation::kCmpSwap, 1, 3);
    EXPECT_NE(different.compare, different.before);
    EXPECT_EQ(different.after, different.before);
}

}  // namespace
}  // namespace vrdma::perf
