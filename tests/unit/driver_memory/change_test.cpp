// What the program does to registered memory behind our back: unmap, reuse, move, grow, discard.
#include <stdlib.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "tests/unit/driver_memory/support.h"

namespace vrdma::tenant_memory {
namespace {

class ChangeTest : public MemoryTest {};

void* map_at(uint64_t address, uint64_t bytes) {
    return mmap(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

TEST_F(ChangeTest, memory_mapped_anew_at_a_pinned_address_is_left_alone) {
    const Memory memory(16 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    munmap(memory.data(), memory.size());
    map_at(memory.address(), memory.size());
    memory.word(0) = 2;
    const Vma before = mapping_at(memory.address());
    map().unpin(pin.id);
    EXPECT_EQ(memory.word(0), 2u);
    EXPECT_EQ(mapping_at(memory.address()).start, before.start);
}

TEST_F(ChangeTest, unmapped_memory_stays_unmapped_after_unpin) {
    const Memory memory(16 * kPage);
    memory.word(8 * kPage) = 8;
    const Pin pin = pinned(memory.address(), memory.size());
    munmap(memory.data() + 4 * kPage, 4 * kPage);
    map().unpin(pin.id);
    EXPECT_EQ(mapping_at(memory.address(4 * kPage)).end, 0u);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
    EXPECT_EQ(memory.word(8 * kPage), 8u);
}

TEST_F(ChangeTest, reused_address_gets_a_fresh_piece_while_the_old_pin_lives) {
    const Memory memory(16 * kPage);
    memory.word(0) = 1;
    const Pin old = pinned(memory.address(), memory.size());
    map_at(memory.address(), memory.size());
    memory.word(0) = 2;
    const Pin fresh = pinned(memory.address(), memory.size());
    ASSERT_EQ(reach_of(fresh), Reach::Adopted);
    EXPECT_NE(fresh.ranges[0].piece_id, old.ranges[0].piece_id);
    EXPECT_EQ(View(old.ranges[0]).word(0), 1u);
    EXPECT_EQ(View(fresh.ranges[0]).word(0), 2u);
    map().unpin(old.id);
    EXPECT_FALSE(is_private_anonymous(memory.address()));
    EXPECT_EQ(View(fresh.ranges[0]).word(0), 2u);
    map().unpin(fresh.id);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
    EXPECT_EQ(memory.word(0), 2u);
}

TEST_F(ChangeTest, moved_memory_is_found_and_restored_where_it_went) {
    const Memory from(16 * kPage);
    const Memory to(16 * kPage);
    for (uint64_t at = 0; at < from.size(); at += kPage) {
        from.word(at) = at + 1;
    }
    const Pin pin = pinned(from.address(), from.size());
    ASSERT_EQ(
        mremap(from.data(), from.size(), from.size(), MREMAP_MAYMOVE | MREMAP_FIXED, to.data()),
        to.data());
    map_at(from.address(), from.size());
    from.word(0) = 99;
    EXPECT_EQ(View(pin.ranges[0]).word(kPage), kPage + 1);
    map().unpin(pin.id);
    EXPECT_TRUE(is_private_anonymous(to.address()));
    for (uint64_t at = 0; at < to.size(); at += kPage) {
        EXPECT_EQ(to.word(at), at + 1);
    }
    EXPECT_EQ(from.word(0), 99u);
}

TEST_F(ChangeTest, grown_memory_has_zeros_of_its_own_and_comes_back_whole) {
    const Memory memory(4 * kPage);
    const Memory neighbour(4 * kPage);
    const Memory room(64 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    const Pin other = pinned(neighbour.address(), neighbour.size());
    ASSERT_EQ(mremap(memory.data(), memory.size(), 64 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED,
                     room.data()),
              room.data());
    EXPECT_EQ(room.word(0), 1u);
    for (uint64_t at = 4 * kPage; at < room.size(); at += kPage) {
        EXPECT_EQ(room.word(at), 0u);
        room.word(at) = at;
    }
    EXPECT_EQ(neighbour.word(0), 0u);
    map().unpin(pin.id);
    EXPECT_TRUE(is_private_anonymous(room.address()));
    EXPECT_TRUE(is_private_anonymous(room.address(63 * kPage)));
    EXPECT_EQ(room.word(0), 1u);
    EXPECT_EQ(room.word(63 * kPage), 63 * kPage);
    map().unpin(other.id);
}

TEST_F(ChangeTest, duplicated_mapping_comes_back_as_two_copies) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    void* twin = mremap(memory.data(), 0, memory.size(), MREMAP_MAYMOVE);
    ASSERT_NE(twin, MAP_FAILED);
    map().unpin(pin.id);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
    EXPECT_TRUE(is_private_anonymous(reinterpret_cast<uint64_t>(twin)));
    EXPECT_EQ(memory.word(0), 1u);
    EXPECT_EQ(*static_cast<uint64_t*>(twin), 1u);
    munmap(twin, memory.size());
}

TEST_F(ChangeTest, dontneed_keeps_contents_while_pinned_and_clears_them_after) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    madvise(memory.data(), memory.size(), MADV_DONTNEED);
    EXPECT_EQ(memory.word(0), 1u);
    EXPECT_EQ(View(pin.ranges[0]).word(0), 1u);
    map().unpin(pin.id);
    EXPECT_EQ(memory.word(0), 1u);
    madvise(memory.data(), memory.size(), MADV_DONTNEED);
    EXPECT_EQ(memory.word(0), 0u);
}

TEST_F(ChangeTest, protection_changed_while_pinned_is_the_protection_after) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    mprotect(memory.data(), 2 * kPage, PROT_READ);
    map().unpin(pin.id);
    EXPECT_FALSE(mapping_at(memory.address()).write);
    EXPECT_TRUE(mapping_at(memory.address(2 * kPage)).write);
    EXPECT_EQ(memory.word(0), 1u);
}

TEST_F(ChangeTest, memory_locked_while_pinned_is_locked_after) {
    const Memory memory(4 * kPage);
    memory.word(0) = 1;
    const Pin pin = pinned(memory.address(), memory.size());
    if (syscall(SYS_mlock, memory.data(), memory.size()) != 0) {
        map().unpin(pin.id);
        GTEST_SKIP() << "mlock is not permitted here";
    }
    map().unpin(pin.id);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
    EXPECT_NE(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kVmaLocked, 0u);
    EXPECT_EQ(memory.word(0), 1u);
}

TEST_F(ChangeTest, memory_unmapped_and_remapped_during_pins_never_crashes) {
    if (!can_withhold()) {
        GTEST_SKIP() << map().adoption_text();
    }
    const Memory memory(4 * kMiB);
    std::atomic<bool> stop{false};
    std::thread misuser([&] {
        for (uint64_t i = 0; !stop; i++) {
            map_at(memory.address(i * 37 % 512 * 2 * kPage), 2 * kPage);
        }
    });
    for (int round = 0; round < 200; round++) {
        auto pin = map().pin(memory.address(), memory.size(), true);
        if (pin) {
            map().unpin(pin->id);
        }
    }
    stop = true;
    misuser.join();
    map_at(memory.address(), memory.size());
    map().unpin(pinned(memory.address(), memory.size()).id);
}

}  // namespace
}  // namespace vrdma::tenant_memory
