#include "tests/e2e/wire_verify/plan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <tuple>
#include <vector>

namespace vrdma::wire_verify {
namespace {

using Memory = std::vector<std::byte>;

std::uint64_t word_at(const Memory& memory, std::uint32_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, memory.data() + offset, sizeof(value));
    return value;
}

struct Sides {
    explicit Sides(std::uint64_t round) {
        for (std::uint32_t side = 0; side < 2; ++side) {
            fill(memory[side], options, round, side);
        }
    }
    void apply_one(const Operation& operation) { apply({operation}, {memory[0], memory[1]}); }

    PlanOptions options;
    Memory memory[2] = {Memory(kRegionBytes), Memory(kRegionBytes)};
};

TEST(PlanRound, operations_are_inside_the_region_and_apart_from_each_other) {
    for (std::uint64_t round = 0; round < 1000; ++round) {
        std::uint64_t end = 0;
        const auto operations = plan_round({}, round);
        ASSERT_FALSE(operations.empty());
        ASSERT_LE(operations.size(), kMaxOperations);
        for (const Operation& operation : operations) {
            EXPECT_GE(operation.offset, end);
            end = std::uint64_t{operation.offset} + operation.size;
            EXPECT_LE(end, kRegionBytes);
            EXPECT_LE(operation.size, PlanOptions{}.max_size);
            EXPECT_GT(operation.size, 0U);
        }
    }
}

TEST(PlanRound, transport_has_exactly_its_opcodes) {
    const std::size_t wanted[] = {7, 4, 2};
    const ibv_qp_type types[] = {IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD};
    for (std::size_t index = 0; index < 3; ++index) {
        std::set<ibv_wr_opcode> found;
        for (std::uint64_t round = 0; round < 100; ++round) {
            for (const Operation& operation : plan_round({.type = types[index]}, round)) {
                found.insert(operation.opcode);
            }
        }
        EXPECT_EQ(found.size(), wanted[index]);
        EXPECT_EQ(found.contains(IBV_WR_RDMA_READ), types[index] == IBV_QPT_RC);
        EXPECT_EQ(found.contains(IBV_WR_RDMA_WRITE), types[index] != IBV_QPT_UD);
    }
}

TEST(PlanRound, operations_come_only_from_sides_that_may_start_them) {
    for (std::uint32_t allowed = 1; allowed < 4; ++allowed) {
        std::uint32_t found = 0;
        for (std::uint64_t round = 0; round < 100; ++round) {
            for (const Operation& operation : plan_round({.initiators = allowed}, round)) {
                found |= 1U << operation.initiator;
            }
        }
        EXPECT_EQ(found, allowed);
    }
}

TEST(Fill, memory_of_rounds_sides_and_seeds_differs) {
    Memory first(kRegionBytes);
    fill(first, {}, 0, 0);
    for (const auto& [seed, round, side] :
         {std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>{1, 1, 0}, {1, 0, 1}, {2, 0, 0}}) {
        Memory other(kRegionBytes);
        fill(other, {.seed = seed}, round, side);
        EXPECT_NE(word_at(first, 0), word_at(other, 0));
        EXPECT_NE(word_at(first, kRegionBytes - 8), word_at(other, kRegionBytes - 8));
    }
}

TEST(Apply, write_changes_the_other_side_only_where_it_lies) {
    Sides sides(3);
    const Memory before[2] = {sides.memory[0], sides.memory[1]};
    sides.apply_one({.opcode = IBV_WR_RDMA_WRITE, .initiator = 1, .offset = 3, .size = 5});
    EXPECT_EQ(sides.memory[1], before[1]);
    for (std::size_t at = 0; at < 16; ++at) {
        EXPECT_EQ(sides.memory[0][at], before[at >= 3 && at < 8 ? 1 : 0][at]);
    }
}

TEST(Apply, read_changes_the_initiator) {
    Sides sides(3);
    const Memory other = sides.memory[1];
    sides.apply_one({.opcode = IBV_WR_RDMA_READ, .initiator = 0, .offset = 8, .size = 8});
    EXPECT_EQ(word_at(sides.memory[0], 8), word_at(other, 8));
    EXPECT_EQ(sides.memory[1], other);
}

TEST(Apply, atomics_return_what_was_there) {
    Sides sides(3);
    const std::uint64_t there = word_at(sides.memory[1], 8);
    sides.apply_one({.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD, .offset = 8, .add_or_compare = 5});
    EXPECT_EQ(word_at(sides.memory[0], 8), there);
    EXPECT_EQ(word_at(sides.memory[1], 8), there + 5);
    sides.apply_one(
        {.opcode = IBV_WR_ATOMIC_CMP_AND_SWP, .offset = 8, .add_or_compare = there, .swap = 1});
    EXPECT_EQ(word_at(sides.memory[1], 8), there + 5) << "compared unequal";
    sides.apply_one(
        {.opcode = IBV_WR_ATOMIC_CMP_AND_SWP, .offset = 8, .add_or_compare = there + 5, .swap = 1});
    EXPECT_EQ(word_at(sides.memory[0], 8), there + 5);
    EXPECT_EQ(word_at(sides.memory[1], 8), 1U);
}

}  // namespace
}  // namespace vrdma::wire_verify
