#include "driver/channel/doorbell.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <memory>

#include "driver/channel/unique_fd.h"

namespace vrdma::driver {
namespace {

class DoorbellTest : public ::testing::Test {
  protected:
    std::uint64_t kicks() {
        std::uint64_t count = 0;
        return ::read(kick_.get(), &count, sizeof count) == sizeof count ? count : 0;
    }

    std::unique_ptr<vrdma_doorbell> pages_ = std::make_unique<vrdma_doorbell>();
    UniqueFd kick_{::eventfd(0, EFD_NONBLOCK)};
    Doorbell doorbell_{pages_.get(), kick_.get()};
};

TEST_F(DoorbellTest, ring_sets_leaf_and_summary_bits) {
    doorbell_.ring(5);
    EXPECT_EQ(pages_->leaf[0], std::uint64_t{1} << 5);
    EXPECT_EQ(pages_->summary[0], 1U);
}

TEST_F(DoorbellTest, ring_of_a_high_index_finds_its_words) {
    doorbell_.ring(64 * 70 + 3);
    EXPECT_EQ(pages_->leaf[70], std::uint64_t{1} << 3);
    EXPECT_EQ(pages_->summary[0], 0U);
    EXPECT_EQ(pages_->summary[1], std::uint64_t{1} << 6);
}

TEST_F(DoorbellTest, ring_of_the_last_index_stays_inside) {
    doorbell_.ring(VRDMA_MAX_QPS_PER_CONTEXT - 1);
    EXPECT_EQ(pages_->leaf[VRDMA_DOORBELL_LEAF_WORDS - 1], std::uint64_t{1} << 63);
    EXPECT_EQ(pages_->summary[VRDMA_DOORBELL_SUMMARY_WORDS - 1], std::uint64_t{1} << 63);
}

TEST_F(DoorbellTest, ring_twice_keeps_other_bits) {
    doorbell_.ring(1);
    doorbell_.ring(2);
    doorbell_.ring(1);
    EXPECT_EQ(pages_->leaf[0], 6U);
}

TEST_F(DoorbellTest, ring_kicks_once_when_armed) {
    pages_->need_kick = 1;
    doorbell_.ring(0);
    doorbell_.ring(1);
    EXPECT_EQ(pages_->need_kick, 0U);
    EXPECT_EQ(kicks(), 1U);
}

TEST_F(DoorbellTest, ring_does_not_kick_a_device_that_is_awake) {
    doorbell_.ring(0);
    EXPECT_EQ(kicks(), 0U);
}

}  // namespace
}  // namespace vrdma::driver
