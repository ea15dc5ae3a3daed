#include "tests/e2e/verify/memory_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

namespace vrdma::verify {
namespace {

/// Side B, towards which side A works.
constexpr unsigned kSide = 1;

class MemoryChecks : public testing::Test {
  protected:
    MemoryChecks() : arena_(new std::byte[kArenaBytes]), memory_(arena_.get(), kSide, 77) {
        epoch_.queues.resize(1);
        plan_.windows[kSide] = {8192, 8192 + 1024};
        add_write(8200, 100);
        add_read_target(8400, 50);
        add_word(8480);
        add_receive(8600, 60, 20);
    }

    void add_write(std::uint32_t offset, std::uint32_t size) {
        Operation operation;
        operation.opcode = Opcode::kWrite;
        operation.size = size;
        operation.remote_offset = offset;
        operation.content = 1;
        plan_.operations.push_back(operation);
    }
    void add_read_target(std::uint32_t offset, std::uint32_t size) {
        Operation operation;
        operation.opcode = Opcode::kRead;
        operation.size = size;
        operation.remote_offset = offset;
        operation.content = 2;
        plan_.operations.push_back(operation);
    }
    void add_word(std::uint32_t offset) {
        Operation operation;
        operation.opcode = Opcode::kCompareSwap;
        operation.size = 8;
        operation.remote_offset = offset;
        operation.before = 5;
        operation.after = 6;
        plan_.operations.push_back(operation);
    }
    void add_receive(std::uint32_t offset, std::uint32_t room, std::uint32_t size) {
        Operation operation;
        operation.opcode = Opcode::kSend;
        operation.size = size;
        operation.content = 3;
        operation.receive = 0;
        Receive receive;
        receive.side = kSide;
        receive.operation = static_cast<std::uint32_t>(plan_.operations.size());
        receive.pieces = {0, 2};
        plan_.pieces = {{offset + 100, 7}, {offset, room - 7}};
        plan_.receives.push_back(receive);
        plan_.operations.push_back(operation);
    }

    void prepare() {
        completions_ = std::make_unique<CompletionCheck>(epoch_, kSide, QueueNumbers{{1}, {2}});
        completions_->begin(plan_, 0);
        memory_.prepare(plan_);
    }
    /// What a right device does.
    void transfer() {
        verbs_util::Pattern(1).fill(at(8200), 100);
        const std::uint64_t after = 6;
        std::memcpy(at(8480), &after, sizeof after);
        verbs_util::Pattern(3).fill(at(8700), 7);
        verbs_util::Pattern(3).fill(at(8600), 13, 7);
    }
    std::byte* at(std::uint32_t offset) { return arena_.get() + offset; }
    verbs_util::Result<void> check() { return memory_.check_round(plan_, *completions_); }

    EpochPlan epoch_;
    RoundPlan plan_;
    std::unique_ptr<std::byte[]> arena_;
    MemoryCheck memory_;
    std::unique_ptr<CompletionCheck> completions_;
};

TEST_F(MemoryChecks, right_transfers_pass_and_leave_background) {
    prepare();
    transfer();
    const auto right = check();
    ASSERT_TRUE(right) << right.error().message();
    EXPECT_TRUE(memory_.check_idle());
}

TEST_F(MemoryChecks, missing_transfer_is_found) {
    prepare();
    EXPECT_FALSE(check());
}

TEST_F(MemoryChecks, every_flipped_byte_of_the_window_is_found) {
    for (std::uint32_t offset = plan_.windows[kSide].begin; offset < plan_.windows[kSide].end;
         ++offset) {
        prepare();
        transfer();
        *at(offset) ^= std::byte{0x40};
        const auto right = check();
        ASSERT_FALSE(right) << offset;
        ASSERT_EQ(right.error().kind, verbs_util::ErrorKind::kVerification);
        *at(offset) ^= std::byte{0x40};
        ASSERT_TRUE(check()) << offset;
    }
}

TEST_F(MemoryChecks, change_elsewhere_in_the_arena_is_found_when_idle) {
    for (const std::uint32_t offset : {0U, 63U, 72U, 4096U, kArenaBytes - 1}) {
        *at(offset) ^= std::byte{1};
        EXPECT_FALSE(memory_.check_idle()) << offset;
        *at(offset) ^= std::byte{1};
        EXPECT_TRUE(memory_.check_idle());
    }
}

TEST_F(MemoryChecks, counter_must_hold_the_sum) {
    Operation operation;
    operation.opcode = Opcode::kFetchAdd;
    operation.size = 8;
    operation.on_counter = true;
    operation.operand = 10;
    plan_.operations.push_back(operation);
    plan_.operations.push_back(operation);
    prepare();
    transfer();
    const std::uint64_t half = 10;
    std::memcpy(at(kCounterOffset), &half, sizeof half);
    EXPECT_FALSE(check());
}

TEST(CounterChain, results_in_any_order_must_chain) {
    const auto arena = std::make_unique<std::byte[]>(kArenaBytes);
    EpochPlan epoch;
    epoch.queues.resize(1);
    RoundPlan plan;
    plan.windows[0] = {8192, 8292};
    plan.pieces = {{8192, 8}, {8208, 8}, {8224, 8}};
    for (std::uint32_t i = 0; i < 3; ++i) {
        Operation operation;
        operation.opcode = Opcode::kFetchAdd;
        operation.size = 8;
        operation.on_counter = true;
        operation.operand = 10 * (i + 1);
        operation.local = {i, 1};
        plan.operations.push_back(operation);
    }
    const auto check = [&](std::uint64_t a, std::uint64_t b, std::uint64_t c) {
        MemoryCheck memory(arena.get(), 0, 1);
        CompletionCheck completions(epoch, 0, {{1}, {2}});
        completions.begin(plan, 0);
        memory.prepare(plan);
        std::memcpy(arena.get() + 8192, &a, 8);
        std::memcpy(arena.get() + 8208, &b, 8);
        std::memcpy(arena.get() + 8224, &c, 8);
        return memory.check_round(plan, completions).has_value();
    };
    EXPECT_TRUE(check(0, 10, 30));
    EXPECT_TRUE(check(50, 0, 20));   // 20 first, then 30, then 10
    EXPECT_FALSE(check(0, 0, 30));   // two saw the same value
    EXPECT_FALSE(check(0, 10, 31));  // a value in between
    EXPECT_FALSE(check(1, 11, 31));  // somebody else added
}

}  // namespace
}  // namespace vrdma::verify
