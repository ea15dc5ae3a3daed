// Joining a group through rdma_cm: a question of names only. The group's GID follows from its IPv4
// address (RoCE v2 writes it ::ffff:a.b.c.d), the Q_Key is the port space's, and librdmacm itself
// attaches the queue pair when it hears that it has joined. So nobody has to be asked, and the
// answer is an event at once.
//
// IPv6 groups are refused, as the kernel refuses them on RoCE v2.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>

#include "driver/abi/command.h"
#include "verbs/cm.h"
#include "verbs/cm_answers.h"
#include "verbs/cm_call.h"

namespace vrdma::verbs {

int Cm::join(const Call& call, const Join& wanted) {
    const Id id = find(wanted.id);
    const bool ready = id != nullptr && id->datagram() && id->service != nullptr &&
                       (id->step == CmStep::bound || id->step == CmStep::address_resolved ||
                        id->step == CmStep::route_resolved);
    if (!ready || wanted.flags > RDMA_MC_JOIN_FLAG_SENDONLY_FULLMEMBER) {
        return EINVAL;
    }
    const auto address = CmAddress::read(wanted.address);
    if (!address) {
        return EOPNOTSUPP;
    }
    if (!address->multicast()) {
        return EINVAL;
    }
    if (memberships_.size() > UINT16_MAX / 2) {
        return ENOMEM;
    }
    const auto membership = std::make_shared<CmMembership>();
    // librdmacm keeps them apart from ids; the kernel too.
    do {
        last_membership_ = (last_membership_ + 1) & 0xffffU;
    } while (memberships_.contains(last_membership_));
    membership->handle = last_membership_;
    membership->id = id->handle;
    memberships_[membership->handle] = membership;
    call.respond(wanted.response, rdma_ucm_create_id_resp{.id = membership->handle});

    CmEvent made{.id = id, .request = nullptr, .membership = membership, .content = {}};
    made.content.uid = wanted.uid;
    made.content.id = membership->handle;
    made.content.event = RDMA_CM_EVENT_MULTICAST_JOIN;
    rdma_ucm_ud_param& param = made.content.param.ud;
    param.qp_num = VRDMA_MCAST_QPN;
    param.qkey = kDatagramQkey;
    param.ah_attr = address_handle(*id);
    std::ranges::copy(address->gid, param.ah_attr.grh.dgid);
    if (id->channel->fd >= 0) {
        id->channel->push(std::move(made));
    }
    return 0;
}

int Cm::join_ip_multicast(const Call& call) {
    const auto command = call.as<rdma_ucm_join_ip_mcast>();
    return join(call, {.response = command.response,
                       .uid = command.uid,
                       .id = command.id,
                       .flags = RDMA_MC_JOIN_FLAG_FULLMEMBER,
                       .address = &command.addr});
}

int Cm::join_multicast(const Call& call) {
    const auto command = call.as<rdma_ucm_join_mcast>();
    return join(call, {.response = command.response,
                       .uid = command.uid,
                       .id = command.id,
                       .flags = command.join_flags,
                       .address = &command.addr});
}

int Cm::leave_multicast(const Call& call) {
    const auto command = call.as<rdma_ucm_destroy_id>();
    const auto found = memberships_.find(command.id);
    if (found == memberships_.end()) {
        return EINVAL;
    }
    const std::shared_ptr<CmMembership> membership = found->second;
    memberships_.erase(found);
    if (const Id id = find(membership->id); id != nullptr) {
        for (std::size_t i = id->channel->events.size(); i-- > 0;) {
            if (id->channel->events[i].membership == membership) {
                [[maybe_unused]] const CmEvent dropped = id->channel->pop(i);
            }
        }
    }
    call.respond(command.response,
                 rdma_ucm_destroy_id_resp{.events_reported = membership->events_reported});
    return 0;
}

void Cm::forget_memberships(std::uint32_t id) {
    std::erase_if(memberships_, [id](const auto& entry) { return entry.second->id == id; });
}

}  // namespace vrdma::verbs
