// Keys, bounds, rights and ranges of memory regions: every refusal alone.
#include "dataplane/memory/mr_table.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace vrdma {
namespace {

constexpr uint32_t kPd = 3;
constexpr uint32_t kMrs = 16;
constexpr uint32_t kExtraRanges = 8;
constexpr uint64_t kIova = 0x1000;
constexpr uint64_t kLength = 100;
constexpr uint32_t kAll = VRDMA_ACCESS_MASK;

class Table : public testing::Test {
  protected:
    Table() : table(arena, kMrs, kExtraRanges, 42, regions) {
        for (uint32_t i = 0; i < regions.size(); ++i) {
            regions[i].base = memory[i].data();
        }
    }
    std::optional<uint32_t> add(const std::vector<vrdma_mr_range>& ranges, uint64_t iova = kIova,
                                uint32_t access = kAll) {
        uint64_t length = 0;
        for (const vrdma_mr_range& range : ranges) {
            length += range.length;
        }
        return table.add({.pd = kPd,
                          .access = access,
                          .context = 1,
                          .iova = iova,
                          .length = length,
                          .ranges = ranges});
    }
    uint32_t add_plain(uint32_t access = kAll) {
        return *add({{0, 0, 50, kLength}}, kIova, access);
    }
    [[nodiscard]] Access access(uint32_t index, uint64_t address = kIova, uint64_t length = kLength,
                                uint32_t rights = 0) const {
        return {table[index].key, kPd, address, length, rights};
    }
    void expect_refused(const Access& wanted, vrdma_reason local, vrdma_reason remote) {
        const auto here = table.check(wanted, false);
        ASSERT_FALSE(here.has_value());
        EXPECT_EQ(here.error(), local);
        const auto there = table.check(wanted, true);
        ASSERT_FALSE(there.has_value());
        EXPECT_EQ(there.error(), remote);
    }

    std::vector<std::byte> space =
        std::vector<std::byte>(MrTable::bytes_for(kMrs, kExtraRanges) + 64);
    Arena arena{space.data() + (64 - reinterpret_cast<uintptr_t>(space.data()) % 64),
                space.size() - 64};
    std::array<std::array<std::byte, 16384>, 3> memory{};
    std::array<RegionMapping, 3> regions{};
    MrTable table;
};

TEST_F(Table, allowed_access_finds_its_bytes) {
    const uint32_t index = add_plain();
    const auto mr = table.check(access(index, kIova + 10, 20, kAll), true);
    ASSERT_TRUE(mr.has_value());
    const MemorySpan span = table.span(**mr, kIova + 10, 20);
    EXPECT_EQ(span.host, memory[0].data() + 60);
    EXPECT_EQ(span.length, 20U);
    EXPECT_EQ(span.mapping, &regions[0]);
}

TEST_F(Table, whole_region_and_its_last_byte_are_inside) {
    const uint32_t index = add_plain();
    EXPECT_TRUE(table.check(access(index), false).has_value());
    EXPECT_TRUE(table.check(access(index, kIova + kLength - 1, 1), false).has_value());
    EXPECT_TRUE(table.check(access(index, kIova + kLength, 0), false).has_value());
}

// IBA 10.6.3.2: key, domain, bounds, rights.
TEST_F(Table, key_zero_is_unknown_even_when_entries_are_free) {
    expect_refused({0, kPd, kIova, 1, 0}, VRDMA_REASON_LKEY_UNKNOWN, VRDMA_REASON_RKEY_UNKNOWN);
}

TEST_F(Table, every_other_key_is_unknown) {
    const uint32_t key = table[add_plain()].key;
    for (uint32_t bit = 0; bit < 32; ++bit) {
        expect_refused({key ^ 1U << bit, kPd, kIova, 1, 0}, VRDMA_REASON_LKEY_UNKNOWN,
                       VRDMA_REASON_RKEY_UNKNOWN);
    }
}

TEST_F(Table, other_domain_is_refused) {
    Access wanted = access(add_plain());
    wanted.pd = kPd + 1;
    expect_refused(wanted, VRDMA_REASON_LKEY_PD, VRDMA_REASON_RKEY_PD);
}

TEST_F(Table, range_is_refused_at_each_edge) {
    const uint32_t index = add_plain();
    for (const auto& [address, length] :
         std::vector<std::pair<uint64_t, uint64_t>>{{kIova - 1, 1},
                                                    {kIova, kLength + 1},
                                                    {kIova + 1, kLength},
                                                    {kIova + kLength, 1},
                                                    {kIova + kLength + 1, 0},
                                                    {0, UINT64_MAX},
                                                    {kIova, UINT64_MAX},
                                                    {UINT64_MAX, 2},
                                                    {UINT64_MAX - 10, 100}}) {
        expect_refused(access(index, address, length), VRDMA_REASON_LKEY_RANGE,
                       VRDMA_REASON_RKEY_RANGE);
    }
}

TEST_F(Table, each_missing_right_is_refused) {
    for (uint32_t missing = 1; missing <= kAll; missing <<= 1) {
        const uint32_t index = add_plain(kAll & ~missing);
        expect_refused(access(index, kIova, 1, missing), VRDMA_REASON_LKEY_ACCESS,
                       VRDMA_REASON_RKEY_ACCESS);
        EXPECT_TRUE(table.check(access(index, kIova, 1, kAll & ~missing), false).has_value());
        table.remove(index);
    }
}

TEST_F(Table, region_at_the_end_of_the_address_space_works) {
    const uint64_t iova = UINT64_MAX - 99;
    const uint32_t index = *add({{0, 0, 0, 99}}, iova);
    EXPECT_TRUE(table.check(access(index, iova, 99), false).has_value());
    expect_refused(access(index, iova, 100), VRDMA_REASON_LKEY_RANGE, VRDMA_REASON_RKEY_RANGE);
    expect_refused(access(index, 0, 1), VRDMA_REASON_LKEY_RANGE, VRDMA_REASON_RKEY_RANGE);
}

TEST_F(Table, empty_region_allows_nothing_but_nothing) {
    const uint32_t index = *add({});
    EXPECT_TRUE(table.check(access(index, kIova, 0), false).has_value());
    expect_refused(access(index, kIova, 1), VRDMA_REASON_LKEY_RANGE, VRDMA_REASON_RKEY_RANGE);
}

TEST_F(Table, removed_key_is_unknown_and_never_comes_back_soon) {
    std::set<uint32_t> seen;
    for (int i = 0; i < 1000; ++i) {
        const uint32_t index = add_plain();
        const uint32_t key = table[index].key;
        EXPECT_NE(key, 0U);
        EXPECT_TRUE(seen.insert(key).second) << "a key was given twice";
        const Access wanted = access(index);
        ASSERT_TRUE(table.check(wanted, false).has_value());
        table.remove(index);
        expect_refused(wanted, VRDMA_REASON_LKEY_UNKNOWN, VRDMA_REASON_RKEY_UNKNOWN);
    }
    EXPECT_EQ(table.used(), 0U);
}

TEST_F(Table, hints_never_find_another_key) {
    // More keys than hints share them.
    std::vector<uint32_t> live;
    for (uint32_t i = 0; i < kMrs; ++i) {
        live.push_back(*add({{0, 0, i, 1}}));
    }
    for (int round = 0; round < 3; ++round) {
        for (uint32_t i = 0; i < kMrs; ++i) {
            const auto mr = table.check(access(live[i], kIova, 1), false);
            ASSERT_TRUE(mr.has_value());
            EXPECT_EQ(table.span(**mr, kIova, 1).host, memory[0].data() + i);
        }
    }
}

TEST_F(Table, exhausted_entries_are_refused_and_usable_again_after_a_removal) {
    std::vector<uint32_t> live;
    for (uint32_t i = 0; i < kMrs; ++i) {
        live.push_back(add_plain());
    }
    EXPECT_FALSE(add({{0, 0, 0, 1}}).has_value());
    EXPECT_EQ(table.used(), kMrs);
    table.remove(live[4]);
    EXPECT_TRUE(add({{0, 0, 0, 1}}).has_value());
}

// ---- chains of ranges

class Chain : public Table {
  protected:
    // 10, 4096 and 20 bytes in three regions.
    std::vector<vrdma_mr_range> three{{2, 0, 7, 10}, {0, 0, 100, 4096}, {1, 0, 5, 20}};
};

TEST_F(Chain, spans_end_where_their_range_ends) {
    const Mr& mr = table[*add(three)];
    EXPECT_EQ(table.span(mr, kIova, 5000).host, memory[2].data() + 7);
    EXPECT_EQ(table.span(mr, kIova, 5000).length, 10U);
    EXPECT_EQ(table.span(mr, kIova + 9, 5000).length, 1U);
    EXPECT_EQ(table.span(mr, kIova + 10, 5000).host, memory[0].data() + 100);
    EXPECT_EQ(table.span(mr, kIova + 10, 5000).length, 4096U);
    EXPECT_EQ(table.span(mr, kIova + 10 + 4095, 5).length, 1U);
    EXPECT_EQ(table.span(mr, kIova + 10 + 4096, 5).host, memory[1].data() + 5);
    EXPECT_EQ(table.span(mr, kIova + 10 + 4096 + 19, 5).length, 1U);
}

TEST_F(Chain, ranges_are_visited_in_order) {
    std::vector<uint32_t> visited;
    table.for_each_range(table[*add(three)],
                         [&](const MrRange& range) { visited.push_back(range.region); });
    EXPECT_EQ(visited, (std::vector<uint32_t>{2, 0, 1}));
}

TEST_F(Chain, empty_region_has_no_range) {
    int visits = 0;
    table.for_each_range(table[*add({})], [&](const MrRange&) { ++visits; });
    EXPECT_EQ(visits, 0);
}

TEST_F(Chain, exhausted_ranges_are_refused_and_nothing_changes) {
    const std::vector<vrdma_mr_range> five(5, {0, 0, 0, 4096});
    const uint32_t first = *add(five);  // four extra ranges of eight
    const uint32_t second = *add(five);
    EXPECT_FALSE(add({{0, 0, 0, 4096}, {0, 0, 0, 4096}}).has_value());
    EXPECT_EQ(table.used(), 2U);
    table.remove(first);
    table.remove(second);
    EXPECT_TRUE(add(std::vector<vrdma_mr_range>(9, {0, 0, 0, 4096})).has_value());
}

TEST_F(Chain, process_memory_is_named_by_the_tenants_address) {
    regions[1].base = nullptr;
    regions[1].process_address = 0x5000;
    const Mr& mr = table[*add({{1, 0, 16, 100}})];
    const MemorySpan span = table.span(mr, kIova + 4, 8);
    EXPECT_EQ(span.host, nullptr);
    EXPECT_EQ(span.process_address, 0x5000U + 16 + 4);
}

}  // namespace
}  // namespace vrdma
