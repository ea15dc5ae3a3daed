// What is sent to a multicast group, and who gets a copy.
#pragma once

#include "dataplane/device/fabric.h"
#include "dataplane/device/responder.h"
#include "dataplane/device/state.h"
#include "dataplane/net/capture_filter.h"

namespace vrdma {

class Multicast final : public net::QueuePairGroups {
  public:
    Multicast(DeviceState& state, Responder& responder, Fabric& fabric)
        : state_(state), responder_(responder), fabric_(fabric) {}

    // ATTACH_MCAST and DETACH_MCAST, after their checks. The text says which limit is reached.
    [[nodiscard]] const char* attach(uint32_t slot, const vrdma_gid_entry& gid);
    // False: it was not attached.
    [[nodiscard]] bool detach(uint32_t slot, const vrdma_gid_entry& gid);
    // Is another queue pair of its vNIC in the group, on this shard?
    [[nodiscard]] bool vnic_belongs(uint32_t slot, const vrdma_gid_entry& gid) const;
    [[nodiscard]] std::optional<vrdma_gid_entry> first_group_of(uint32_t slot) const;
    // For captures.
    [[nodiscard]] bool belongs(uint32_t qpn, const wire::Address& group) const override;

    // Copies for this shard's members from the `from`th on, kCopiesAtOnce of them at the most.
    struct Delivered {
        uint32_t next;    // the member that has its turn now; kNone: all had it
        uint32_t copies;  // tried
        Reply reply;      // a Nak: the sender's own memory cannot be read, and nobody gets more
    };
    [[nodiscard]] Delivered deliver(uint32_t network, Slice& slice, const Responder::Grh& grh,
                                    uint32_t from);
    // The same for a datagram of this host, whose header is made here.
    [[nodiscard]] Delivered deliver(Slice& slice, uint32_t from);
    // Does this shard have a member of any group? Asked by other shards too.
    [[nodiscard]] bool has_members(uint32_t shard) const {
        return fabric_.group_members(shard) != 0;
    }

  private:
    [[nodiscard]] GroupMember member(uint32_t slot, const vrdma_gid_entry& gid) const;
    [[nodiscard]] bool receives(const Qp& qp, const Slice& slice);

    DeviceState& state_;
    Responder& responder_;
    Fabric& fabric_;
};

}  // namespace vrdma
