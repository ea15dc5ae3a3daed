#include "dataplane/net/group_memberships.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/net/limits.h"

namespace vrdma::net {
namespace {

using wire::Address;
using Kind = wire::MembershipMessage::Kind;

const Address kGroup = Address::v4(239, 1, 2, 3);
const Address kOther = Address::v4(239, 1, 2, 4);
const Address kGroup6{{0xff, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}};
const Address kA = Address::v4(10, 0, 0, 1);
const Address kB = Address::v4(10, 0, 0, 2);
const Address kA6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1}};

struct Memberships : testing::Test {
    GroupMemberships groups;
    Instant now{1'000'000'000};

    // Everything that is due until then, with the times.
    struct Said {
        wire::MembershipMessage message;
        Duration after;
    };
    std::vector<Said> listen(Duration time) {
        std::vector<Said> said;
        const Instant begin = now;
        const Instant end = now + time;
        while (groups.next_deadline() <= end) {
            now = std::max(now, groups.next_deadline());
            while (const auto message = groups.poll_transmit(now)) {
                said.push_back({*message, now - begin});
            }
        }
        now = end;
        return said;
    }
    void join(const Address& group, const Address& source) {
        EXPECT_TRUE(groups.join(group, source, now));
    }
    void join_quietly(const Address& group, const Address& source) {
        join(group, source);
        listen(Duration::milliseconds(5000));
    }
    void ask(const std::optional<Address>& group, bool v6 = false) {
        groups.queried({v6, group, Duration::milliseconds(10'000)}, now);
    }
};

TEST_F(Memberships, joining_is_reported_at_once_and_once_more) {
    join(kGroup, kA);
    const auto said = listen(Duration::milliseconds(60'000));
    ASSERT_EQ(said.size(), 2U);
    for (const Said& one : said) {
        EXPECT_EQ(one.message.kind, Kind::Report);
        EXPECT_EQ(one.message.group, kGroup);
        EXPECT_EQ(one.message.source, kA);
    }
    EXPECT_EQ(said[0].after, Duration{});
    EXPECT_EQ(said[1].after, Duration::milliseconds(1000));
    EXPECT_EQ(groups.next_deadline(), Instant::never());
}

TEST_F(Memberships, state_tells_what_others_know_of_it) {
    EXPECT_EQ(groups.state(kGroup, kA), MembershipState::None);
    join(kGroup, kA);
    EXPECT_EQ(groups.state(kGroup, kA), MembershipState::Joining);
    EXPECT_EQ(groups.state(kGroup, kB), MembershipState::None) << "another vNIC";
    EXPECT_EQ(groups.state(kOther, kA), MembershipState::None) << "another group";
    listen(Duration::milliseconds(500));
    EXPECT_EQ(groups.state(kGroup, kA), MembershipState::Joining) << "one report more";
    listen(Duration::milliseconds(1000));
    EXPECT_EQ(groups.state(kGroup, kA), MembershipState::Joined);
    ask(kGroup);
    EXPECT_EQ(groups.state(kGroup, kA), MembershipState::Joined);
    groups.leave(kGroup, kA);
    EXPECT_EQ(groups.state(kGroup, kA), MembershipState::None);
}

// RFC 2236 6: of 224.0.0.1 nobody is told.
TEST_F(Memberships, state_of_a_group_that_is_not_reported_says_so) {
    const Address all_hosts = Address::v4(224, 0, 0, 1);
    ASSERT_FALSE(wire::is_reported(all_hosts));
    join(all_hosts, kA);
    EXPECT_EQ(groups.state(all_hosts, kA), MembershipState::Unreported);
}

TEST_F(Memberships, leaving_is_told_once_and_by_who_leaves) {
    join_quietly(kGroup, kA);
    join_quietly(kGroup, kB);
    groups.leave(kGroup, kA);
    const auto said = listen(Duration::milliseconds(60'000));
    ASSERT_EQ(said.size(), 1U);
    EXPECT_EQ(said[0].message.kind, Kind::Leave);
    EXPECT_EQ(said[0].message.source, kA);
    EXPECT_TRUE(groups.has(kGroup)) << "the other one stays";
    groups.leave(kGroup, kB);
    EXPECT_FALSE(groups.has(kGroup));
}

TEST_F(Memberships, leaving_without_having_joined_says_nothing) {
    join_quietly(kGroup, kA);
    groups.leave(kGroup, kB);
    groups.leave(kOther, kA);
    EXPECT_TRUE(listen(Duration::milliseconds(60'000)).empty());
    EXPECT_TRUE(groups.has(kGroup));
}

TEST_F(Memberships, general_question_is_answered_for_every_group_of_its_family) {
    join_quietly(kGroup, kA);
    join_quietly(kOther, kB);
    join_quietly(kGroup6, kA6);
    ask(std::nullopt);
    EXPECT_EQ(listen(Duration::milliseconds(10'000)).size(), 2U);
    EXPECT_TRUE(listen(Duration::milliseconds(60'000)).empty()) << "once";
    ask(std::nullopt, true);
    const auto said = listen(Duration::milliseconds(10'000));
    ASSERT_EQ(said.size(), 1U);
    EXPECT_EQ(said[0].message.group, kGroup6);
}

TEST_F(Memberships, question_about_a_group_is_answered_by_its_members) {
    join_quietly(kGroup, kA);
    join_quietly(kGroup, kB);
    join_quietly(kOther, kB);
    ask(kGroup);
    const auto said = listen(Duration::milliseconds(10'000));
    ASSERT_EQ(said.size(), 2U);
    EXPECT_EQ(said[0].message.group, kGroup);
    EXPECT_EQ(said[1].message.group, kGroup);
    EXPECT_NE(said[0].message.source, said[1].message.source);
}

TEST_F(Memberships, answers_are_spread_over_the_time_that_is_granted) {
    for (uint8_t i = 0; i < 100; ++i) {
        join_quietly(Address::v4(239, 0, 1, i), kA);
    }
    ask(std::nullopt);
    const auto said = listen(Duration::milliseconds(10'000));
    ASSERT_EQ(said.size(), 100U);
    std::vector<int> per_second(10);
    for (const Said& one : said) {
        ++per_second.at(static_cast<size_t>(one.after.ns / 1'000'000'001));
    }
    EXPECT_GE(*std::min_element(per_second.begin(), per_second.end()), 5);
    EXPECT_LE(*std::max_element(per_second.begin(), per_second.end()), 20);
}

TEST_F(Memberships, second_question_does_not_put_an_answer_off) {
    join_quietly(kGroup, kA);
    ask(kGroup);
    const Instant due = groups.next_deadline();
    for (int i = 0; i < 50; ++i) {
        ask(kGroup);
    }
    EXPECT_LE(groups.next_deadline(), due);
    EXPECT_EQ(listen(Duration::milliseconds(10'000)).size(), 1U);
}

// A question that grants no time, as fast as it can be asked.
TEST_F(Memberships, questions_without_end_are_answered_some_times_a_second) {
    join_quietly(kGroup6, kA6);
    size_t answers = 0;
    for (int i = 0; i < 10'000; ++i) {
        groups.queried({true, std::nullopt, Duration{}}, now);
        answers += listen(Duration::microseconds(100)).size();
    }
    EXPECT_GE(answers, 1U);
    EXPECT_LE(answers, 1000U);
}

TEST_F(Memberships, group_of_all_hosts_is_heard_and_not_reported) {
    const Address all = Address::v4(224, 0, 0, 1);
    join(all, kA);
    EXPECT_TRUE(groups.has(all));
    ask(std::nullopt);
    groups.leave(all, kA);
    EXPECT_TRUE(listen(Duration::milliseconds(60'000)).empty());
}

TEST_F(Memberships, table_has_an_end_and_leaving_makes_room) {
    for (uint32_t i = 0; i < kMaxMemberships; ++i) {
        join(Address::v4(239, 7, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)), kA);
    }
    EXPECT_FALSE(groups.join(kGroup, kA, now));
    EXPECT_FALSE(groups.has(kGroup));
    groups.leave(Address::v4(239, 7, 0, 0), kA);
    join(kGroup, kA);
}

TEST_F(Memberships, more_leaves_than_wait_are_not_told) {
    for (uint32_t i = 0; i < 2 * kMaxLeaves; ++i) {
        join_quietly(Address::v4(239, 7, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)),
                     kA);
    }
    for (uint32_t i = 0; i < 2 * kMaxLeaves; ++i) {
        groups.leave(Address::v4(239, 7, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)),
                     kA);
    }
    EXPECT_EQ(groups.size(), 0U);
    EXPECT_EQ(listen(Duration::milliseconds(10'000)).size(), kMaxLeaves);
}

}  // namespace
}  // namespace vrdma::net
