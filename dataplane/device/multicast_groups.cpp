// A group exists as long as it has members. Its members stand in an array, in the order in which
// they came: who delivers to them a few at a time counts along it, so a member that leaves
// meanwhile can cost another one copy (datagrams may be lost) and never gives one twice.
//
// Names of groups are chosen by tenants and strangers, so the table is keyed: nobody can aim at one
// bucket. Nobody's limits depend on other tenants but the two of the shard: places in the table,
// and the members of one group, which the vNICs of a network share because they chose the same
// group.
#include "dataplane/device/multicast_groups.h"

#include <algorithm>
#include <cstring>

namespace vrdma {

bool is_group(const vrdma_gid_entry& gid) {
    static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    constexpr uint8_t kFirstFour = 0xf0;
    return gid.gid[0] == 0xff || (std::memcmp(gid.gid, kMapped, sizeof kMapped) == 0 &&
                                  (gid.gid[12] & kFirstFour) == 0xe0);
}

MulticastGroups::MulticastGroups(Arena& arena, uint64_t key)
    : groups_(arena, kGroups),
      attachments_(arena, kAttachments),
      buckets_(arena.array<uint32_t>(kGroups)),
      uses_(arena.array<Use>(kMaxVnics)),
      key_(key | 1) {}

size_t MulticastGroups::arena_bytes() {
    return Pool<MulticastGroup>::bytes_for(kGroups) + Pool<Attachment>::bytes_for(kAttachments) +
           Arena::bytes_for<uint32_t>(kGroups) + Arena::bytes_for<Use>(kMaxVnics);
}

uint32_t& MulticastGroups::bucket(uint32_t network, const vrdma_gid_entry& gid) const {
    uint64_t words[2];
    std::memcpy(words, gid.gid, sizeof words);
    uint64_t hash = (words[0] ^ network) * key_;
    hash = (hash ^ hash >> 32 ^ words[1]) * key_;
    constexpr unsigned kShift = 64 - 10;
    static_assert(kGroups == 1U << 10);
    return buckets_[hash >> kShift];
}

uint32_t MulticastGroups::find(uint32_t network, const vrdma_gid_entry& gid) const {
    uint32_t index = bucket(network, gid) - 1;
    while (index != kNone && (groups_[index].network != network ||
                              std::memcmp(&groups_[index].gid, &gid, sizeof gid) != 0)) {
        index = groups_[index].next;
    }
    return index;
}

std::span<const uint32_t> MulticastGroups::members(uint32_t network,
                                                   const vrdma_gid_entry& gid) const {
    const uint32_t index = find(network, gid);
    return index == kNone ? std::span<const uint32_t>{}
                          : std::span(groups_[index].qps).first(groups_[index].count);
}

uint32_t MulticastGroups::members_of(const GroupMember& member) const {
    const uint32_t index = find(member.network, member.gid);
    if (index == kNone) {
        return 0;
    }
    const auto vnics = std::span(groups_[index].vnics).first(groups_[index].count);
    return static_cast<uint32_t>(std::count(vnics.begin(), vnics.end(), member.vnic));
}

const char* MulticastGroups::attach(const GroupMember& member, uint32_t& attachments) {
    uint32_t index = find(member.network, member.gid);
    const std::span<const uint32_t> qps = members(member.network, member.gid);
    if (std::find(qps.begin(), qps.end(), member.qp) != qps.end()) {
        return nullptr;
    }
    Use& use = uses_[member.vnic];
    const uint32_t own = members_of(member);
    if (own == 0 && use.groups == VRDMA_MAX_MCAST_GROUPS) {
        return "the vNIC belongs to as many groups as it may";
    }
    if (own == VRDMA_MAX_MCAST_QPS) {
        return "as many queue pairs of the vNIC are attached to the group as may be";
    }
    if (use.attachments == VRDMA_MAX_MCAST_ATTACHMENTS) {
        return "the vNIC has as many attachments as it may";
    }
    if (qps.size() == kMaxGroupMembers) {
        return "the group has as many queue pairs on this worker as it may";
    }
    if (attachments_.used() == kAttachments || (index == kNone && groups_.used() == kGroups)) {
        return "no room for more groups on this worker";
    }
    if (index == kNone) {
        index = *groups_.allocate();
        uint32_t& first = bucket(member.network, member.gid);
        MulticastGroup& group = groups_[index];
        group.present = true;
        group.network = member.network;
        group.gid = member.gid;
        group.next = first - 1;
        group.count = 0;
        first = index + 1;
    }
    MulticastGroup& group = groups_[index];
    group.qps[group.count] = member.qp;
    group.vnics[group.count] = static_cast<uint16_t>(member.vnic);
    ++group.count;
    const uint32_t attachment = *attachments_.allocate();
    attachments_[attachment] = {index, attachments};
    attachments = attachment;
    ++use.attachments;
    use.groups += own == 0 ? 1U : 0U;
    return nullptr;
}

bool MulticastGroups::detach(const GroupMember& member, uint32_t& attachments) {
    const uint32_t index = find(member.network, member.gid);
    uint32_t* link = &attachments;
    while (*link != kNone && attachments_[*link].group != index) {
        link = &attachments_[*link].next;
    }
    if (index == kNone || *link == kNone) {
        return false;
    }
    const uint32_t attachment = *link;
    *link = attachments_[attachment].next;
    attachments_.release(attachment);
    MulticastGroup& group = groups_[index];
    const auto qps = std::span(group.qps).first(group.count);
    const auto at = std::find(qps.begin(), qps.end(), member.qp) - qps.begin();
    VR_CHECK(at < static_cast<ptrdiff_t>(group.count));
    std::copy(group.qps.begin() + at + 1, group.qps.begin() + group.count, group.qps.begin() + at);
    std::copy(group.vnics.begin() + at + 1, group.vnics.begin() + group.count,
              group.vnics.begin() + at);
    --group.count;
    --uses_[member.vnic].attachments;
    uses_[member.vnic].groups -= members_of(member) == 0 ? 1U : 0U;
    if (group.count == 0) {
        remove(index);
    }
    return true;
}

void MulticastGroups::remove(uint32_t group) {
    uint32_t& first = bucket(groups_[group].network, groups_[group].gid);
    if (first == group + 1) {
        first = groups_[group].next + 1;
    } else {
        uint32_t before = first - 1;
        while (groups_[before].next != group) {
            before = groups_[before].next;
        }
        groups_[before].next = groups_[group].next;
    }
    groups_[group].present = false;
    groups_.release(group);
}

GroupMember MulticastGroups::first_of(uint32_t attachments, uint32_t vnic, uint32_t qp) const {
    const MulticastGroup& group = groups_[attachments_[attachments].group];
    return {group.network, group.gid, vnic, qp};
}

}  // namespace vrdma
