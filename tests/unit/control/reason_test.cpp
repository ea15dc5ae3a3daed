#include "dataplane/control/reason.h"

#include <set>

#include <gtest/gtest.h>

#include "driver/abi/status.h"

namespace vrdma::control {
namespace {

TEST(Reason, known_reasons_have_their_own_names) {
    std::set<std::string_view> names;
    for (std::uint32_t reason = 0; reason < VRDMA_REASON_COUNT; ++reason) {
        const ReasonText text = reason_text(reason);
        EXPECT_FALSE(text.meaning.empty());
        if (text.name != "unknown") {
            EXPECT_TRUE(names.insert(text.name).second) << text.name;
        }
    }
    EXPECT_EQ(reason_text(VRDMA_REASON_RNR).name, "rnr");
    EXPECT_EQ(reason_text(VRDMA_REASON_NONE).name, "none");
}

TEST(Reason, gap_in_the_numbers_is_unknown) {
    EXPECT_EQ(reason_text(15).name, "unknown");
}

TEST(Reason, number_of_a_later_release_is_unknown) {
    EXPECT_EQ(reason_text(UINT32_MAX).name, "unknown");
}

}  // namespace
}  // namespace vrdma::control
