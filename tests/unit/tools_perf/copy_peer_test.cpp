#include "tools/vrdma-perf/copy_peer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace vrdma::perf {
namespace {

TEST(CopyNonTemporal, copies_every_byte_and_no_more) {
    struct alignas(64) Line {
        unsigned char bytes[64];
    };
    std::vector<Line> from(9);
    std::vector<Line> to(9);
    for (std::size_t i = 0; i < from.size() * 64; ++i) {
        from[i / 64].bytes[i % 64] = static_cast<unsigned char>(i * 7 + 1);
    }
    copy_non_temporal(to.data(), from.data(), 8 * 64);
    EXPECT_EQ(std::memcmp(to.data(), from.data(), 8 * 64), 0);
    for (const unsigned char byte : to[8].bytes) {
        EXPECT_EQ(byte, 0);
    }
}

TEST(CopyPeer, does_as_many_blocks_as_asked) {
    auto peer = CopyPeer::create(0);
    ASSERT_TRUE(peer) << peer.error().message();
    const auto result = peer->measure({3, 0});
    ASSERT_TRUE(result);
    EXPECT_EQ(result->operations, 3U);
    EXPECT_GT(result->ticks, 0U);
}

}  // namespace
}  // namespace vrdma::perf
