// What this side says, and how often. A REQ, REP or DREQ is repeated until it is answered, at most
// as often as the two sides agreed on (IBA 12.7.26), and then given up. The first repetitions come
// after a sixteenth, an eighth... of the response timeout: the timeout has to cover the slowest
// peer, while what gets lost in a fabric is worth asking for again after milliseconds. An early
// repetition costs one packet; the peer knows it again by the id.
//
// Everything said is kept as it was sent, so that what the peer repeats gets the very same answer.
// An exchange that is over stays for a while for that (time wait, IBA 12.9.8.4), and the oldest go
// first when there are many. What the program does not answer is given up as well, so nothing that
// a stranger begins stays.
#include "dataplane/app/remote_connections.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace vrdma::app {
namespace {

using wire::CmAbout;
using wire::CmAttribute;
using wire::CmMessage;
using wire::CmReason;
using wire::SidrStatus;

constexpr uint8_t kResponseTimeout = 20;  // 4.3 s, as Linux
constexpr uint8_t kMaxRetries = 15;
constexpr uint8_t kFewestTimeout = 14;  // 67 ms; a peer may name anything
constexpr uint8_t kMostTimeout = 21;    // 8.6 s
constexpr uint8_t kSoonerSteps = 4;     // a sixteenth of the timeout at first
constexpr uint8_t kAckTimeout = 18;     // 1.07 s
constexpr uint8_t kTargetAckDelay = 15;
constexpr uint8_t kHopLimit = 64;
constexpr uint16_t kDefaultPkey = 0xffff;
constexpr uint8_t kMostMtu = 5;
constexpr Duration kProgramPatience = Duration::milliseconds(120'000);
constexpr Duration kTimeWait = Duration::milliseconds(16'000);
constexpr size_t kMostEnded = 4096;
constexpr uint32_t kMostLeaving = 1024;  // of a vNIC

uint8_t low_bits(uint32_t value, unsigned count) {
    return static_cast<uint8_t>(value & ((1U << count) - 1));
}

uint32_t low24(uint32_t value) {
    return value & 0xffffff;
}

// A REJ for a timeout names the sender's channel adapter, because its communication id alone is
// not enough for a peer that has not told its own (IBA 12.6.7.2).
void put_reason(CmReason reason, uint64_t guid, CmMessage& to) {
    to.reason = reason;
    if (reason == CmReason::Timeout) {
        to.info_bytes = sizeof guid;
        for (size_t i = 0; i < sizeof guid; ++i) {
            to.info[i] = static_cast<uint8_t>(guid >> (56 - 8 * i));
        }
    }
}

void put_private(const vrdma_cm_message& from, size_t offset, CmMessage& to) {
    std::copy_n(from.private_data, from.private_bytes,
                to.private_data.begin() + static_cast<ptrdiff_t>(offset));
}

}  // namespace

void RemoteConnections::remove_vnic(uint32_t vnic) {
    std::vector<uint32_t> theirs;
    for (const auto& [id, exchange] : exchanges_) {
        if (exchange.vnic == vnic) {
            theirs.push_back(id);
        }
    }
    for (const uint32_t id : theirs) {
        forget(id);
    }
    std::erase_if(ended_, [this](uint32_t id) { return !exchanges_.contains(id); });
    leaving_.erase(vnic);
    vnics_.erase(vnic);
}

RemoteConnections::Exchange& RemoteConnections::make(uint32_t vnic, const wire::Address& peer) {
    for (;;) {
        const auto id = static_cast<uint32_t>(random_());
        if (id != 0 && !exchanges_.contains(id)) {
            Exchange& exchange = exchanges_[id];
            exchange.id = id;
            exchange.vnic = vnic;
            exchange.peer = peer;
            return exchange;
        }
    }
}

RemoteConnections::Exchange* RemoteConnections::of_connection(uint64_t connection) {
    const auto found = connections_.find(connection);
    return found == connections_.end() ? nullptr : &exchanges_.at(found->second);
}

void RemoteConnections::post(uint32_t vnic, const vrdma_cm_message& message, Instant now) {
    if (!vnics_.contains(vnic)) {
        return;
    }
    if (message.type == VRDMA_CM_REQUEST) {
        Exchange& exchange = make(vnic, wire::Address::from_gid(message.address));
        exchange.requester = true;
        exchange.connection = message.connection;
        connections_[message.connection] = exchange.id;
        ask(exchange, message, now);
        return;
    }
    Exchange* exchange = of_connection(message.connection);
    if (exchange == nullptr) {
        return;  // the other side was first
    }
    switch (message.type) {
        case VRDMA_CM_REPLY:
            if (exchange->state == State::BeingAsked) {
                reply(*exchange, message, now);
            }
            break;
        case VRDMA_CM_READY:
            if (exchange->state == State::Answered) {
                exchange->state = State::Established;
                wait_until(*exchange, Instant::never());
                say(*exchange, about(*exchange, CmAttribute::Rtu));
            }
            break;
        case VRDMA_CM_REJECT:
            reject(*exchange, message, now);
            break;
        default:
            disconnect(*exchange, now);
            break;
    }
}

void RemoteConnections::ask(Exchange& exchange, const vrdma_cm_message& message, Instant now) {
    const LocalEnd& own = vnics_.at(exchange.vnic);
    exchange.datagram = message.datagram != 0;
    exchange.transaction = random_();
    exchange.own_qpn = low24(message.qpn);
    exchange.service_id = wire::ip_service_id(message.port_space, message.port);
    exchange.response_timeout = kResponseTimeout;
    exchange.max_retries = kMaxRetries;
    CmMessage m = about(exchange, exchange.datagram ? CmAttribute::SidrReq : CmAttribute::Req);
    m.service_id = exchange.service_id;
    m.pkey = kDefaultPkey;
    if (!exchange.datagram) {
        m.ca_guid = own.guid;
        m.qpn = exchange.own_qpn;
        m.psn = low24(message.psn);
        m.responder_resources = message.responder_resources;
        m.initiator_depth = message.initiator_depth;
        m.remote_response_timeout = kResponseTimeout;
        m.local_response_timeout = kResponseTimeout;
        m.max_retries = kMaxRetries;
        m.flow_control = message.flow_control != 0;
        m.srq = message.srq != 0;
        m.retry_count = low_bits(message.retry_count, 3);
        m.rnr_retry_count = low_bits(message.rnr_retry_count, 3);
        m.mtu = std::clamp<uint8_t>(message.mtu, 1, kMostMtu);
        m.sender_gid = own.address;
        m.receiver_gid = exchange.peer;
        m.hop_limit = kHopLimit;
        m.ack_timeout = kAckTimeout;
    }
    wire::build_cm_ip({message.source_port, own.address, exchange.peer}, m.private_data);
    put_private(message, wire::CmIpHeader::kBytes, m);
    exchange.state = State::Asked;
    say(exchange, m);
    start_repeating(exchange, now);
}

void RemoteConnections::reply(Exchange& exchange, const vrdma_cm_message& message, Instant now) {
    exchange.own_qpn = low24(message.qpn);
    if (exchange.datagram) {
        CmMessage m = about(exchange, CmAttribute::SidrRep);
        m.status = SidrStatus::Valid;
        m.qpn = exchange.own_qpn;
        m.qkey = message.qkey;
        put_private(message, 0, m);
        say(exchange, m);
        end(exchange, now);
        return;
    }
    CmMessage m = about(exchange, CmAttribute::Rep);
    m.ca_guid = vnics_.at(exchange.vnic).guid;
    m.qpn = exchange.own_qpn;
    m.psn = low24(message.psn);
    m.responder_resources = message.responder_resources;
    m.initiator_depth = message.initiator_depth;
    m.target_ack_delay = kTargetAckDelay;
    m.flow_control = message.flow_control != 0;
    m.srq = message.srq != 0;
    m.rnr_retry_count = low_bits(message.rnr_retry_count, 3);
    put_private(message, 0, m);
    exchange.state = State::Replied;
    say(exchange, m);
    start_repeating(exchange, now);
}

void RemoteConnections::reject(Exchange& exchange, const vrdma_cm_message& message, Instant now) {
    if (exchange.state == State::Established || exchange.state >= State::Disconnecting) {
        return;
    }
    if (exchange.datagram) {
        if (!exchange.requester) {
            CmMessage m = about(exchange, CmAttribute::SidrRep);
            m.status = message.reason == VRDMA_CM_REASON_NO_LISTENER ? SidrStatus::Unsupported
                                                                     : SidrStatus::Rejected;
            put_private(message, 0, m);
            say(exchange, m);
        }
        end(exchange, now);
        return;
    }
    CmMessage m = about(exchange, CmAttribute::Rej);
    put_reason(static_cast<CmReason>(message.reason), vnics_.at(exchange.vnic).guid, m);
    put_private(message, 0, m);
    say(exchange, m);
    end(exchange, now);
}

void RemoteConnections::disconnect(Exchange& exchange, Instant now) {
    if (exchange.state == State::Replied || exchange.state == State::Answered) {
        say_reject(exchange, CmReason::Consumer, now);
        return;
    }
    if (exchange.state != State::Established) {
        return;
    }
    exchange.transaction = random_();
    CmMessage m = about(exchange, CmAttribute::Dreq);
    m.qpn = exchange.peer_qpn;
    say(exchange, m);
    uint32_t& leaving = leaving_[exchange.vnic];
    if (leaving >= kMostLeaving) {
        end(exchange, now);  // the other side finds out by itself when this one gets lost
        return;
    }
    ++leaving;
    exchange.state = State::Disconnecting;
    connections_.erase(exchange.connection);
    start_repeating(exchange, now);
}

CmMessage RemoteConnections::about(const Exchange& exchange, CmAttribute attribute) const {
    CmMessage m;
    m.attribute = attribute;
    m.transaction = exchange.transaction;
    m.local_id = exchange.id;
    m.remote_id = exchange.remote_id;
    if (attribute == CmAttribute::SidrRep) {
        m.local_id = exchange.remote_id;  // the request id, which its sender chose
        m.service_id = exchange.service_id;
    }
    switch (exchange.state) {
        case State::BeingAsked:
            m.about = CmAbout::Req;
            break;
        case State::Answered:
            m.about = CmAbout::Rep;
            break;
        case State::Asked:
        case State::Replied:
        case State::Established:
        case State::Disconnecting:
        case State::Ended:
            m.about = CmAbout::Other;
            break;
    }
    return m;
}

void RemoteConnections::say(Exchange& exchange, const CmMessage& message) {
    wire::build_cm(message, exchange.said);
    exchange.said_attribute = message.attribute;
    repeat(exchange);
}

void RemoteConnections::say_reject(Exchange& exchange, CmReason reason, Instant now) {
    CmMessage m = about(exchange, CmAttribute::Rej);
    put_reason(reason, vnics_.at(exchange.vnic).guid, m);
    say(exchange, m);
    end(exchange, now);
}

void RemoteConnections::send(uint32_t vnic, const wire::Address& own, const wire::Address& peer,
                             const CmMessage& message) {
    Mad mad{.vnic = vnic, .own = own, .peer = peer, .bytes = {}};
    wire::build_cm(message, mad.bytes);
    outgoing_.push_back(mad);
    counters_.add(CmCounter::Sent);
}

void RemoteConnections::repeat(Exchange& exchange) {
    outgoing_.push_back(Mad{.vnic = exchange.vnic,
                            .own = vnics_.at(exchange.vnic).address,
                            .peer = exchange.peer,
                            .bytes = exchange.said});
    counters_.add(CmCounter::Sent);
}

namespace {

// The pause before the next repetition.
Duration pause(uint8_t timeout, uint8_t repeats) {
    constexpr int64_t kUnit = 4096;  // ns
    const uint8_t exponent = std::clamp(timeout, kFewestTimeout, kMostTimeout);
    const int sooner = std::max(0, kSoonerSteps - int{repeats});
    return Duration::nanoseconds((kUnit << exponent) >> sooner);
}

}  // namespace

void RemoteConnections::start_repeating(Exchange& exchange, Instant now) {
    exchange.repeats = 0;
    wait_until(exchange, now + pause(exchange.response_timeout, 0));
}

void RemoteConnections::wait_for_program(Exchange& exchange, Instant now) {
    wait_until(exchange, now + kProgramPatience);
}

void RemoteConnections::wait_until(Exchange& exchange, Instant deadline) {
    if (exchange.deadline != Instant::never()) {
        deadlines_.erase({exchange.deadline, exchange.id});
    }
    exchange.deadline = deadline;
    if (deadline != Instant::never()) {
        deadlines_.insert({deadline, exchange.id});
    }
}

Instant RemoteConnections::next_deadline() const {
    return deadlines_.empty() ? Instant::never() : deadlines_.begin()->first;
}

void RemoteConnections::on_deadline(Instant now) {
    while (next_deadline() <= now) {
        Exchange& exchange = exchanges_.at(deadlines_.begin()->second);
        wait_until(exchange, Instant::never());
        const bool repeats = exchange.state == State::Asked || exchange.state == State::Replied ||
                             exchange.state == State::Disconnecting;
        if (repeats && exchange.repeats < exchange.max_retries) {
            ++exchange.repeats;
            counters_.add(CmCounter::Repeated);
            repeat(exchange);
            wait_until(exchange, now + pause(exchange.response_timeout, exchange.repeats));
        } else {
            give_up(exchange, now);
        }
    }
}

void RemoteConnections::give_up(Exchange& exchange, Instant now) {
    switch (exchange.state) {
        case State::Asked:
            tell_timeout(exchange);
            end(exchange, now);
            break;
        case State::Answered:
        case State::BeingAsked:
        case State::Replied:
            tell_timeout(exchange);
            if (exchange.datagram) {
                end(exchange, now);
            } else {
                say_reject(exchange, CmReason::Timeout, now);
            }
            break;
        case State::Disconnecting:
            counters_.add(CmCounter::TimedOut);
            end(exchange, now);
            break;
        case State::Ended:
            VR_CHECK(!ended_.empty());
            std::erase(ended_, exchange.id);
            forget(exchange.id);
            break;
        case State::Established:
            break;
    }
}

void RemoteConnections::end(Exchange& exchange, Instant now) {
    if (exchange.state == State::Disconnecting) {
        --leaving_.at(exchange.vnic);
    }
    exchange.state = State::Ended;
    connections_.erase(exchange.connection);
    const auto peer = peers_.find({exchange.vnic, exchange.peer, exchange.peer_qpn});
    if (peer != peers_.end() && peer->second == exchange.id) {
        peers_.erase(peer);
    }
    wait_until(exchange, now + kTimeWait);
    ended_.push_back(exchange.id);
    if (ended_.size() > kMostEnded) {
        forget(ended_.front());
        ended_.pop_front();
    }
}

void RemoteConnections::forget(uint32_t id) {
    Exchange& exchange = exchanges_.at(id);
    wait_until(exchange, Instant::never());
    if (!exchange.requester) {
        asked_.erase({exchange.vnic, exchange.peer, exchange.remote_id, exchange.datagram});
    }
    connections_.erase(exchange.connection);
    const auto peer = peers_.find({exchange.vnic, exchange.peer, exchange.peer_qpn});
    if (peer != peers_.end() && peer->second == id) {
        peers_.erase(peer);
    }
    exchanges_.erase(id);
}

void RemoteConnections::tell(const Exchange& exchange, vrdma_cm_message message) {
    message.connection = exchange.connection;
    message.listener_side = exchange.requester ? 1 : 0;  // who speaks: the other side
    events_.push_back({message, exchange.vnic, exchange.id});
}

void RemoteConnections::tell_timeout(const Exchange& exchange) {
    counters_.add(CmCounter::TimedOut);
    vrdma_cm_message message{};
    message.type = VRDMA_CM_REJECT;
    message.status = VRDMA_CM_UNREACHABLE;
    message.reason = VRDMA_CM_REASON_TIMEOUT;
    tell(exchange, message);
}

std::optional<Mad> RemoteConnections::poll_transmit() {
    if (outgoing_.empty()) {
        return std::nullopt;
    }
    const Mad mad = outgoing_.front();
    outgoing_.pop_front();
    return mad;
}

std::optional<RemoteConnections::Event> RemoteConnections::poll_event() {
    if (events_.empty()) {
        return std::nullopt;
    }
    const Event event = events_.front();
    events_.pop_front();
    return event;
}

}  // namespace vrdma::app
