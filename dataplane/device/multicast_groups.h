// Which queue pairs of a shard belong to which multicast group of which network.
//
// Limits are those that a driver is told (driver/abi/limits.h), for each vNIC, and those of the
// shard, for all.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/base/pool.h"
#include "dataplane/device/limits.h"
#include "dataplane/device/objects.h"

namespace vrdma {

// ff00::/8 or ::ffff:224.0.0.0/100: what RoCE v2 has as a group.
[[nodiscard]] bool is_group(const vrdma_gid_entry& gid);

// A queue pair in a group.
struct GroupMember {
    uint32_t network;
    vrdma_gid_entry gid;
    uint32_t vnic;
    uint32_t qp;  // slot
};

// In the arena.
struct MulticastGroup {
    bool present;
    uint8_t reserved[3];
    uint32_t network;
    vrdma_gid_entry gid;
    uint32_t next;  // of the same bucket; kNone
    uint32_t count;
    std::array<uint32_t, kMaxGroupMembers> qps;  // in the order in which they came
    std::array<uint16_t, kMaxGroupMembers> vnics;
};
static_assert(kMaxVnics <= UINT16_MAX);

class MulticastGroups {
  public:
    MulticastGroups(Arena& arena, uint64_t key);
    [[nodiscard]] static size_t arena_bytes();

    // Text of a refusal (static): a limit is reached. Who is a member already stays one.
    // `attachments` is the queue pair's Qp::attachments.
    [[nodiscard]] const char* attach(const GroupMember& member, uint32_t& attachments);
    // False: it is no member.
    [[nodiscard]] bool detach(const GroupMember& member, uint32_t& attachments);
    // One of the groups that a queue pair is in.
    [[nodiscard]] GroupMember first_of(uint32_t attachments, uint32_t vnic, uint32_t qp) const;

    // Slots of the members, valid until the next change.
    [[nodiscard]] std::span<const uint32_t> members(uint32_t network,
                                                    const vrdma_gid_entry& gid) const;
    // Members that are of this vNIC.
    [[nodiscard]] uint32_t members_of(const GroupMember& member) const;
    // Of all groups.
    [[nodiscard]] uint32_t attachments() const { return attachments_.used(); }

    // All places for groups, for tools: below places(), present or not.
    [[nodiscard]] uint32_t places() const { return groups_.fresh(); }
    [[nodiscard]] const MulticastGroup& at(uint32_t place) const { return groups_[place]; }

  private:
    static constexpr uint32_t kGroups = 1024;
    static constexpr uint32_t kAttachments = 8192;

    struct Attachment {
        uint32_t group;
        uint32_t next;  // of the same queue pair; kNone
    };
    struct Use {
        uint32_t groups;
        uint32_t attachments;
    };

    [[nodiscard]] uint32_t& bucket(uint32_t network, const vrdma_gid_entry& gid) const;
    [[nodiscard]] uint32_t find(uint32_t network, const vrdma_gid_entry& gid) const;
    void remove(uint32_t group);

    Pool<MulticastGroup> groups_;
    Pool<Attachment> attachments_;
    uint32_t* buckets_;  // the first of each, + 1
    Use* uses_;          // by vNIC
    const uint64_t key_;
};

}  // namespace vrdma
