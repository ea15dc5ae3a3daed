// IBA 9.7.1, 9.7.2: PSNs are compared modulo 2^24, and half of them are ahead.
#include "dataplane/transport/psn.h"

#include <gtest/gtest.h>

namespace vrdma::transport {
namespace {

TEST(Psn, expand_of_the_same_number_is_the_reference) {
    const Sequence s = first_sequence(Psn::of(77));
    EXPECT_EQ(expand(Psn::of(77), s), s);
}

TEST(Psn, expand_just_before_the_wrap_counts_on) {
    const Sequence s = first_sequence(Psn::of(kPsnMask));
    EXPECT_EQ(expand(Psn::of(0), s), s + 1);
    EXPECT_EQ(psn_of(s + 1).value, 0U);
}

TEST(Psn, expand_just_after_the_wrap_looks_back) {
    const Sequence s = first_sequence(Psn::of(kPsnMask)) + 3;
    EXPECT_EQ(expand(Psn::of(kPsnMask), s), s - 3);
}

TEST(Psn, expand_takes_the_nearer_half) {
    const Sequence s = first_sequence(Psn::of(0));
    EXPECT_EQ(expand(Psn::of((1 << 23) - 1), s), s + (1 << 23) - 1);
    EXPECT_EQ(expand(Psn::of(1 << 23), s), s - (1 << 23));
}

TEST(Psn, expand_after_many_wraps_keeps_its_distance) {
    const Sequence s = first_sequence(Psn::of(5)) + (uint64_t{1} << 40);
    EXPECT_EQ(expand(Psn::of(4), s), s - 1);
    EXPECT_EQ(expand(Psn::of(6), s), s + 1);
}

}  // namespace
}  // namespace vrdma::transport
