// The table alone, against a model, and the bounds that no single vNIC reaches.
#include "dataplane/device/multicast_groups.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace vrdma {
namespace {

struct Groups : testing::Test {
    struct Free {
        void operator()(std::byte* memory) const {
            ::operator delete[](memory, std::align_val_t{64});
        }
    };
    const size_t bytes = MulticastGroups::arena_bytes();
    std::unique_ptr<std::byte, Free> memory{new (std::align_val_t{64}) std::byte[bytes]()};
    Arena arena{memory.get(), bytes};
    MulticastGroups groups{arena, 0x1234567};
    std::map<uint32_t, uint32_t> heads;  // Qp::attachments

    static GroupMember member(uint32_t network, uint32_t group, uint32_t vnic, uint32_t qp) {
        vrdma_gid_entry gid{{0xff, 0x1e}};
        for (uint32_t i = 0; i < 4; ++i) {
            gid.gid[12 + i] = static_cast<uint8_t>(group >> (24 - 8 * i));
        }
        return {network, gid, vnic, qp};
    }
    uint32_t& head(uint32_t qp) { return heads.try_emplace(qp, kNone).first->second; }
    const char* attach(const GroupMember& who) { return groups.attach(who, head(who.qp)); }
    bool detach(const GroupMember& who) { return groups.detach(who, head(who.qp)); }
};

TEST_F(Groups, members_stand_in_the_order_in_which_they_came) {
    for (const uint32_t qp : {5U, 3U, 9U}) {
        EXPECT_EQ(attach(member(1, 1, qp % 2, qp)), nullptr);
    }
    const auto is = [&](std::vector<uint32_t> expected) {
        const auto got = groups.members(1, member(1, 1, 0, 0).gid);
        return std::equal(got.begin(), got.end(), expected.begin(), expected.end());
    };
    EXPECT_TRUE(is({5, 3, 9}));
    EXPECT_TRUE(detach(member(1, 1, 1, 3)));
    EXPECT_TRUE(is({5, 9}));
    EXPECT_EQ(groups.members_of(member(1, 1, 1, 0)), 2U);
    EXPECT_TRUE(groups.members(2, member(1, 1, 0, 0).gid).empty()) << "of another network";
}

TEST_F(Groups, table_agrees_with_a_model_whatever_comes_and_goes) {
    std::map<std::pair<uint32_t, uint32_t>, std::set<uint32_t>> model;
    uint32_t attached = 0;
    uint64_t random = 88172645463325252;
    for (int step = 0; step < 20'000; ++step) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const auto network = static_cast<uint32_t>(random % 3);
        const auto group = static_cast<uint32_t>(random >> 8) % 40;
        const auto qp = static_cast<uint32_t>(random >> 16) % 32 + network * 32;
        const GroupMember who = member(network, group, qp / 8, qp);
        auto& expected = model[{network, group}];
        if ((random >> 40) % 2 == 0) {
            ASSERT_EQ(attach(who), nullptr);
            attached += expected.insert(qp).second ? 1U : 0U;
        } else {
            ASSERT_EQ(detach(who), expected.contains(qp));
            attached -= static_cast<uint32_t>(expected.erase(qp));
        }
        const auto members = groups.members(network, who.gid);
        ASSERT_EQ(std::set<uint32_t>(members.begin(), members.end()), expected);
        ASSERT_EQ(groups.attachments(), attached);
    }
    for (auto& [qp, first] : heads) {
        while (first != kNone) {
            ASSERT_TRUE(groups.detach(groups.first_of(first, qp / 8, qp), first));
        }
    }
    EXPECT_EQ(groups.attachments(), 0U);
}

TEST_F(Groups, one_group_has_a_bound_for_all_vnics) {
    for (uint32_t i = 0; i < kMaxGroupMembers; ++i) {
        ASSERT_EQ(attach(member(1, 1, i / VRDMA_MAX_MCAST_QPS, i)), nullptr);
    }
    const char* no = attach(member(1, 1, 900, 9999));
    ASSERT_NE(no, nullptr);
    EXPECT_NE(std::string_view(no).find("on this worker"), std::string_view::npos);
    EXPECT_EQ(attach(member(1, 2, 900, 9999)), nullptr);
}

TEST_F(Groups, groups_of_all_vnics_have_a_bound) {
    constexpr uint32_t kGroups = 1024;
    for (uint32_t i = 0; i < kGroups; ++i) {
        ASSERT_EQ(attach(member(1, i, i / VRDMA_MAX_MCAST_GROUPS, i / VRDMA_MAX_MCAST_GROUPS)),
                  nullptr);
    }
    const char* no = attach(member(1, kGroups, 900, 9999));
    ASSERT_NE(no, nullptr);
    EXPECT_NE(std::string_view(no).find("no room"), std::string_view::npos);
    EXPECT_EQ(attach(member(1, 1, 900, 9999)), nullptr) << "one that exists";
}

}  // namespace
}  // namespace vrdma
