// What connection management permits. A name is (network, address, port space, port): a driver can
// only take ports of its own vNIC and only reach names of its own network, because both come from
// the vNIC whose socket it uses and never from a message. A connection has an unpredictable number,
// and a message about it counts only from one of its two ends and only in the step in which that
// end may say it; anything else is dropped, since the two ends may act at the same time.
//
// State: reservations by name, connections by number; a client refers to its reservations by
// handle. A datagram resolution is a connection that ends with the reply.
#include "dataplane/app/connection_table.h"

#include <algorithm>
#include <cstring>

namespace vrdma::app {
namespace {

constexpr uint16_t kFirstEphemeral = 32768;
constexpr uint16_t kEphemeral = 28232;  // Linux' net.ipv4.ip_local_port_range: 32768 to 60999
constexpr uint32_t kMostBacklog = 1024;
constexpr uint32_t kReservationsOfHandle = 64;  // ports tried before a search gives up

uint8_t most_private_bytes(const vrdma_cm_message& message, bool datagram) {
    switch (message.type) {
        case VRDMA_CM_REQUEST:
            return datagram ? VRDMA_CM_DATAGRAM_REQUEST_BYTES : VRDMA_CM_REQUEST_BYTES;
        case VRDMA_CM_REPLY:
            return datagram ? VRDMA_CM_DATAGRAM_REPLY_BYTES : VRDMA_CM_REPLY_BYTES;
        case VRDMA_CM_REJECT:
            return datagram ? VRDMA_CM_DATAGRAM_REPLY_BYTES : VRDMA_CM_REJECT_BYTES;
        default:
            return 0;
    }
}

// What one end may tell the other; nothing else of its message is passed on.
vrdma_cm_message passed_on(const vrdma_cm_message& from) {
    vrdma_cm_message to{};
    to.type = from.type;
    to.connection = from.connection;
    to.qpn = from.qpn;
    to.psn = from.psn;
    to.qkey = from.qkey;
    to.reason = from.reason;
    to.mtu = from.mtu;
    to.responder_resources = from.responder_resources;
    to.initiator_depth = from.initiator_depth;
    to.flow_control = from.flow_control;
    to.retry_count = from.retry_count;
    to.rnr_retry_count = from.rnr_retry_count;
    to.srq = from.srq;
    to.datagram = from.datagram;
    to.private_bytes = from.private_bytes;
    std::memcpy(to.private_data, from.private_data, from.private_bytes);
    return to;
}

bool all_zero(const uint8_t (&bytes)[2]) {
    return std::all_of(std::begin(bytes), std::end(bytes), [](uint8_t b) { return b == 0; });
}

}  // namespace

ConnectionTable::ConnectionTable(Random random, const Limits& limits)
    : random_(std::move(random)), limits_(limits) {}

void ConnectionTable::add_vnic(uint32_t vnic, uint32_t network, const Address& address,
                               uint8_t mtu) {
    Vnic& added = vnics_[vnic];
    added.network = network;
    added.address = address;
    added.mtu = mtu;
}

void ConnectionTable::set_mtu(uint32_t network, uint8_t mtu) {
    for (auto& [index, vnic] : vnics_) {
        if (vnic.network == network) {
            vnic.mtu = mtu;
        }
    }
}

void ConnectionTable::remove_vnic(uint32_t vnic) {
    vnics_.erase(vnic);
}

void ConnectionTable::add_client(uint32_t client, uint32_t vnic) {
    clients_[client].vnic = vnic;
}

void ConnectionTable::remove_client(uint32_t client, Out& out) {
    const auto leaving = clients_.find(client);
    if (leaving == clients_.end()) {
        return;
    }
    std::vector<uint64_t> ended;
    for (const auto& [number, connection] : connections_) {
        if (connection.requester != client && connection.listener != client) {
            continue;
        }
        ended.push_back(number);
        const uint32_t other =
            connection.requester == client ? connection.listener : connection.requester;
        if (other == client) {
            continue;
        }
        vrdma_cm_message message{};
        message.connection = number;
        message.type = VRDMA_CM_DISCONNECT;
        if (connection.step == Step::Requested) {
            message.type = VRDMA_CM_REJECT;
            message.reason = VRDMA_CM_REASON_TIMEOUT;
        }
        out.push_back(addressed(connection, connection.listener == other, message));
    }
    for (const uint64_t number : ended) {
        end(number);
    }
    Vnic& vnic = vnics_.at(leaving->second.vnic);
    for (const auto& [handle, port] : leaving->second.reservations) {
        ports_.erase(port);
        --vnic.reservations;
    }
    clients_.erase(leaving);
}

bool ConnectionTable::receive(uint32_t id, const vrdma_cm_message& message, Out& out) {
    Client& client = clients_.at(id);
    if (message.type == 0 || message.type > VRDMA_CM_LAST || !all_zero(message.reserved) ||
        message.private_bytes > VRDMA_CM_PRIVATE_BYTES || message.datagram > 1 ||
        message.listener_side > 1 || client.greeted == (message.type == VRDMA_CM_HELLO)) {
        return false;
    }
    if (message.type > VRDMA_CM_LAST_COMMAND) {
        notice(id, message, out);
        return true;
    }
    vrdma_cm_message answer{};
    answer.type = message.type | VRDMA_CM_ANSWER;
    answer.tag = message.tag;
    // The answer first: the notice of a request to oneself must not overtake it.
    const size_t place = out.size();
    out.push_back({id, answer});
    vrdma_cm_status status = VRDMA_CM_OK;
    switch (message.type) {
        case VRDMA_CM_HELLO:
            if (message.version != VRDMA_CM_VERSION) {
                return false;
            }
            hello(client, message, answer);
            break;
        case VRDMA_CM_RESOLVE: {
            const Vnic* found = find_vnic(vnics_.at(client.vnic).network, message.address);
            if (found == nullptr && wires_.contains(vnics_.at(client.vnic).network)) {
                out[place] = {kWire, message, client.vnic, id};
                return true;
            }
            status = found == nullptr ? VRDMA_CM_UNREACHABLE : VRDMA_CM_OK;
            answer.mtu = found == nullptr ? 0 : std::min(found->mtu, vnics_.at(client.vnic).mtu);
            break;
        }
        case VRDMA_CM_RESERVE:
            status = reserve(id, client, message, answer);
            break;
        case VRDMA_CM_LISTEN:
            status = listen(client, message);
            break;
        case VRDMA_CM_RELEASE:
            status = release(client, message);
            break;
        default:
            status = request(id, client, message, answer, out);
            break;
    }
    answer.status = static_cast<uint8_t>(status);
    out[place].message = answer;
    return true;
}

void ConnectionTable::hello(Client& client, const vrdma_cm_message&, vrdma_cm_message& answer) {
    const Vnic& vnic = vnics_.at(client.vnic);
    client.greeted = true;
    answer.version = VRDMA_CM_VERSION;
    answer.mtu = vnic.mtu;
    std::copy(vnic.address.begin(), vnic.address.end(), answer.address);
}

vrdma_cm_status ConnectionTable::reserve(uint32_t id, Client& client,
                                         const vrdma_cm_message& message,
                                         vrdma_cm_message& answer) {
    Vnic& vnic = vnics_.at(client.vnic);
    if (client.reservations.contains(message.handle)) {
        return VRDMA_CM_INVALID;
    }
    if (vnic.reservations >= limits_.reservations) {
        return VRDMA_CM_FULL;
    }
    Port port{vnic.network, vnic.address, message.port_space, message.port};
    if (message.port == 0) {
        uint32_t tries = 0;
        do {
            if (tries == kReservationsOfHandle) {
                return VRDMA_CM_FULL;
            }
            ++tries;
            std::get<3>(port) = static_cast<uint16_t>(kFirstEphemeral + random_() % kEphemeral);
        } while (ports_.contains(port));
    } else if (ports_.contains(port)) {
        return VRDMA_CM_IN_USE;
    }
    ports_[port] = Reservation{.client = id, .handle = message.handle, .pending = 0, .backlog = 0};
    client.reservations[message.handle] = port;
    ++vnic.reservations;
    answer.port = std::get<3>(port);
    return VRDMA_CM_OK;
}

vrdma_cm_status ConnectionTable::listen(const Client& client, const vrdma_cm_message& message) {
    const auto found = client.reservations.find(message.handle);
    if (found == client.reservations.end()) {
        return VRDMA_CM_INVALID;
    }
    const uint32_t wanted = message.backlog == 0 ? kMostBacklog : message.backlog;
    ports_.at(found->second).backlog = std::min(wanted, kMostBacklog);
    return VRDMA_CM_OK;
}

vrdma_cm_status ConnectionTable::release(Client& client, const vrdma_cm_message& message) {
    const auto found = client.reservations.find(message.handle);
    if (found == client.reservations.end()) {
        return VRDMA_CM_INVALID;
    }
    ports_.erase(found->second);
    client.reservations.erase(found);
    --vnics_.at(client.vnic).reservations;
    return VRDMA_CM_OK;
}

vrdma_cm_status ConnectionTable::request(uint32_t id, const Client& client,
                                         const vrdma_cm_message& message, vrdma_cm_message& answer,
                                         Out& out) {
    Vnic& own = vnics_.at(client.vnic);
    if (message.private_bytes > most_private_bytes(message, message.datagram != 0)) {
        return VRDMA_CM_INVALID;
    }
    if (find_vnic(own.network, message.address) == nullptr) {
        return request_to_wire(id, client, message, answer, out);
    }
    Port port{own.network, {}, message.port_space, message.port};
    std::copy(std::begin(message.address), std::end(message.address), std::get<1>(port).begin());
    const auto found = ports_.find(port);
    if (found == ports_.end() || found->second.backlog == 0) {
        return VRDMA_CM_REFUSED;
    }
    Reservation& listener = found->second;
    const uint32_t listener_vnic = clients_.at(listener.client).vnic;
    Vnic& other = vnics_.at(listener_vnic);
    if (listener.pending >= listener.backlog || own.connections >= limits_.connections ||
        other.connections >= limits_.connections) {
        return VRDMA_CM_FULL;
    }
    const uint64_t number = new_connection();
    connections_[number] = Connection{.requester = id,
                                      .listener = listener.client,
                                      .requester_vnic = client.vnic,
                                      .listener_vnic = listener_vnic,
                                      .port = port,
                                      .requester_handle = message.handle,
                                      .listener_handle = listener.handle,
                                      .step = Step::Requested,
                                      .datagram = message.datagram != 0};
    ++listener.pending;
    ++own.connections;
    ++other.connections;
    vrdma_cm_message notice = passed_on(message);
    notice.connection = number;
    notice.port_space = message.port_space;
    notice.port = message.source_port;
    notice.datagram = message.datagram;
    notice.mtu = std::min(own.mtu, other.mtu);
    std::copy(own.address.begin(), own.address.end(), notice.address);
    out.push_back(addressed(connections_.at(number), true, notice));
    answer.connection = number;
    return VRDMA_CM_OK;
}

vrdma_cm_status ConnectionTable::request_to_wire(uint32_t id, const Client& client,
                                                 const vrdma_cm_message& message,
                                                 vrdma_cm_message& answer, Out& out) {
    Vnic& own = vnics_.at(client.vnic);
    if (!wires_.contains(own.network)) {
        return VRDMA_CM_UNREACHABLE;
    }
    if (own.connections >= limits_.connections) {
        return VRDMA_CM_FULL;
    }
    const uint64_t number = new_connection();
    connections_[number] = Connection{.requester = id,
                                      .listener = kWire,
                                      .requester_vnic = client.vnic,
                                      .listener_vnic = client.vnic,
                                      .port = {},
                                      .requester_handle = message.handle,
                                      .listener_handle = 0,
                                      .step = Step::Requested,
                                      .datagram = message.datagram != 0};
    ++own.connections;
    vrdma_cm_message request = passed_on(message);
    request.connection = number;
    request.port_space = message.port_space;
    request.port = message.port;
    request.source_port = message.source_port;
    std::copy(std::begin(message.address), std::end(message.address), request.address);
    out.push_back(addressed(connections_.at(number), true, request));
    answer.connection = number;
    return VRDMA_CM_OK;
}

vrdma_cm_status ConnectionTable::request_from_wire(uint32_t vnic, const vrdma_cm_message& message,
                                                   uint64_t& number, Out& out) {
    const auto own = vnics_.find(vnic);
    if (own == vnics_.end()) {
        return VRDMA_CM_UNREACHABLE;
    }
    const Port port{own->second.network, own->second.address, message.port_space, message.port};
    const auto found = ports_.find(port);
    if (found == ports_.end() || found->second.backlog == 0) {
        return VRDMA_CM_REFUSED;
    }
    Reservation& listener = found->second;
    if (listener.pending >= listener.backlog || own->second.connections >= limits_.connections) {
        return VRDMA_CM_FULL;
    }
    number = new_connection();
    connections_[number] = Connection{.requester = kWire,
                                      .listener = listener.client,
                                      .requester_vnic = vnic,
                                      .listener_vnic = vnic,
                                      .port = port,
                                      .requester_handle = 0,
                                      .listener_handle = listener.handle,
                                      .step = Step::Requested,
                                      .datagram = message.datagram != 0};
    ++listener.pending;
    ++own->second.connections;
    vrdma_cm_message notice = passed_on(message);
    notice.connection = number;
    notice.port_space = message.port_space;
    notice.port = message.source_port;
    std::copy(std::begin(message.address), std::end(message.address), notice.address);
    out.push_back(addressed(connections_.at(number), true, notice));
    return VRDMA_CM_OK;
}

void ConnectionTable::notice(uint32_t id, const vrdma_cm_message& message, Out& out) {
    const auto found = connections_.find(message.connection);
    if (found == connections_.end()) {
        return;
    }
    Connection& connection = found->second;
    const bool listener = message.listener_side == 1;
    if (id != (listener ? connection.listener : connection.requester) ||
        message.private_bytes > most_private_bytes(message, connection.datagram)) {
        return;
    }
    const Step step = connection.step;
    bool permitted = false;
    bool last = false;
    switch (message.type) {
        case VRDMA_CM_REPLY:
            permitted = listener && step == Step::Requested;
            last = connection.datagram;
            break;
        case VRDMA_CM_READY:
            permitted = !listener && step == Step::Replied;
            break;
        case VRDMA_CM_REJECT:
            permitted = step != Step::Established;
            last = true;
            break;
        default:
            permitted = step != Step::Requested;
            last = true;
            break;
    }
    if (!permitted) {
        return;
    }
    vrdma_cm_message passed = passed_on(message);
    passed.status = id == kWire ? message.status : 0;
    out.push_back(addressed(connection, !listener, passed));
    if (last) {
        end(message.connection);
        return;
    }
    leave_requested(connection);
    connection.step = message.type == VRDMA_CM_REPLY ? Step::Replied : Step::Established;
}

ConnectionTable::Outgoing ConnectionTable::addressed(const Connection& connection, bool to_listener,
                                                     vrdma_cm_message message) {
    message.listener_side = to_listener ? 1 : 0;
    message.handle = to_listener ? connection.listener_handle : connection.requester_handle;
    return {to_listener ? connection.listener : connection.requester, message,
            to_listener ? connection.listener_vnic : connection.requester_vnic};
}

// The program behind the listener has answered, or nobody waits for its answer any more.
void ConnectionTable::leave_requested(const Connection& connection) {
    const auto port = ports_.find(connection.port);
    if (connection.step == Step::Requested && port != ports_.end() &&
        port->second.client == connection.listener &&
        port->second.handle == connection.listener_handle && port->second.pending > 0) {
        --port->second.pending;
    }
}

void ConnectionTable::end(uint64_t number) {
    const auto found = connections_.find(number);
    leave_requested(found->second);
    --vnics_.at(found->second.requester_vnic).connections;
    if (!found->second.remote()) {
        --vnics_.at(found->second.listener_vnic).connections;
    }
    connections_.erase(found);
}

const ConnectionTable::Vnic* ConnectionTable::find_vnic(uint32_t network,
                                                        const uint8_t (&address)[16]) const {
    const auto found = std::find_if(vnics_.begin(), vnics_.end(), [&](const auto& entry) {
        return entry.second.network == network &&
               std::equal(entry.second.address.begin(), entry.second.address.end(), address);
    });
    return found == vnics_.end() ? nullptr : &found->second;
}

uint64_t ConnectionTable::new_connection() {
    for (;;) {
        const uint64_t number = random_();
        if (number != 0 && !connections_.contains(number)) {
            return number;
        }
    }
}

}  // namespace vrdma::app
