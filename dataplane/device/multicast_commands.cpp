// ATTACH_MCAST and DETACH_MCAST. Attaching twice is once, as in the kernel; a queue pair that is
// attached cannot be destroyed, as there; the end of a context detaches.
#include "dataplane/device/commands.h"

namespace vrdma {

tl::expected<Commands::McastTarget, Refusal> Commands::mcast_target(const CommandCall& call) const {
    if (!speaks(call, VRDMA_FEATURE_MULTICAST)) {
        return refuse(VRDMA_STATUS_UNSUPPORTED, "multicast was not negotiated");
    }
    const auto request = read_body<vrdma_cmd_mcast>(call.body);
    if (!request) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    if (request->reserved != 0) {
        return refuse(VRDMA_STATUS_INVALID, kReserved);
    }
    const Qp* qp = find(state_.qps, request->qp, call);
    if (qp == nullptr) {
        return refuse(VRDMA_STATUS_NOT_FOUND, "no such queue pair");
    }
    if (qp->type != VRDMA_QPT_UD) {
        return refuse(VRDMA_STATUS_INVALID, "only UD queue pairs receive multicast");
    }
    McastTarget target{request->qp, {}};
    std::memcpy(target.gid.gid, request->gid, sizeof target.gid.gid);
    if (!is_group(target.gid)) {
        return refuse(VRDMA_STATUS_INVALID, "not a multicast GID (ff00::/8 or ::ffff:224.0.0.0/4)");
    }
    return target;
}

Commands::Result Commands::attach_mcast(const CommandCall& call) {
    const auto target = mcast_target(call);
    if (!target) {
        return tl::unexpected(target.error());
    }
    const bool first = !multicast_.vnic_belongs(target->slot, target->gid);
    if (const char* no = multicast_.attach(target->slot, target->gid)) {
        return refuse(VRDMA_STATUS_NO_RESOURCE, no);
    }
    if (first && !wire_.join(target->slot, target->gid)) {
        VR_CHECK(multicast_.detach(target->slot, target->gid));
        return refuse(VRDMA_STATUS_NO_RESOURCE, "the port belongs to as many groups as it may");
    }
    return size_t{0};
}

Commands::Result Commands::detach_mcast(const CommandCall& call) {
    const auto target = mcast_target(call);
    if (!target) {
        return tl::unexpected(target.error());
    }
    if (!leave_group(target->slot, target->gid)) {
        return refuse(VRDMA_STATUS_INVALID, "the queue pair is not attached to this group");
    }
    return size_t{0};
}

bool Commands::leave_group(uint32_t slot, const vrdma_gid_entry& gid) {
    if (!multicast_.detach(slot, gid)) {
        return false;
    }
    if (!multicast_.vnic_belongs(slot, gid)) {
        wire_.leave(slot, gid);
    }
    return true;
}

uint32_t Commands::leave_groups(uint32_t slot, uint32_t most) {
    uint32_t left = 0;
    for (; left < most; ++left) {
        const std::optional<vrdma_gid_entry> gid = multicast_.first_group_of(slot);
        if (!gid) {
            break;
        }
        VR_CHECK(leave_group(slot, *gid));
    }
    return left;
}

}  // namespace vrdma
