#include "dataplane/app/group_list.h"

#include <map>

#include <gtest/gtest.h>

namespace vrdma::app {
namespace {

using control::GroupReport;
using net::MembershipState;

vrdma_gid_entry gid(uint8_t last) {
    vrdma_gid_entry made{};
    made.gid[0] = 0xff;
    made.gid[15] = last;
    return made;
}

struct GroupLists : testing::Test {
    GroupLists() {
        for (const auto& [index, name, network] :
             {std::tuple(0U, "b", "blue"), std::tuple(1U, "a", "blue"),
              std::tuple(2U, "c", "green")}) {
            vnics[index].name = name;
            vnics[index].network = network;
        }
    }
    [[nodiscard]] control::GroupList list(uint32_t limit = 100) const {
        return list_groups(
            parts,
            [this](uint32_t index) {
                const auto found = vnics.find(index);
                return found == vnics.end() ? nullptr : &found->second;
            },
            limit);
    }

    std::map<uint32_t, control::VnicConfig> vnics;
    std::vector<GroupQuery> parts{2};  // of two workers
};

TEST_F(GroupLists, queue_pairs_of_a_vnic_on_two_workers_are_one_entry) {
    parts[0].found = {{10, gid(1), 0, MembershipState::Joined, {9, 3}}};
    parts[1].found = {{10, gid(1), 0, MembershipState::Joining, {5}}};
    const control::GroupList found = list();
    ASSERT_EQ(found.groups.size(), 1U);
    EXPECT_EQ(found.total, 1U);
    const control::GroupInfo& info = found.groups[0];
    EXPECT_EQ(info.network, "blue");
    EXPECT_EQ(info.network_id, 10U);
    EXPECT_EQ(info.vnic, "b");
    EXPECT_EQ(info.group.octets[15], 1);
    EXPECT_EQ(info.qpns, (std::vector<uint32_t>{3, 5, 9}));
    EXPECT_EQ(info.port, GroupReport::kJoining) << "one worker's report is still to come";
}

TEST_F(GroupLists, entries_are_by_network_group_and_name) {
    parts[0].found = {{11, gid(1), 2, MembershipState::None, {1}},
                      {10, gid(2), 1, MembershipState::Unreported, {2}},
                      {10, gid(1), 0, MembershipState::Joined, {3}}};
    parts[1].found = {{10, gid(1), 1, MembershipState::Joined, {4}}};
    const control::GroupList found = list();
    ASSERT_EQ(found.groups.size(), 4U);
    std::vector<uint32_t> order;
    for (const control::GroupInfo& info : found.groups) {
        order.push_back(info.qpns.at(0));
    }
    EXPECT_EQ(order, (std::vector<uint32_t>{4, 3, 2, 1}));
    EXPECT_EQ(found.groups[2].port, GroupReport::kUnreported);
    EXPECT_EQ(found.groups[3].port, GroupReport::kNone);
}

TEST_F(GroupLists, list_that_is_cut_says_how_many_there_are) {
    parts[0].found = {{10, gid(1), 0, {}, {1}}, {10, gid(2), 0, {}, {2}}};
    const control::GroupList found = list(1);
    EXPECT_EQ(found.groups.size(), 1U);
    EXPECT_EQ(found.total, 2U);
}

TEST_F(GroupLists, vnic_that_is_leaving_is_left_out) {
    parts[0].found = {{10, gid(1), 7, {}, {1}}};
    EXPECT_EQ(list().total, 0U);
}

}  // namespace
}  // namespace vrdma::app
