#include "dataplane/base/permutation.h"

#include <gtest/gtest.h>

#include <vector>

namespace vrdma {
namespace {

// The vector of the SPECK paper, appendix C: key 1918 1110 0908 0100, plaintext 6574 694c.
TEST(Permutation32, speck32_published_vector_matches) {
    const Permutation32 cipher(0x1918111009080100ULL);
    EXPECT_EQ(cipher.encrypt(0x6574694cU), 0xa86842f2U);
    EXPECT_EQ(cipher.decrypt(0xa86842f2U), 0x6574694cU);
}

TEST(Permutation24, every_value_maps_to_one_value_and_back) {
    const Permutation24 permutation(0x0123456789abcdefULL);
    std::vector<bool> seen(1U << 24);
    for (uint32_t value = 0; value < 1U << 24; value += 7) {
        const uint32_t image = permutation.encrypt(value);
        ASSERT_LT(image, 1U << 24);
        ASSERT_FALSE(seen[image]);
        seen[image] = true;
        ASSERT_EQ(permutation.decrypt(image), value);
    }
}

TEST(Permutation24, neighbours_are_not_neighbours) {
    const Permutation24 permutation(42);
    int close = 0;
    for (uint32_t value = 0; value < 1000; ++value) {
        const int64_t gap =
            int64_t{permutation.encrypt(value)} - int64_t{permutation.encrypt(value + 1)};
        close += gap > -256 && gap < 256 ? 1 : 0;
    }
    EXPECT_LT(close, 5);
}

}  // namespace
}  // namespace vrdma
