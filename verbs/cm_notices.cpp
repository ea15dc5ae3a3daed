// What the services say: each notice is one step of a connection, and one event for the program. A
// notice that does not fit the id's step is dropped: the two sides may act at the same time, and
// the later one finds that the connection is over.
//
// Programs get as many bytes of private data as InfiniBand's message has, zero behind what the
// other side wrote: that is what they get from a kernel, whose messages carry no length.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>

#include "verbs/cm.h"
#include "verbs/cm_answers.h"

namespace vrdma::verbs {

void Cm::notice(CmService& service, const vrdma_cm_message& message) {
    if (message.type == VRDMA_CM_REQUEST) {
        requested(service, message);
        return;
    }
    Id id;
    if (message.listener_side != 0) {
        const auto found = std::ranges::find_if(ids_, [&](const auto& entry) {
            return entry.second->listener_side && entry.second->service == &service &&
                   entry.second->connection == message.connection;
        });
        id = found == ids_.end() ? nullptr : found->second;
    } else {
        id = find(message.handle);
    }
    if (id == nullptr || id->service != &service ||
        id->listener_side != (message.listener_side != 0)) {
        return;
    }
    switch (message.type) {
        case VRDMA_CM_REPLY:
            replied(id, message);
            break;
        case VRDMA_CM_READY:
            if (id->step == CmStep::reply_sent) {
                id->step = CmStep::connected;
                push(id, RDMA_CM_EVENT_ESTABLISHED, 0);
            }
            break;
        case VRDMA_CM_REJECT:
            rejected(id, message);
            break;
        case VRDMA_CM_DISCONNECT:
            if (id->step == CmStep::reply_sent || id->step == CmStep::reply_received ||
                id->step == CmStep::connected) {
                id->step = CmStep::disconnected;
                push(id, RDMA_CM_EVENT_DISCONNECTED, 0);
            }
            break;
        default:
            break;
    }
}

void Cm::requested(CmService& service, const vrdma_cm_message& message) {
    const Id listener = find(message.handle);
    if (listener == nullptr || listener->step != CmStep::listening ||
        listener->datagram() != (message.datagram != 0)) {
        vrdma_cm_message refusal{};
        refusal.type = VRDMA_CM_REJECT;
        refusal.connection = message.connection;
        refusal.listener_side = 1;
        refusal.reason = VRDMA_CM_REASON_NO_LISTENER;
        [[maybe_unused]] const bool told = service.tell(refusal);
        return;
    }
    const Id id = new_id(listener->channel);
    id->port_space = listener->port_space;
    id->qp_type = listener->qp_type;
    id->step = CmStep::request_received;
    id->service = &service;
    id->listener_side = true;
    id->connection = message.connection;
    id->source = listener->source;
    id->source.any = false;
    id->source.gid = service.address();
    id->destination.v6 = listener->source.v6;
    std::copy(std::begin(message.address), std::end(message.address), id->destination.gid.begin());
    id->destination.port = message.port;
    id->type_of_service = listener->type_of_service;
    id->ack_timeout = listener->ack_timeout;
    id->mtu = message.mtu;
    id->own_psn = random_psn();
    id->peer_psn = message.psn;
    id->peer_qpn = message.qpn;
    id->responder_resources = message.initiator_depth;
    id->initiator_depth = message.responder_resources;
    id->retry_count = message.retry_count;
    id->rnr_retry_count = message.rnr_retry_count;
    // The event is the listener's, and carries the new id.
    push(listener, RDMA_CM_EVENT_CONNECT_REQUEST, 0, &message,
         id->datagram() ? VRDMA_CM_DATAGRAM_REQUEST_BYTES : VRDMA_CM_REQUEST_BYTES, id);
}

void Cm::replied(const Id& id, const vrdma_cm_message& message) {
    if (id->step != CmStep::request_sent) {
        return;
    }
    id->deadline.reset();
    id->connection = message.connection;
    if (id->datagram()) {
        id->step = CmStep::connected;
        push(id, RDMA_CM_EVENT_ESTABLISHED, 0, &message, VRDMA_CM_DATAGRAM_REPLY_BYTES);
        return;
    }
    id->step = CmStep::reply_received;
    id->peer_psn = message.psn;
    id->peer_qpn = message.qpn;
    id->responder_resources = message.initiator_depth;
    id->initiator_depth = message.responder_resources;
    id->rnr_retry_count = message.rnr_retry_count;
    push(id, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, &message, VRDMA_CM_REPLY_BYTES);
}

void Cm::rejected(const Id& id, const vrdma_cm_message& message) {
    const bool open = id->step == CmStep::request_sent || id->step == CmStep::request_received ||
                      id->step == CmStep::reply_sent || id->step == CmStep::reply_received;
    if (!open) {
        return;
    }
    id->deadline.reset();
    id->step = CmStep::ended;
    if (message.status == VRDMA_CM_UNREACHABLE) {
        push(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT);  // the other host does not answer
        return;
    }
    if (id->datagram()) {
        const int status =
            message.reason == VRDMA_CM_REASON_NO_LISTENER ? kSidrUnsupported : kSidrReject;
        push(id, RDMA_CM_EVENT_UNREACHABLE, status, &message, VRDMA_CM_DATAGRAM_REPLY_BYTES);
        return;
    }
    push(id, RDMA_CM_EVENT_REJECTED, message.reason, &message, VRDMA_CM_REJECT_BYTES);
}

}  // namespace vrdma::verbs
