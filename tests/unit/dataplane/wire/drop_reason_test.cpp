#include "dataplane/wire/drop_reason.h"

#include <gtest/gtest.h>

#include <set>

namespace vrdma::wire {
namespace {

TEST(DropReason, every_value_has_its_own_name_and_a_text) {
    std::set<std::string_view> names;
    for (size_t i = 0; i < kDropReasonCount; ++i) {
        const auto reason = static_cast<DropReason>(i);
        EXPECT_TRUE(names.insert(drop_reason_name(reason)).second) << i;
        EXPECT_NE(drop_reason_name(reason), "unknown") << i;
        EXPECT_FALSE(drop_reason_text(reason).empty()) << i;
    }
    EXPECT_EQ(drop_reason_name(DropReason::Icrc), "icrc");
    EXPECT_EQ(drop_reason_name(DropReason::BthVersion), "bth_version");
}

}  // namespace
}  // namespace vrdma::wire
