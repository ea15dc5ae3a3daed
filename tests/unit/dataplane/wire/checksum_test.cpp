#include "dataplane/wire/checksum.h"

#include <gtest/gtest.h>

#include "tests/unit/dataplane/wire/frames.h"

namespace vrdma::wire {
namespace {

// The example of RFC 1071, section 3.
TEST(ChecksumRfc1071, example_of_the_rfc_has_its_sum) {
    EXPECT_EQ(checksum_finish(checksum_add(0, from_hex("0001f203f4f5f6f7"))),
              static_cast<uint16_t>(~0xddf2));
}

TEST(ChecksumRfc1071, odd_last_byte_counts_as_the_upper_half) {
    EXPECT_EQ(checksum_add(0, from_hex("000102")), 0x0001U + 0x0200U);
}

TEST(ChecksumRfc1071, carries_are_folded_twice) {
    EXPECT_EQ(checksum_finish(0x1ffff), 0xfffe);
}

TEST(ChecksumRfc8200, pseudo_header_has_addresses_length_and_protocol) {
    const Address one{{0, 1}};
    const Address two{{0, 2}};
    EXPECT_EQ(checksum_pseudo_v6(one, two, 0x10004, 58), 1U + 2U + 1U + 4U + 58U);
}

}  // namespace
}  // namespace vrdma::wire
