#include "tools/vrdmactl/units.h"

#include <gtest/gtest.h>

namespace vrdma::vrdmactl {
namespace {

TEST(Units, bytes_use_the_largest_unit_that_fits) {
    EXPECT_EQ(bytes_text(0), "0 B");
    EXPECT_EQ(bytes_text(1023), "1023 B");
    EXPECT_EQ(bytes_text(1024), "1 KiB");
    EXPECT_EQ(bytes_text(1536), "1.5 KiB");
    EXPECT_EQ(bytes_text(std::uint64_t{1} << 40), "1 TiB");
    EXPECT_EQ(bytes_text(UINT64_MAX), "16 EiB");
}

TEST(Units, duration_has_two_units_at_most) {
    EXPECT_EQ(duration_text(59), "59 s");
    EXPECT_EQ(duration_text(185), "3 min 5 s");
    EXPECT_EQ(duration_text(7260), "2 h 1 min");
    EXPECT_EQ(duration_text(86400 * 5 + 3 * 3600), "5 d 3 h");
}

TEST(Units, ack_timeout_is_4_microseconds_times_a_power_of_two) {
    EXPECT_EQ(ack_timeout_text(0), "0 (waits without end)");
    EXPECT_EQ(ack_timeout_text(14), "14 (67.1 ms)");
    EXPECT_EQ(ack_timeout_text(20), "20 (4.29 s)");
    EXPECT_EQ(ack_timeout_text(99), "99");
}

TEST(Units, rnr_timer_follows_the_specifications_table) {
    EXPECT_EQ(rnr_timer_text(0), "0 (655 ms)");
    EXPECT_EQ(rnr_timer_text(12), "12 (0.64 ms)");
    EXPECT_EQ(rnr_timer_text(31), "31 (492 ms)");
    EXPECT_EQ(rnr_timer_text(32), "32");
}

TEST(Units, rnr_retry_7_has_no_end) {
    EXPECT_EQ(rnr_retry_text(6), "6");
    EXPECT_EQ(rnr_retry_text(7), "7 (without end)");
}

TEST(Units, gid_that_maps_ipv4_shows_the_address) {
    EXPECT_EQ(gid_text("0000:0000:0000:0000:0000:ffff:0a00:00ff"),
              "10.0.0.255 (::ffff:10.0.0.255)");
    EXPECT_EQ(gid_text("fe80:0000:0000:0000:0000:00ff:fe00:0001"),
              "fe80:0000:0000:0000:0000:00ff:fe00:0001");
    EXPECT_EQ(gid_text("0000:0000:0000:0000:0000:ffff:zzzz:00ff"),
              "0000:0000:0000:0000:0000:ffff:zzzz:00ff");
    EXPECT_EQ(gid_text("0000:0000:0000:0000:0000:0000:0000:0000"), "empty");
    EXPECT_EQ(gid_text("-"), "-");
}

}  // namespace
}  // namespace vrdma::vrdmactl
