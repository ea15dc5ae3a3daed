#include "dataplane/tenant/quota.h"

#include <gtest/gtest.h>

namespace vrdma {
namespace {

ResourceCounts limits() {
    ResourceCounts counts;
    counts[Resource::Qps] = 2;
    counts[Resource::MrBytes] = 1000;
    return counts;
}

TEST(Quota, amount_up_to_the_limit_is_given) {
    Quota quota(limits());
    EXPECT_TRUE(quota.take(Resource::Qps, 1));
    EXPECT_TRUE(quota.take(Resource::Qps, 1));
    EXPECT_EQ(quota.used()[Resource::Qps], 2U);
}

TEST(Quota, amount_beyond_the_limit_is_refused_and_changes_nothing) {
    Quota quota(limits());
    EXPECT_TRUE(quota.take(Resource::MrBytes, 600));
    EXPECT_FALSE(quota.take(Resource::MrBytes, 401));
    EXPECT_EQ(quota.used()[Resource::MrBytes], 600U);
    EXPECT_TRUE(quota.take(Resource::MrBytes, 400));
}

TEST(Quota, amount_that_would_wrap_is_refused) {
    Quota quota(limits());
    EXPECT_TRUE(quota.take(Resource::MrBytes, 600));
    EXPECT_FALSE(quota.take(Resource::MrBytes, UINT64_MAX - 100));
}

TEST(Quota, resource_without_a_limit_entry_allows_nothing) {
    Quota quota(limits());
    EXPECT_FALSE(quota.take(Resource::Srqs, 1));
    EXPECT_TRUE(quota.take(Resource::Srqs, 0));
}

TEST(Quota, what_is_given_back_can_be_taken_again) {
    Quota quota(limits());
    EXPECT_TRUE(quota.take(Resource::Qps, 2));
    EXPECT_FALSE(quota.take(Resource::Qps, 1));
    quota.give_back(Resource::Qps, 1);
    EXPECT_TRUE(quota.take(Resource::Qps, 1));
}

TEST(Quota, all_of_a_context_is_given_back_at_once) {
    Quota quota(limits());
    ResourceCounts used;
    used[Resource::Qps] = 2;
    used[Resource::MrBytes] = 900;
    EXPECT_TRUE(quota.take(Resource::Qps, 2));
    EXPECT_TRUE(quota.take(Resource::MrBytes, 900));
    quota.give_back(used);
    EXPECT_EQ(quota.used()[Resource::Qps], 0U);
    EXPECT_EQ(quota.used()[Resource::MrBytes], 0U);
}

TEST(QuotaDeathTest, giving_back_more_than_was_taken_is_our_bug) {
    EXPECT_DEATH(
        {
            Quota quota(limits());
            quota.give_back(Resource::Qps, 1);
        },
        "internal error");
}

TEST(Quota, every_resource_has_a_name) {
    for (size_t i = 0; i < static_cast<size_t>(Resource::Count); ++i) {
        EXPECT_NE(resource_name(static_cast<Resource>(i)), "?");
    }
}

}  // namespace
}  // namespace vrdma
