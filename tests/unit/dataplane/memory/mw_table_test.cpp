// Names of memory windows: which keys mean one, and for how long.
#include "dataplane/memory/mw_table.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "dataplane/memory/mr_table.h"

namespace vrdma {
namespace {

constexpr uint32_t kMws = 16;

class Windows : public testing::Test {
  protected:
    uint32_t add() { return *table.add({.pd = 3, .context = 1, .type = VRDMA_MW_TYPE_2}); }
    [[nodiscard]] uint32_t key_of(uint32_t index) const { return table[index].name << 8; }

    std::vector<std::byte> space = std::vector<std::byte>(MwTable::bytes_for(kMws) + 64);
    Arena arena{space.data() + (64 - reinterpret_cast<uintptr_t>(space.data()) % 64),
                space.size() - 64};
    MwTable table{arena, kMws, 42};
};

TEST_F(Windows, every_key_of_a_window_finds_it) {
    const uint32_t index = add();
    for (uint32_t low = 0; low < 256; ++low) {
        EXPECT_EQ(table.find(key_of(index) | low), &table[index]);
    }
    EXPECT_EQ(table[index].key, 0U);
}

TEST_F(Windows, key_of_nobody_finds_nothing) {
    const uint32_t index = add();
    for (uint32_t other = 1; other < 1000; ++other) {
        EXPECT_EQ(table.find(key_of(index) + (other << 8)), nullptr);
    }
    EXPECT_EQ(table.find(0), nullptr);
}

TEST_F(Windows, key_of_a_removed_window_finds_nothing_when_its_entry_is_used_again) {
    const uint32_t index = add();
    const uint32_t old = key_of(index);
    table.remove(index);
    EXPECT_EQ(table.find(old), nullptr);
    for (uint32_t i = 0; i < kMws; ++i) {
        EXPECT_NE(key_of(add()), old);
    }
    EXPECT_EQ(table.find(old), nullptr);
}

TEST_F(Windows, full_table_adds_nothing) {
    for (uint32_t i = 0; i < kMws; ++i) {
        add();
    }
    EXPECT_FALSE(table.add({.pd = 3, .context = 1, .type = VRDMA_MW_TYPE_1}).has_value());
    EXPECT_EQ(table.used(), kMws);
}

// No number is a key of both kinds.
TEST_F(Windows, keys_of_windows_and_regions_are_apart) {
    constexpr uint32_t kMrs = 64;
    std::vector<std::byte> more(MrTable::bytes_for(kMrs, 1) + 64);
    Arena other{more.data() + (64 - reinterpret_cast<uintptr_t>(more.data()) % 64),
                more.size() - 64};
    MrTable regions(other, kMrs, 1, 42, {});
    for (int i = 0; i < 500; ++i) {
        const uint32_t window = add();
        EXPECT_NE(table[window].name & (kMwKeyBit >> 8), 0U);
        table.remove(window);
        const auto region =
            regions.add({.pd = 3, .access = 0, .context = 1, .iova = 0, .length = 0, .ranges = {}});
        EXPECT_EQ(regions[*region].key & kMwKeyBit, 0U);
        regions.remove(*region);
    }
}

}  // namespace
}  // namespace vrdma
