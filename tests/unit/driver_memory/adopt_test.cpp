// Adopting private memory and giving it back: contents, concurrent writers, what stays untouched.
#include <malloc.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/driver_memory/support.h"

namespace vrdma::tenant_memory {
namespace {

class AdoptTest : public MemoryTest {};

TEST_F(AdoptTest, private_memory_becomes_a_file_and_comes_back) {
    const Memory memory(8 * kPage);
    memory.word(0) = 1;
    memory.word(5 * kPage) = 2;
    const Pin pin = pinned(memory.address(), memory.size());
    ASSERT_EQ(reach_of(pin), Reach::Adopted);
    EXPECT_TRUE(pin.ranges[0].writable);
    EXPECT_EQ(pin.ranges[0].length, memory.size());
    {
        const View view(pin.ranges[0]);
        EXPECT_EQ(view.word(0), 1u);
        EXPECT_EQ(view.word(5 * kPage), 2u);
        view.word(6 * kPage) = 3;
        memory.word(kPage) = 4;
        EXPECT_EQ(view.word(kPage), 4u);
        EXPECT_EQ(memory.word(6 * kPage), 3u);
    }
    map().unpin(pin.id);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
    EXPECT_EQ(memory.word(0), 1u);
    EXPECT_EQ(memory.word(kPage), 4u);
    EXPECT_EQ(memory.word(5 * kPage), 2u);
    EXPECT_EQ(memory.word(6 * kPage), 3u);
}

TEST_F(AdoptTest, range_inside_a_page_covers_exactly_what_was_asked) {
    const Memory memory(4 * kPage);
    memset(memory.data(), 7, memory.size());
    const Pin pin = pinned(memory.address(100), kPage);
    ASSERT_EQ(reach_of(pin), Reach::Adopted);
    EXPECT_EQ(pin.ranges[0].address, memory.address(100));
    EXPECT_EQ(pin.ranges[0].length, kPage);
    {
        const View view(pin.ranges[0]);
        view.data()[0] = 8;
        EXPECT_EQ(memory.data()[100], 8);
    }
    map().unpin(pin.id);
    EXPECT_EQ(memory.data()[99], 7);
    EXPECT_EQ(memory.data()[100], 8);
}

TEST_F(AdoptTest, read_only_memory_is_adopted_for_reading) {
    const Memory memory(2 * kPage);
    memory.word(0) = 9;
    mprotect(memory.data(), memory.size(), PROT_READ);
    const Pin pin = pinned(memory.address(), memory.size(), false);
    ASSERT_EQ(reach_of(pin), Reach::Adopted);
    EXPECT_FALSE(pin.ranges[0].writable);
    EXPECT_EQ(View(pin.ranges[0]).word(0), 9u);
    map().unpin(pin.id);
    EXPECT_EQ(memory.word(0), 9u);
    EXPECT_FALSE(mapping_at(memory.address()).write);
}

// Each thread increments words of its own and checks each before; a lost store shows at once.
class Writers {
  public:
    Writers(const Memory& memory, uint32_t threads) : memory_(memory) {
        for (uint32_t i = 0; i < threads; i++) {
            workers_.emplace_back([this, i] { run(i); });
        }
    }
    // Returns lost stores.
    uint64_t stop() {
        stop_ = true;
        for (std::thread& worker : workers_) {
            worker.join();
        }
        return lost_;
    }
    void wait_for_progress(uint64_t steps) const {
        const uint64_t until = done_ + steps;
        while (done_ < until) {
            std::this_thread::yield();
        }
    }

  private:
    void run(uint32_t self) {
        const uint64_t pages = memory_.size() / kPage;
        std::vector<uint64_t> shadow(pages, 0);
        uint32_t random = self + 1;
        while (!stop_) {
            for (int i = 0; i < 64; i++) {
                random = random * 1664525 + 1013904223;
                const uint64_t page = (random >> 8) % pages;
                volatile uint64_t& word = memory_.word(page * kPage + self * 64);
                if (word != shadow[page]) {
                    lost_++;
                }
                word = ++shadow[page];
            }
            done_ += 64;
        }
        for (uint64_t page = 0; page < pages; page++) {
            if (memory_.word(page * kPage + self * 64) != shadow[page]) {
                lost_++;
            }
        }
    }

    const Memory& memory_;
    std::atomic<bool> stop_{false};
    std::atomic<uint64_t> done_{0};
    std::atomic<uint64_t> lost_{0};
    std::vector<std::thread> workers_;
};

TEST_F(AdoptTest, concurrent_writers_lose_no_store_on_the_way_in_or_out) {
    if (!can_withhold()) {
        GTEST_SKIP() << map().adoption_text();
    }
    const Memory memory(16 * kMiB);
    // Half of the pages exist; the others are first touched while we work.
    memset(memory.data(), 0, memory.size() / 2);
    Writers writers(memory, 3);
    for (int round = 0; round < 10; round++) {
        writers.wait_for_progress(1000);
        const Pin pin = pinned(memory.address(), memory.size());
        EXPECT_EQ(reach_of(pin), Reach::Adopted) << pin.ranges[0].reason;
        writers.wait_for_progress(1000);
        map().unpin(pin.id);
    }
    EXPECT_EQ(writers.stop(), 0u);
}

TEST_F(AdoptTest, concurrent_system_calls_wait_and_lose_nothing) {
    if (!can_withhold()) {
        GTEST_SKIP() << map().adoption_text();
    }
    const Memory memory(4 * kMiB);
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> wrong{0};
    std::atomic<uint64_t> rounds{0};
    // read(2) writes into the range from inside the kernel, write(2) reads it there.
    std::thread kernel([&] {
        for (uint64_t i = 1; !stop; i++) {
            const uint64_t at = i * 7919 % (memory.size() / kPage) * kPage;
            if (write(pipe_ends[1], &i, 8) != 8 || read(pipe_ends[0], memory.data() + at, 8) != 8 ||
                memory.word(at) != i || write(pipe_ends[1], memory.data() + at, 8) != 8) {
                wrong++;
            }
            uint64_t back = 0;
            if (read(pipe_ends[0], &back, 8) != 8 || back != i) {
                wrong++;
            }
            rounds++;
        }
    });
    for (int round = 0; round < 20; round++) {
        const Pin pin = pinned(memory.address(), memory.size());
        const uint64_t until = rounds + 100;
        while (rounds < until) {
            std::this_thread::yield();
        }
        map().unpin(pin.id);
    }
    stop = true;
    kernel.join();
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    EXPECT_EQ(wrong, 0u);
}

void pin_sparse_memory() {
    constexpr uint64_t kBytes = 64 * kGiB;
    const Memory memory(kBytes, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    madvise(memory.data(), kBytes, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < 8; i++) {
        memory.word(i * 8 * kGiB + 3 * kPage) = i + 1;
    }
    const Pin pin = pinned(memory.address(), kBytes);
    EXPECT_EQ(reach_of(pin), Reach::Adopted) << pin.ranges[0].reason;
    EXPECT_LE(map().census().file_bytes, 64 * kPage);
    for (uint64_t i = 0; i < 8; i++) {
        EXPECT_EQ(memory.word(i * 8 * kGiB + 3 * kPage), i + 1);
    }
    memory.word(kGiB) = 77;
    map().unpin(pin.id);
    EXPECT_EQ(memory.word(kGiB), 77u);
    EXPECT_EQ(memory.word(7 * 8 * kGiB + 3 * kPage), 8u);
    EXPECT_EQ(mapping_at(memory.address()).end, memory.address(kBytes));
}

TEST_F(AdoptTest, untouched_address_space_is_not_populated) {
    if (VRDMA_SANITIZED) {
        GTEST_SKIP() << "the sanitizer's shadow leaves no room for 64 GiB twice";
    }
    pin_sparse_memory();
}

TEST_F(AdoptTest, untouched_address_space_is_not_populated_without_pagemap_scan) {
    if (VRDMA_SANITIZED) {
        GTEST_SKIP() << "the sanitizer's shadow leaves no room for 64 GiB twice";
    }
    Policy policy;
    policy.pagemap_scan = false;
    map().set_policy(policy);
    pin_sparse_memory();
}

TEST_F(AdoptTest, zero_pages_stay_holes) {
    const Memory memory(64 * kPage);
    madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
    volatile uint64_t sum = 0;
    for (uint64_t at = kPage; at < memory.size(); at += kPage) {
        sum = sum + memory.word(at);  // maps the zero page
    }
    const Pin pin = pinned(memory.address(), memory.size());
    EXPECT_LE(map().census().file_bytes, kPage);
    map().unpin(pin.id);
}

TEST_F(AdoptTest, contents_are_right_without_pagemap_scan) {
    Policy policy;
    policy.pagemap_scan = false;
    map().set_policy(policy);
    const Memory memory(130 * kMiB);
    for (uint64_t at = 0; at < memory.size(); at += 3 * kPage) {
        memory.word(at) = at + 1;
    }
    const Pin pin = pinned(memory.address(), memory.size());
    for (uint64_t at = 0; at < memory.size(); at += 3 * kPage) {
        ASSERT_EQ(memory.word(at), at + 1);
    }
    map().unpin(pin.id);
    for (uint64_t at = 0; at < memory.size(); at += 3 * kPage) {
        ASSERT_EQ(memory.word(at), at + 1);
    }
}

TEST_F(AdoptTest, heap_memory_is_freed_grown_and_trimmed_after_unpin) {
    for (const size_t bytes : {size_t{100}, size_t{5000}, size_t{70000}, size_t{4} << 20}) {
        std::vector<char*> blocks;
        for (int i = 0; i < 20; i++) {
            char* block = static_cast<char*>(malloc(bytes));
            memset(block, i, bytes);
            blocks.push_back(block);
        }
        std::vector<Pin> pins;
        for (char* block : blocks) {
            pins.push_back(pinned(reinterpret_cast<uint64_t>(block), bytes));
            EXPECT_EQ(covered_bytes(pins.back()), bytes);
        }
        for (const Pin& pin : pins) {
            map().unpin(pin.id);
        }
        for (size_t i = 0; i < blocks.size(); i++) {
            blocks[i] = static_cast<char*>(realloc(blocks[i], bytes * 2));
            for (size_t k = 0; k < bytes; k++) {
                ASSERT_EQ(blocks[i][k], static_cast<char>(i));
            }
            free(blocks[i]);
        }
        malloc_trim(0);
    }
}

TEST_F(AdoptTest, heap_goes_on_while_parts_of_it_are_adopted) {
    std::thread arena([] {  // a thread's arena is mmapped, the first one's is brk
        std::vector<std::unique_ptr<char[]>> blocks;
        std::vector<Pin> pins;
        for (int i = 0; i < 50; i++) {
            blocks.emplace_back(new char[3000]);
            memset(blocks.back().get(), i, 3000);
            pins.push_back(pinned(reinterpret_cast<uint64_t>(blocks.back().get()), 3000));
        }
        for (int i = 0; i < 1000; i++) {
            const std::vector<char> churn(static_cast<size_t>(i) * 100, 1);
        }
        for (size_t i = 0; i < blocks.size(); i++) {
            EXPECT_EQ(blocks[i][2999], static_cast<char>(i));
            map().unpin(pins[i].id);
            EXPECT_EQ(blocks[i][0], static_cast<char>(i));
        }
    });
    arena.join();
}

TEST_F(AdoptTest, mappings_of_the_heap_merge_again) {
    if (VRDMA_SANITIZED) {
        GTEST_SKIP() << "this heap is the sanitizer's";
    }
    char* block = static_cast<char*>(malloc(20000));
    memset(block, 1, 20000);
    const uint32_t before = mapping_count();
    const Pin pin = pinned(reinterpret_cast<uint64_t>(block), 20000);
    EXPECT_EQ(reach_of(pin), Reach::Adopted) << pin.ranges[0].reason;
    EXPECT_GT(mapping_count(), before);
    map().unpin(pin.id);
    EXPECT_EQ(mapping_count(), before);
    free(block);
}

TEST_F(AdoptTest, nothing_leaks_over_random_cycles) {
    const Memory memory(4 * kMiB);
    std::mt19937 random(1);
    memset(memory.data(), 5, memory.size());
    map().unpin(pinned(memory.address(), 1).id);
    const uint32_t mappings = mapping_count();
    const uint32_t descriptors = descriptor_count();
    for (int cycle = 0; cycle < 50; cycle++) {
        std::vector<Pin> pins;
        for (int i = 0; i < 8; i++) {
            const uint64_t at = random() % (memory.size() - 1);
            const uint64_t length = 1 + random() % std::min<uint64_t>(memory.size() - at, kMiB);
            pins.push_back(pinned(memory.address(at), length));
        }
        std::shuffle(pins.begin(), pins.end(), random);
        for (const Pin& pin : pins) {
            map().unpin(pin.id);
        }
    }
    for (uint64_t at = 0; at < memory.size(); at++) {
        ASSERT_EQ(memory.data()[at], 5);
    }
    EXPECT_EQ(descriptor_count(), descriptors);
    EXPECT_EQ(mapping_count(), mappings);
}

TEST_F(AdoptTest, overlapping_pins_share_pieces_in_any_order) {
    std::mt19937 random(2);
    for (int round = 0; round < 20; round++) {
        const Memory memory(64 * kPage);
        for (uint64_t at = 0; at < memory.size(); at += 8) {
            memory.word(at) = at;
        }
        std::vector<Pin> pins;
        for (int i = 0; i < 6; i++) {
            const uint64_t at = random() % memory.size();
            const uint64_t length = 1 + random() % (memory.size() - at);
            pins.push_back(pinned(memory.address(at), length));
            EXPECT_EQ(covered_bytes(pins.back()), length);
            for (const Range& range : pins.back().ranges) {
                EXPECT_EQ(range.reach, Reach::Adopted);
                const View view(range);
                EXPECT_EQ(memcmp(view.data(), reinterpret_cast<char*>(range.address), range.length),
                          0);
            }
        }
        std::shuffle(pins.begin(), pins.end(), random);
        for (const Pin& pin : pins) {
            map().unpin(pin.id);
            for (uint64_t at = 0; at < memory.size(); at += 8) {
                ASSERT_EQ(memory.word(at), at);
            }
        }
        EXPECT_TRUE(is_private_anonymous(memory.address()));
    }
}

TEST_F(AdoptTest, same_range_twice_is_one_piece) {
    const Memory memory(4 * kPage);
    const Pin first = pinned(memory.address(), memory.size());
    const Pin second = pinned(memory.address(kPage), kPage);
    EXPECT_EQ(map().census().pieces, 1u);
    EXPECT_EQ(first.ranges[0].piece_id, second.ranges[0].piece_id);
    EXPECT_EQ(second.ranges[0].fd_offset, first.ranges[0].fd_offset + kPage);
    map().unpin(first.id);
    EXPECT_FALSE(is_private_anonymous(memory.address()));
    map().unpin(second.id);
    EXPECT_TRUE(is_private_anonymous(memory.address()));
}

TEST_F(AdoptTest, unpin_of_an_unknown_id_is_ignored) {
    map().unpin(PinId{0});
    map().unpin(PinId{~0ull});
}

TEST_F(AdoptTest, flags_of_the_mapping_are_kept) {
    const Memory memory(4 * kMiB);
    memory.word(0) = 1;
    madvise(memory.data(), memory.size(), MADV_DONTFORK);
    madvise(memory.data(), memory.size(), MADV_DONTDUMP);
    madvise(memory.data(), memory.size(), MADV_HUGEPAGE);
    constexpr uint32_t kFlags = kVmaDontFork | kVmaDontDump | kVmaHuge;
    const Pin pin = pinned(memory.address(), memory.size());
    EXPECT_EQ(reach_of(pin), Reach::Adopted) << pin.ranges[0].reason;
    EXPECT_EQ(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kFlags, kFlags);
    map().unpin(pin.id);
    EXPECT_EQ(mapping_at(memory.address(), VmaReader::Source::Smaps).flags & kFlags, kFlags);
    EXPECT_EQ(memory.word(0), 1u);
}

}  // namespace
}  // namespace vrdma::tenant_memory
