// Moving bytes between spans: mapped memory, process memory, memory that is gone; atomics.
#include "dataplane/memory/transfer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

namespace vrdma {
namespace {

struct Piece {
    uint64_t address;
    size_t length;
    bool operator==(const Piece&) const = default;
};

// Process memory is the test's own memory.
class FakeProcess final : public ProcessMemory {
  public:
    bool read(int, uint64_t address, std::byte* to, size_t length) override {
        if (gone) {
            return false;
        }
        std::memcpy(to, reinterpret_cast<const std::byte*>(address), length);
        return true;
    }
    bool write(int, uint64_t address, const std::byte* from, size_t length) override {
        if (gone) {
            return false;
        }
        writes.push_back({address, length});
        std::memcpy(reinterpret_cast<std::byte*>(address), from, length);
        return true;
    }
    bool gone = false;
    std::vector<Piece> writes;
};

constexpr size_t kRoom = 200'000;

class Transfers : public testing::Test {
  protected:
    Transfers() : source(kRoom), target(kRoom) {
        for (size_t i = 0; i < kRoom; ++i) {
            source[i] = static_cast<std::byte>(i * 7 + (i >> 8));
        }
        gone_mapping.broken = &gone_flag;
    }
    [[nodiscard]] MemorySpan mapped(std::vector<std::byte>& memory, size_t at, size_t length) {
        return {memory.data() + at, 0, &mapping, length};
    }
    [[nodiscard]] MemorySpan process(std::vector<std::byte>& memory, size_t at, size_t length) {
        return {nullptr, reinterpret_cast<uint64_t>(memory.data() + at), &mapping, length};
    }
    [[nodiscard]] MemorySpan broken(std::vector<std::byte>& memory, size_t length) {
        return {memory.data(), 0, &gone_mapping, length};
    }
    void expect_copied(size_t length) {
        EXPECT_EQ(std::memcmp(target.data(), source.data(), length), 0);
        EXPECT_EQ(target[length], std::byte{0});
    }

    FakeProcess process_memory;
    Transfer transfer{process_memory};
    RegionMapping mapping{.process_file = 5};
    RegionMapping gone_mapping;
    std::atomic<bool> gone_flag = true;
    std::vector<std::byte> source;
    std::vector<std::byte> target;
};

TEST_F(Transfers, every_combination_of_kinds_copies_all_bytes) {
    constexpr size_t kLength = 150'001;  // more than one bounce buffer
    for (const bool from_process : {false, true}) {
        for (const bool to_process : {false, true}) {
            for (const bool streaming : {false, true}) {
                std::fill(target.begin(), target.end(), std::byte{0});
                const MemorySpan from =
                    from_process ? process(source, 0, kLength) : mapped(source, 0, kLength);
                const MemorySpan to =
                    to_process ? process(target, 0, kLength) : mapped(target, 0, kLength);
                ASSERT_EQ(transfer.copy({&to, 1}, {&from, 1}, streaming), Transferred::Done);
                expect_copied(kLength);
            }
        }
    }
}

TEST_F(Transfers, pieces_of_both_sides_need_not_match) {
    const std::vector<MemorySpan> from{mapped(source, 0, 10), process(source, 10, 100),
                                       mapped(source, 110, 1)};
    const std::vector<MemorySpan> to{process(target, 0, 50), mapped(target, 50, 11),
                                     mapped(target, 61, 200)};
    EXPECT_EQ(transfer.copy(to, from, false), Transferred::Done);
    expect_copied(111);
}

// The kernel does not promise an order inside one write: the last line goes alone.
TEST_F(Transfers, end_of_a_write_into_process_memory_is_a_write_of_its_own) {
    const MemorySpan from = mapped(source, 0, 200);
    const MemorySpan to = process(target, 0, 200);
    ASSERT_EQ(transfer.copy({&to, 1}, {&from, 1}, false), Transferred::Done);
    const auto start = reinterpret_cast<uint64_t>(target.data());
    EXPECT_EQ(process_memory.writes, (std::vector<Piece>{{start, 192}, {start + 192, 8}}));
}

TEST_F(Transfers, source_process_that_is_gone_is_named) {
    process_memory.gone = true;
    const MemorySpan from = process(source, 0, 10);
    const MemorySpan to = mapped(target, 0, 10);
    EXPECT_EQ(transfer.copy({&to, 1}, {&from, 1}, false), Transferred::SourceGone);
}

TEST_F(Transfers, destination_process_that_is_gone_is_named) {
    process_memory.gone = true;
    const MemorySpan from = mapped(source, 0, 10);
    const MemorySpan to = process(target, 0, 10);
    EXPECT_EQ(transfer.copy({&to, 1}, {&from, 1}, false), Transferred::DestinationGone);
}

TEST_F(Transfers, broken_mapping_is_never_believed) {
    const MemorySpan good = mapped(target, 0, 10);
    const MemorySpan bad = broken(source, 10);
    const MemorySpan far = process(target, 0, 10);
    EXPECT_EQ(transfer.copy({&good, 1}, {&bad, 1}, false), Transferred::SourceGone);
    EXPECT_EQ(transfer.copy({&bad, 1}, {&good, 1}, false), Transferred::DestinationGone);
    EXPECT_EQ(transfer.copy({&far, 1}, {&bad, 1}, false), Transferred::SourceGone);
    EXPECT_EQ(transfer.copy({&bad, 1}, {&far, 1}, false), Transferred::DestinationGone);
}

TEST_F(Transfers, store_fills_spans_in_order) {
    const std::vector<MemorySpan> to{mapped(target, 0, 3), process(target, 3, 80),
                                     mapped(target, 83, 50)};
    EXPECT_EQ(transfer.store(to, source.data(), 100), Transferred::Done);
    expect_copied(100);
}

TEST_F(Transfers, load_gathers_spans_in_order) {
    const std::vector<MemorySpan> from{mapped(source, 0, 3), process(source, 3, 80),
                                       mapped(source, 83, 50)};
    EXPECT_EQ(transfer.load(target.data(), from, 100), Transferred::Done);
    expect_copied(100);
}

TEST_F(Transfers, store_and_load_name_the_memory_that_is_gone) {
    const MemorySpan bad = broken(target, 8);
    const MemorySpan far = process(target, 0, 8);
    std::byte word[8] = {};
    EXPECT_EQ(transfer.store({&bad, 1}, word, 8), Transferred::DestinationGone);
    EXPECT_EQ(transfer.load(word, {&bad, 1}, 8), Transferred::SourceGone);
    process_memory.gone = true;
    EXPECT_EQ(transfer.store({&far, 1}, word, 8), Transferred::DestinationGone);
    EXPECT_EQ(transfer.load(word, {&far, 1}, 8), Transferred::SourceGone);
}

class Atomics : public Transfers {
  protected:
    void set(uint64_t value) { std::memcpy(target.data(), &value, 8); }
    [[nodiscard]] uint64_t value() const {
        uint64_t word = 0;
        std::memcpy(&word, target.data(), 8);
        return word;
    }
    uint64_t original = 0;
};

TEST_F(Atomics, compare_and_swap_works_on_both_kinds) {
    for (const bool remote : {false, true}) {
        const MemorySpan word = remote ? process(target, 0, 8) : mapped(target, 0, 8);
        set(5);
        EXPECT_EQ(transfer.compare_and_swap(word, 4, 9, original), Transferred::Done);
        EXPECT_EQ(original, 5U);
        EXPECT_EQ(value(), 5U);
        EXPECT_EQ(transfer.compare_and_swap(word, 5, 9, original), Transferred::Done);
        EXPECT_EQ(original, 5U);
        EXPECT_EQ(value(), 9U);
    }
}

TEST_F(Atomics, fetch_and_add_wraps_on_both_kinds) {
    for (const bool remote : {false, true}) {
        const MemorySpan word = remote ? process(target, 0, 8) : mapped(target, 0, 8);
        set(UINT64_MAX);
        EXPECT_EQ(transfer.fetch_and_add(word, 3, original), Transferred::Done);
        EXPECT_EQ(original, UINT64_MAX);
        EXPECT_EQ(value(), 2U);
    }
}

TEST_F(Atomics, memory_that_is_gone_is_named) {
    const MemorySpan bad = broken(target, 8);
    EXPECT_EQ(transfer.fetch_and_add(bad, 1, original), Transferred::DestinationGone);
    EXPECT_EQ(transfer.compare_and_swap(bad, 0, 1, original), Transferred::DestinationGone);
    process_memory.gone = true;
    const MemorySpan far = process(target, 0, 8);
    EXPECT_EQ(transfer.fetch_and_add(far, 1, original), Transferred::DestinationGone);
    EXPECT_EQ(transfer.compare_and_swap(far, 0, 1, original), Transferred::DestinationGone);
}

}  // namespace
}  // namespace vrdma
