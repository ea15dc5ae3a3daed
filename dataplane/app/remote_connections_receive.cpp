// What the other side says. A message about a connection counts only from the address of its other
// end and with the ids of both (where both are known): a stranger cannot end what is not his. Each
// packet is answered by one packet of the same size at most.
//
// What arrives again is answered again and changes nothing: a REQ gets the REP, or an MRA while the
// program thinks (IBA 12.9.8.5); a REP gets the RTU, a DREQ the DREP. What belongs to nothing is
// refused where the specification wants that (REQ, REP), a DREQ is granted (12.9.8.3.2).
//
// A request of a queue pair that is connected already is stale and refused (12.9.8.3.1); but the
// old connection is not asked to end, as the specification has it: anybody who can forge a source
// address could end connections with that.
#include <algorithm>

#include "dataplane/app/remote_connections.h"
#include "driver/abi/limits.h"

namespace vrdma::app {
namespace {

using wire::CmAbout;
using wire::CmAttribute;
using wire::CmMessage;
using wire::CmReason;
using wire::SidrStatus;

constexpr uint16_t kPortSpaceTcp = 0x0106;  // RDMA_PS_*
constexpr uint16_t kPortSpaceUdp = 0x0111;
constexpr uint16_t kPortSpaceIb = 0x013f;
constexpr uint8_t kServiceTimeout = 22;      // 17 s for a program to answer
constexpr uint8_t kMostServiceTimeout = 24;  // 69 s; a peer may name anything
constexpr uint8_t kMostDelays = 8;
constexpr uint32_t kFirstQpn = 2;

bool offered(uint64_t service_id) {
    const uint64_t port_space = service_id >> 16;
    return port_space == kPortSpaceTcp || port_space == kPortSpaceUdp || port_space == kPortSpaceIb;
}

uint8_t supported(uint8_t rd_atomic) {
    return std::min<uint8_t>(rd_atomic, VRDMA_MAX_RD_ATOMIC);
}

void take_private(const CmMessage& from, size_t offset, vrdma_cm_message& to) {
    to.private_bytes = static_cast<uint8_t>(wire::cm_private_bytes(from.attribute) - offset);
    std::copy_n(from.private_data.begin() + static_cast<ptrdiff_t>(offset), to.private_bytes,
                to.private_data);
}

// For the listener: who asks for what.
vrdma_cm_message request_for(const CmMessage& message, uint16_t source_port,
                             const wire::Address& peer) {
    vrdma_cm_message request{};
    request.type = VRDMA_CM_REQUEST;
    request.port_space = static_cast<uint16_t>(message.service_id >> 16);
    request.port = static_cast<uint16_t>(message.service_id);
    request.source_port = source_port;
    std::copy(peer.bytes.begin(), peer.bytes.end(), request.address);
    take_private(message, wire::CmIpHeader::kBytes, request);
    return request;
}

// A message in answer to one about nothing that is known here.
CmMessage answer_to(const CmMessage& message, CmAttribute attribute) {
    CmMessage answer;
    answer.attribute = attribute;
    answer.transaction = message.transaction;
    answer.local_id = message.remote_id;
    answer.remote_id = message.local_id;
    return answer;
}

}  // namespace

void RemoteConnections::receive(const Mad& mad, uint8_t mtu, Instant now) {
    counters_.add(CmCounter::Received);
    if (!vnics_.contains(mad.vnic)) {
        counters_.add(CmCounter::DroppedVnic);
        return;
    }
    if (std::any_of(vnics_.begin(), vnics_.end(),
                    [&](const auto& entry) { return entry.second.address == mad.peer; })) {
        counters_.add(CmCounter::DroppedOwnAddress);
        return;
    }
    const auto parsed = wire::parse_cm(mad.bytes);
    if (!parsed) {
        counters_.drop(parsed.error());
        return;
    }
    const CmMessage& message = *parsed;
    switch (message.attribute) {
        case CmAttribute::Req:
            receive_request(mad, message, mtu, now);
            break;
        case CmAttribute::Mra:
            receive_delay(mad, message, now);
            break;
        case CmAttribute::Rej:
            receive_reject(mad, message, now);
            break;
        case CmAttribute::Rep:
            receive_reply(mad, message, now);
            break;
        case CmAttribute::Rtu:
            receive_ready(mad, message);
            break;
        case CmAttribute::Dreq:
            receive_disconnect(mad, message, now);
            break;
        case CmAttribute::Drep:
            receive_disconnected(mad, message, now);
            break;
        case CmAttribute::SidrReq:
            receive_datagram_request(mad, message, now);
            break;
        case CmAttribute::SidrRep:
            receive_datagram_reply(mad, message, now);
            break;
    }
}

// -- requests -------------------------------------------------------------------------------------

void RemoteConnections::refuse(const Mad& mad, const CmMessage& message, CmReason reason,
                               CmCounter counter, uint8_t info) {
    counters_.add(counter);
    if (message.attribute == CmAttribute::SidrReq) {
        CmMessage answer;
        answer.attribute = CmAttribute::SidrRep;
        answer.transaction = message.transaction;
        answer.local_id = message.local_id;
        answer.service_id = message.service_id;
        answer.status =
            reason == CmReason::InvalidServiceId ? SidrStatus::Unsupported : SidrStatus::Rejected;
        send(mad.vnic, mad.own, mad.peer, answer);
        return;
    }
    CmMessage answer = answer_to(message, CmAttribute::Rej);
    answer.reason = reason;
    answer.about = message.attribute == CmAttribute::Req ? CmAbout::Req : CmAbout::Rep;
    answer.info_bytes = info == 0 ? 0 : 1;
    answer.info[0] = info;
    send(mad.vnic, mad.own, mad.peer, answer);
}

std::optional<wire::CmIpHeader> RemoteConnections::check_request(const Mad& mad,
                                                                 const CmMessage& message) {
    if (!offered(message.service_id) || vnics_.at(mad.vnic).address != mad.own) {
        refuse(mad, message, CmReason::InvalidServiceId, CmCounter::RefusedService);
        return std::nullopt;
    }
    const auto header = wire::parse_cm_ip(message.private_data);
    if (!header) {
        counters_.drop(header.error());
    }
    if (!header || header->source != mad.peer || header->destination != mad.own) {
        refuse(mad, message, CmReason::Unsupported, CmCounter::RefusedHeader);
        return std::nullopt;
    }
    return *header;
}

RemoteConnections::Exchange& RemoteConnections::begin(const Mad& mad, const CmMessage& message,
                                                      Instant now) {
    Exchange& exchange = make(mad.vnic, mad.peer);
    exchange.state = State::BeingAsked;
    exchange.datagram = message.attribute == CmAttribute::SidrReq;
    exchange.remote_id = message.local_id;
    exchange.transaction = message.transaction;
    exchange.service_id = message.service_id;
    asked_[{mad.vnic, mad.peer, message.local_id, exchange.datagram}] = exchange.id;
    wait_for_program(exchange, now);
    return exchange;
}

void RemoteConnections::receive_request(const Mad& mad, const CmMessage& message, uint8_t mtu,
                                        Instant now) {
    const auto known = asked_.find({mad.vnic, mad.peer, message.local_id, false});
    if (known != asked_.end()) {
        receive_again(exchanges_.at(known->second), message);
        return;
    }
    if (message.transport != wire::kCmTransportRc) {
        refuse(mad, message, CmReason::InvalidTransport, CmCounter::RefusedTransport);
        return;
    }
    const auto header = check_request(mad, message);
    if (!header) {
        return;
    }
    if (message.sender_gid != mad.peer || message.receiver_gid != mad.own) {
        refuse(mad, message, CmReason::InvalidGid, CmCounter::RefusedGid);
        return;
    }
    if (message.mtu > mtu) {
        refuse(mad, message, CmReason::InvalidMtu, CmCounter::RefusedMtu, mtu);
        return;
    }
    if (message.qpn < kFirstQpn) {
        refuse(mad, message, CmReason::Unsupported, CmCounter::RefusedQpn);
        return;
    }
    if (peers_.contains({mad.vnic, mad.peer, message.qpn})) {
        refuse(mad, message, CmReason::StaleConnection, CmCounter::RefusedStale);
        return;
    }
    Exchange& exchange = begin(mad, message, now);
    exchange.peer_qpn = message.qpn;
    exchange.response_timeout = message.local_response_timeout;
    exchange.max_retries = message.max_retries;

    vrdma_cm_message request = request_for(message, header->port, mad.peer);
    request.qpn = message.qpn;
    request.psn = message.psn;
    request.mtu = message.mtu;
    request.responder_resources = supported(message.responder_resources);
    request.initiator_depth = supported(message.initiator_depth);
    request.flow_control = message.flow_control ? 1 : 0;
    request.retry_count = message.retry_count;
    request.rnr_retry_count = message.rnr_retry_count;
    request.srq = message.srq ? 1 : 0;
    tell(exchange, request);
}

void RemoteConnections::receive_datagram_request(const Mad& mad, const CmMessage& message,
                                                 Instant now) {
    const auto known = asked_.find({mad.vnic, mad.peer, message.local_id, true});
    if (known != asked_.end()) {
        receive_again(exchanges_.at(known->second), message);
        return;
    }
    const auto header = check_request(mad, message);
    if (!header) {
        return;
    }
    vrdma_cm_message request = request_for(message, header->port, mad.peer);
    request.datagram = 1;
    tell(begin(mad, message, now), request);
}

// A request that is known here.
void RemoteConnections::receive_again(Exchange& exchange, const CmMessage& message) {
    if (exchange.state == State::BeingAsked && !exchange.datagram) {
        CmMessage delay = about(exchange, CmAttribute::Mra);
        delay.service_timeout = kServiceTimeout;
        counters_.add(CmCounter::Duplicates);
        say(exchange, delay);
        return;
    }
    const bool answered =
        exchange.state == State::Replied ||
        (exchange.state == State::Ended && (exchange.said_attribute == CmAttribute::Rej ||
                                            exchange.said_attribute == CmAttribute::SidrRep));
    if (!answered || message.transaction != exchange.transaction) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    counters_.add(CmCounter::Duplicates);
    repeat(exchange);
}

void RemoteConnections::taken(uint32_t exchange, uint64_t connection) {
    exchanges_.at(exchange).connection = connection;
    connections_[connection] = exchange;
}

void RemoteConnections::refused(uint32_t id, vrdma_cm_status why) {
    const Exchange& exchange = exchanges_.at(id);
    const bool full = why == VRDMA_CM_FULL;
    CmMessage asked;
    asked.attribute = exchange.datagram ? CmAttribute::SidrReq : CmAttribute::Req;
    asked.transaction = exchange.transaction;
    asked.local_id = exchange.remote_id;
    asked.service_id = exchange.service_id;
    const Mad mad{.vnic = exchange.vnic,
                  .own = vnics_.at(exchange.vnic).address,
                  .peer = exchange.peer,
                  .bytes = {}};
    refuse(mad, asked, full ? CmReason::NoResources : CmReason::InvalidServiceId,
           full ? CmCounter::RefusedFull : CmCounter::RefusedService);
    forget(id);
}

// -- about what is known --------------------------------------------------------------------------

RemoteConnections::Exchange* RemoteConnections::find(const Mad& mad, uint32_t own_id,
                                                     bool datagram) {
    const auto found = exchanges_.find(own_id);
    if (found == exchanges_.end() || found->second.datagram != datagram) {
        counters_.add(CmCounter::DroppedUnknown);
        return nullptr;
    }
    Exchange& exchange = found->second;
    if (exchange.vnic != mad.vnic || exchange.peer != mad.peer ||
        vnics_.at(mad.vnic).address != mad.own) {
        counters_.add(CmCounter::DroppedNotPeer);
        return nullptr;
    }
    return &exchange;
}

RemoteConnections::Exchange* RemoteConnections::find_both(const Mad& mad,
                                                          const CmMessage& message) {
    Exchange* exchange = find(mad, message.remote_id, false);
    if (exchange != nullptr && exchange->remote_id != message.local_id) {
        counters_.add(CmCounter::DroppedNotPeer);
        return nullptr;
    }
    return exchange;
}

void RemoteConnections::receive_reply(const Mad& mad, const CmMessage& message, Instant now) {
    if (!exchanges_.contains(message.remote_id)) {
        refuse(mad, message, CmReason::InvalidCommId, CmCounter::DroppedUnknown);
        return;
    }
    Exchange* exchange = find(mad, message.remote_id, false);
    if (exchange == nullptr) {
        return;
    }
    if (exchange->state == State::Asked && exchange->requester) {
        if (message.qpn < kFirstQpn) {
            refuse(mad, message, CmReason::Unsupported, CmCounter::RefusedQpn);
            return;
        }
        if (peers_.contains({mad.vnic, mad.peer, message.qpn})) {
            refuse(mad, message, CmReason::StaleConnection, CmCounter::RefusedStale);
            return;
        }
        exchange->state = State::Answered;
        exchange->remote_id = message.local_id;
        exchange->peer_qpn = message.qpn;
        peers_[{mad.vnic, mad.peer, message.qpn}] = exchange->id;
        wait_for_program(*exchange, now);
        vrdma_cm_message reply{};
        reply.type = VRDMA_CM_REPLY;
        reply.qpn = message.qpn;
        reply.psn = message.psn;
        reply.responder_resources = supported(message.responder_resources);
        reply.initiator_depth = supported(message.initiator_depth);
        reply.flow_control = message.flow_control ? 1 : 0;
        reply.rnr_retry_count = message.rnr_retry_count;
        reply.srq = message.srq ? 1 : 0;
        take_private(message, 0, reply);
        tell(*exchange, reply);
        return;
    }
    if (exchange->remote_id != message.local_id || !exchange->requester) {
        counters_.add(CmCounter::DroppedNotPeer);
        return;
    }
    if (exchange->state == State::Answered) {
        counters_.add(CmCounter::Duplicates);
        CmMessage delay = about(*exchange, CmAttribute::Mra);
        delay.service_timeout = kServiceTimeout;
        say(*exchange, delay);
    } else if (exchange->state == State::Established) {
        counters_.add(CmCounter::Duplicates);
        repeat(*exchange);
    } else {
        counters_.add(CmCounter::DroppedState);
    }
}

void RemoteConnections::receive_ready(const Mad& mad, const CmMessage& message) {
    Exchange* exchange = find_both(mad, message);
    if (exchange == nullptr) {
        return;
    }
    if (exchange->state != State::Replied) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    exchange->state = State::Established;
    // Not before: who knows our id receives at this address.
    peers_[{mad.vnic, mad.peer, exchange->peer_qpn}] = exchange->id;
    wait_until(*exchange, Instant::never());
    vrdma_cm_message ready{};
    ready.type = VRDMA_CM_READY;
    tell(*exchange, ready);
}

// The other side's program takes its time: ask again later.
void RemoteConnections::receive_delay(const Mad& mad, const CmMessage& message, Instant now) {
    Exchange* exchange = find(mad, message.remote_id, false);
    if (exchange == nullptr) {
        return;
    }
    const bool fits = (exchange->state == State::Asked && message.about == CmAbout::Req) ||
                      (exchange->state == State::Replied && message.about == CmAbout::Rep &&
                       exchange->remote_id == message.local_id);
    if (!fits || exchange->delays == kMostDelays) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    ++exchange->delays;
    constexpr int64_t kUnit = 4096;  // ns
    const uint8_t exponent = std::min(message.service_timeout, kMostServiceTimeout);
    wait_until(*exchange, now + Duration::nanoseconds(kUnit << exponent));
}

void RemoteConnections::receive_reject(const Mad& mad, const CmMessage& message, Instant now) {
    Exchange* exchange = nullptr;
    const auto asker = asked_.find({mad.vnic, mad.peer, message.local_id, false});
    if (message.reason == CmReason::Timeout && asker != asked_.end()) {
        exchange = &exchanges_.at(asker->second);  // it may not know our id (IBA 12.6.7.2)
    } else {
        exchange = find(mad, message.remote_id, false);
    }
    if (exchange == nullptr) {
        return;
    }
    if (exchange->state >= State::Established) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    if (exchange->state != State::Asked && exchange->remote_id != message.local_id) {
        counters_.add(CmCounter::DroppedNotPeer);
        return;
    }
    vrdma_cm_message reject{};
    reject.type = VRDMA_CM_REJECT;
    reject.reason = static_cast<uint16_t>(message.reason);
    take_private(message, 0, reject);
    tell(*exchange, reject);
    end(*exchange, now);
}

void RemoteConnections::receive_disconnect(const Mad& mad, const CmMessage& message, Instant now) {
    if (!exchanges_.contains(message.remote_id)) {
        counters_.add(CmCounter::DroppedUnknown);
        send(mad.vnic, mad.own, mad.peer, answer_to(message, CmAttribute::Drep));
        return;
    }
    Exchange* exchange = find_both(mad, message);
    if (exchange == nullptr) {
        return;
    }
    if (exchange->own_qpn != message.qpn) {
        counters_.add(CmCounter::DroppedNotPeer);
        return;
    }
    if (exchange->state < State::Answered || exchange->state == State::BeingAsked) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    send(mad.vnic, mad.own, mad.peer, answer_to(message, CmAttribute::Drep));
    if (exchange->state == State::Ended) {
        counters_.add(CmCounter::Duplicates);
        return;
    }
    if (exchange->state != State::Disconnecting) {
        vrdma_cm_message disconnect{};
        disconnect.type = VRDMA_CM_DISCONNECT;
        tell(*exchange, disconnect);
    }
    end(*exchange, now);
}

void RemoteConnections::receive_disconnected(const Mad& mad, const CmMessage& message,
                                             Instant now) {
    Exchange* exchange = find_both(mad, message);
    if (exchange == nullptr) {
        return;
    }
    if (exchange->state == State::Ended) {
        return;  // both sides ended it at once
    }
    if (exchange->state != State::Disconnecting) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    end(*exchange, now);
}

void RemoteConnections::receive_datagram_reply(const Mad& mad, const CmMessage& message,
                                               Instant now) {
    Exchange* exchange = find(mad, message.local_id, true);
    if (exchange == nullptr) {
        return;
    }
    if (exchange->state != State::Asked || !exchange->requester) {
        counters_.add(CmCounter::DroppedState);
        return;
    }
    vrdma_cm_message answer{};
    answer.type = VRDMA_CM_REPLY;
    answer.qpn = message.qpn;
    answer.qkey = message.qkey;
    if (message.status != SidrStatus::Valid) {
        answer = {};
        answer.type = VRDMA_CM_REJECT;
        answer.reason = message.status == SidrStatus::Unsupported ? VRDMA_CM_REASON_NO_LISTENER
                                                                  : VRDMA_CM_REASON_PROGRAM;
    }
    take_private(message, 0, answer);
    tell(*exchange, answer);
    end(*exchange, now);
}

}  // namespace vrdma::app
