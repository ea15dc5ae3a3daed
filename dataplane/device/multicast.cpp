// Every queue pair of the network that is attached to the group gets a copy, the sender too if it
// is attached and did not ask to be left out: so do ConnectX and soft-RoCE
// (IBV_QP_CREATE_BLOCK_SELF_ MCAST_LB exists because of it). Each copy is checked as a datagram of
// its own: state, Q_Key, receive entry, length, memory; a member that cannot take it costs nobody
// else theirs.
//
// One message makes many copies, so they are made a few at a time, and each counts in the sender's
// turn as an entry of full size (Requester::step_group). On another shard, a message asks for a few
// copies and the answer says how far it got: there, too, a turn is never longer than for other
// work.
#include "dataplane/device/multicast.h"

#include <algorithm>
#include <cstring>

namespace vrdma {

GroupMember Multicast::member(uint32_t slot, const vrdma_gid_entry& gid) const {
    const Qp& qp = state_.qps[slot];
    return {state_.vnics[qp.vnic].network, gid, qp.vnic, slot};
}

const char* Multicast::attach(uint32_t slot, const vrdma_gid_entry& gid) {
    const char* no = state_.groups.attach(member(slot, gid), state_.qps[slot].attachments);
    fabric_.set_group_members(state_.config.shard, state_.groups.attachments());
    return no;
}

bool Multicast::detach(uint32_t slot, const vrdma_gid_entry& gid) {
    const bool was = state_.groups.detach(member(slot, gid), state_.qps[slot].attachments);
    fabric_.set_group_members(state_.config.shard, state_.groups.attachments());
    return was;
}

bool Multicast::vnic_belongs(uint32_t slot, const vrdma_gid_entry& gid) const {
    return state_.groups.members_of(member(slot, gid)) != 0;
}

std::optional<vrdma_gid_entry> Multicast::first_group_of(uint32_t slot) const {
    const Qp& qp = state_.qps[slot];
    if (qp.attachments == kNone) {
        return std::nullopt;
    }
    return state_.groups.first_of(qp.attachments, qp.vnic, slot).gid;
}

bool Multicast::belongs(uint32_t qpn, const wire::Address& group) const {
    const std::optional<uint32_t> slot = state_.find_qp(qpn);
    if (!slot) {
        return false;
    }
    vrdma_gid_entry gid;
    std::memcpy(gid.gid, group.bytes.data(), sizeof gid.gid);
    const auto members = state_.groups.members(member(*slot, gid).network, gid);
    return std::find(members.begin(), members.end(), *slot) != members.end();
}

bool Multicast::receives(const Qp& qp, const Slice& slice) {
    if (qp.state < VRDMA_QPS_RTR || qp.state == VRDMA_QPS_ERR || !state_.vnics[qp.vnic].up) {
        state_.counters_of(qp).add(Counter::UdDroppedNoQp);
        return false;
    }
    const bool own = slice.source_vnic == qp.vnic && slice.source_qpn == qp.qpn;
    return !own || !qp.block_loopback;
}

Multicast::Delivered Multicast::deliver(uint32_t network, Slice& slice, const Responder::Grh& grh,
                                        uint32_t from) {
    const std::span<const uint32_t> members = state_.groups.members(network, slice.remote_gid);
    Delivered result{kNone, 0, Reply{}};
    for (uint32_t i = from; i < members.size(); ++i) {
        if (result.copies == kCopiesAtOnce) {
            result.next = i;
            return result;
        }
        ++result.copies;
        if (!receives(state_.qps[members[i]], slice)) {
            continue;
        }
        result.reply = responder_.receive_datagram(members[i], slice, grh);
        if (result.reply.answer == Answer::Nak) {
            return result;
        }
    }
    return result;
}

Multicast::Delivered Multicast::deliver(Slice& slice, uint32_t from) {
    const Vnic& source = state_.vnics[slice.source_vnic];
    return deliver(source.network, slice, make_grh(slice, source), from);
}

}  // namespace vrdma
