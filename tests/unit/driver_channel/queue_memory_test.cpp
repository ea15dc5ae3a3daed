#include "driver/channel/queue_memory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "driver/channel/socket_channel.h"
#include "tests/unit/fake_device/fake_device.h"

namespace vrdma::driver {
namespace {

using vrdma::testing::FakeDevice;

class QueueMemoryTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto opened = SocketChannel::open(device_.socket_path().c_str(), "test", 0);
        ASSERT_TRUE(opened) << opened.error().reason;
        channel_ = std::move(*opened);
        memory_ = std::make_unique<QueueMemory>(*channel_);
    }
    void TearDown() override { EXPECT_EQ(device_.complaint(), ""); }

    QueueBlock allocate(std::size_t bytes) {
        auto block = memory_->allocate(bytes);
        EXPECT_TRUE(block) << block.error().reason;
        return block ? *block : QueueBlock{};
    }

    FakeDevice device_;
    std::unique_ptr<SocketChannel> channel_;
    std::unique_ptr<QueueMemory> memory_;
};

TEST_F(QueueMemoryTest, block_is_seen_by_the_device) {
    const QueueBlock block = allocate(1000);
    block.data[17] = std::byte{0x5a};
    EXPECT_EQ(device_.memory(block.location.region)[block.location.offset + 17], std::byte{0x5a});
}

TEST_F(QueueMemoryTest, blocks_are_aligned_and_do_not_overlap) {
    const QueueBlock a = allocate(65);
    const QueueBlock b = allocate(1);
    EXPECT_EQ(a.location.offset % QueueMemory::kAlignment, 0U);
    EXPECT_EQ(b.location.offset % QueueMemory::kAlignment, 0U);
    EXPECT_GE(b.location.offset, a.location.offset + 65);
}

TEST_F(QueueMemoryTest, small_blocks_share_a_slab) {
    for (int i = 0; i < 100; ++i) {
        [[maybe_unused]] const QueueBlock block = allocate(4096);
    }
    EXPECT_EQ(memory_->slab_count(), 1U);
    EXPECT_EQ(device_.commands(VRDMA_CMD_ADD_REGION).size(), 1U);
}

TEST_F(QueueMemoryTest, full_slab_gets_a_second) {
    [[maybe_unused]] const QueueBlock a = allocate(QueueMemory::kSlabBytes / 2);
    [[maybe_unused]] const QueueBlock b = allocate(QueueMemory::kSlabBytes / 2);
    [[maybe_unused]] const QueueBlock c = allocate(64);
    EXPECT_EQ(memory_->slab_count(), 2U);
}

TEST_F(QueueMemoryTest, large_block_goes_back_with_its_slab) {
    const QueueBlock block = allocate(QueueMemory::kSlabBytes + 64);
    EXPECT_EQ(device_.last(VRDMA_CMD_ADD_REGION).as<vrdma_cmd_add_region>().length,
              QueueMemory::kSlabBytes + 4096);
    memory_->free(block);
    EXPECT_EQ(memory_->slab_count(), 0U);
    EXPECT_EQ(device_.object_count(), 0U);
}

TEST_F(QueueMemoryTest, one_empty_slab_is_kept) {
    const QueueBlock a = allocate(64);
    memory_->free(a);
    EXPECT_EQ(memory_->slab_count(), 1U);
    const QueueBlock b = allocate(QueueMemory::kSlabBytes / 2);
    const QueueBlock c = allocate(QueueMemory::kSlabBytes / 2);
    const QueueBlock d = allocate(64);
    memory_->free(d);
    memory_->free(b);
    memory_->free(c);
    EXPECT_EQ(memory_->slab_count(), 1U);
    EXPECT_EQ(device_.commands(VRDMA_CMD_REMOVE_REGION).size(), 1U);
}

TEST_F(QueueMemoryTest, reused_block_is_zero) {
    const QueueBlock a = allocate(4096);
    std::fill_n(a.data, 4096, std::byte{0xff});
    memory_->free(a);
    const QueueBlock b = allocate(8192);
    EXPECT_EQ(b.location.offset, a.location.offset);
    EXPECT_TRUE(std::all_of(b.data, b.data + 8192, [](std::byte x) { return x == std::byte{0}; }));
}

TEST_F(QueueMemoryTest, freed_neighbours_merge) {
    const QueueBlock a = allocate(4096);
    const QueueBlock b = allocate(4096);
    const QueueBlock c = allocate(4096);
    [[maybe_unused]] const QueueBlock last = allocate(64);
    memory_->free(a);
    memory_->free(c);
    memory_->free(b);
    EXPECT_EQ(allocate(3 * 4096).location.offset, a.location.offset);
}

TEST_F(QueueMemoryTest, refused_region_is_the_error_and_changes_nothing) {
    device_.refuse_next(VRDMA_CMD_ADD_REGION, VRDMA_STATUS_NO_RESOURCE, "no regions left");
    const auto block = memory_->allocate(64);
    ASSERT_FALSE(block);
    EXPECT_EQ(block.error().error, ENOMEM);
    EXPECT_STREQ(block.error().reason, "no regions left");
    EXPECT_EQ(memory_->slab_count(), 0U);
}

TEST_F(QueueMemoryTest, child_reads_zeroes_and_cannot_write_the_parents_queue) {
    const QueueBlock block = allocate(64);
    block.data[0] = std::byte{1};
    memory_->lock();
    const pid_t child = ::fork();
    if (child == 0) {
        memory_->abandon();
        const bool zero = block.data[0] == std::byte{0};
        block.data[0] = std::byte{2};
        ::_exit(zero ? 0 : 1);
    }
    memory_->unlock();
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(block.data[0], std::byte{1});
}

}  // namespace
}  // namespace vrdma::driver
