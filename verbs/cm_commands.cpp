// The commands of rdma_ucm, one function each. Their words come from the program's own librdmacm,
// so they are checked for sense, not for malice: a program can only harm itself. What the other
// side must be protected from is checked by the service.
//
// AF_IB is refused, and librdmacm then does without (it asks once at start): an address is an IPv4
// address of a vNIC.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "verbs/cm.h"
#include "verbs/cm_answers.h"
#include "verbs/cm_call.h"
#include "verbs/log.h"

namespace vrdma::verbs {
namespace {

// A kernel asks fifteen times, four seconds apart.
constexpr auto kConnectPatience = std::chrono::seconds(65);
constexpr std::uint32_t kMostBacklog = 1024;
constexpr std::uint8_t kMostRetries = 7;

const char* why_unreachable(std::uint8_t status) {
    switch (status) {
        case VRDMA_CM_NO_ROUTE:
            return "the address is outside the prefix of the network's port, which has no gateway";
        case VRDMA_CM_SILENT:
            return "nobody behind the network's port answers for this address";
        case VRDMA_CM_FULL:
            return "the network's port knows too many neighbours";
        default:
            return "no vNIC of this network on this host has this address, and the network has no "
                   "port to other hosts";
    }
}

// The program's part of a message.
void copy_parameters(const rdma_ucm_conn_param& from, vrdma_cm_message& to) {
    to.qpn = from.qp_num;
    to.qkey = from.qkey;
    to.srq = from.srq;
    to.responder_resources = from.responder_resources;
    to.initiator_depth = from.initiator_depth;
    to.flow_control = from.flow_control;
    // Programs ask for more than the three bits of a message; a kernel takes it as all of them.
    to.retry_count = std::min(from.retry_count, kMostRetries);
    to.rnr_retry_count = std::min(from.rnr_retry_count, kMostRetries);
    to.private_bytes = from.private_data_len;
    std::memcpy(to.private_data, from.private_data, from.private_data_len);
}

}  // namespace

int Cm::dispatch(Lock& lock, const Call& call) {
    switch (call.opcode) {
        case RDMA_USER_CM_CMD_CREATE_ID:
            return create_id(call);
        case RDMA_USER_CM_CMD_DESTROY_ID:
            return destroy_id(lock, call);
        case RDMA_USER_CM_CMD_BIND_IP:
            return bind(lock, call);
        case RDMA_USER_CM_CMD_RESOLVE_IP:
            return resolve(lock, call);
        case RDMA_USER_CM_CMD_RESOLVE_ROUTE:
            return resolve_route(call);
        case RDMA_USER_CM_CMD_QUERY_ROUTE:
            return query_route(call);
        case RDMA_USER_CM_CMD_CONNECT:
            return connect(lock, call);
        case RDMA_USER_CM_CMD_LISTEN:
            return listen(lock, call);
        case RDMA_USER_CM_CMD_ACCEPT:
            return accept(call);
        case RDMA_USER_CM_CMD_REJECT:
            return reject(call);
        case RDMA_USER_CM_CMD_DISCONNECT:
            return disconnect(call);
        case RDMA_USER_CM_CMD_INIT_QP_ATTR:
            return init_qp_attr(call);
        case RDMA_USER_CM_CMD_GET_EVENT:
            return get_event(lock, call);
        case RDMA_USER_CM_CMD_SET_OPTION:
            return set_option(call);
        case RDMA_USER_CM_CMD_NOTIFY:
            return 0;  // connections do not migrate, and queue pairs are not waited for
        case RDMA_USER_CM_CMD_MIGRATE_ID:
            return migrate(call);
        case RDMA_USER_CM_CMD_BIND:
            return EAFNOSUPPORT;
        case RDMA_USER_CM_CMD_JOIN_IP_MCAST:
            return join_ip_multicast(call);
        case RDMA_USER_CM_CMD_JOIN_MCAST:
            return join_multicast(call);
        case RDMA_USER_CM_CMD_LEAVE_MCAST:
            return leave_multicast(call);
        default:
            return EOPNOTSUPP;
    }
}

int Cm::create_id(const Call& call) {
    const auto command = call.as<rdma_ucm_create_id>();
    const bool datagram = command.qp_type == IBV_QPT_UD;
    if (command.qp_type != IBV_QPT_RC && !datagram) {
        return EOPNOTSUPP;  // XRC
    }
    if (command.ps != RDMA_PS_TCP && command.ps != RDMA_PS_UDP && command.ps != RDMA_PS_IB) {
        return EPROTONOSUPPORT;  // IPoIB
    }
    if (ids_.size() > UINT16_MAX / 2) {
        return ENOMEM;
    }
    const Id id = new_id(call.channel);
    id->uid = command.uid;
    id->port_space = command.ps;
    id->qp_type = command.qp_type;
    id->own_psn = random_psn();
    call.respond(command.response, rdma_ucm_create_id_resp{.id = id->handle});
    return 0;
}

int Cm::destroy_id(Lock& lock, const Call& call) {
    const auto command = call.as<rdma_ucm_destroy_id>();
    const Id id = find(command.id);
    if (id == nullptr) {
        return EINVAL;
    }
    end(lock, id);
    call.respond(command.response,
                 rdma_ucm_destroy_id_resp{.events_reported = id->events_reported});
    return 0;
}

int Cm::bind(Lock& lock, const Call& call) {
    const auto command = call.as<rdma_ucm_bind_ip>();
    const Id id = find(command.id);
    if (id == nullptr || id->step != CmStep::idle) {
        return EINVAL;
    }
    const auto address = CmAddress::read(&command.addr);
    return address ? bind_to(lock, id, *address) : EADDRNOTAVAIL;
}

int Cm::bind_to(Lock& lock, const Id& id, const CmAddress& address) {
    const std::vector<CmService*> all = living();
    CmService* one = address.any || all.empty() ? nullptr
                     : address.loopback         ? all.front()
                                                : at(address.gid);
    if (!address.any && one == nullptr) {
        return EADDRNOTAVAIL;  // as the kernel says of an address that no device has
    }
    id->source = address;
    const int error = reserve(lock, id, one == nullptr ? all : std::vector{one}, address.port);
    if (error != 0) {
        id->source = CmAddress{};
        return error;
    }
    id->service = one;
    if (one != nullptr) {
        id->source.gid = one->address();
        id->mtu = one->mtu();
    }
    id->step = CmStep::bound;
    return 0;
}

CmService* Cm::towards(Lock& lock, const Id& id, CmAddress& destination, vrdma_cm_message& found) {
    std::vector<CmService*> candidates =
        id->service == nullptr ? living() : std::vector{id->service};
    if (destination.loopback && !candidates.empty()) {
        destination.gid = candidates.front()->address();
    }
    vrdma_cm_message question{};
    question.type = VRDMA_CM_RESOLVE;
    std::ranges::copy(destination.gid, question.address);
    if (destination.multicast() && !candidates.empty()) {
        // Every vNIC can send there, its own or the first, as far as to itself: with that MTU.
        candidates.resize(1);
        std::ranges::copy(candidates.front()->address(), question.address);
    }
    lock.unlock();
    CmService* through = nullptr;
    found.status = VRDMA_CM_UNREACHABLE;
    for (CmService* service : candidates) {
        const auto answer = service->ask(question);
        if (!answer) {
            found.status = VRDMA_CM_SILENT;
            continue;
        }
        found = *answer;
        if (found.status == VRDMA_CM_OK) {
            through = service;
            break;
        }
    }
    lock.lock();
    return through;
}

int Cm::resolve(Lock& lock, const Call& call) {
    const auto command = call.as<rdma_ucm_resolve_ip>();
    const Id id = find(command.id);
    if (id == nullptr || (id->step != CmStep::idle && id->step != CmStep::bound)) {
        return EINVAL;
    }
    auto destination = CmAddress::read(&command.dst_addr);
    if (!destination || destination->any) {
        return EINVAL;
    }
    if (id->step == CmStep::idle && command.src_addr.sin6_family != 0) {
        const auto source = CmAddress::read(&command.src_addr);
        const int error = source ? bind_to(lock, id, *source) : EADDRNOTAVAIL;
        if (error != 0) {
            return error;
        }
    }
    vrdma_cm_message found{};
    CmService* service = towards(lock, id, *destination, found);
    if (service == nullptr) {
        log(LogLevel::error, "verb=rdma_resolve_addr address=%u.%u.%u.%u reason=\"%s\"",
            destination->gid[12], destination->gid[13], destination->gid[14], destination->gid[15],
            why_unreachable(found.status));
        push(id, RDMA_CM_EVENT_ADDR_ERROR, -EHOSTUNREACH);
        return 0;
    }
    if (id->step == CmStep::idle) {
        CmAddress source;
        source.gid = service->address();
        source.v6 = destination->v6;
        const int error = bind_to(lock, id, source);
        if (error != 0) {
            return error;
        }
    }
    id->service = service;
    id->source.any = false;
    id->source.gid = service->address();
    id->mtu = found.mtu;
    id->destination = *destination;
    id->step = CmStep::address_resolved;
    push(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0);
    return 0;
}

int Cm::resolve_route(const Call& call) {
    const Id id = find(call.as<rdma_ucm_resolve_route>().id);
    if (id == nullptr || id->step != CmStep::address_resolved) {
        return EINVAL;
    }
    id->step = CmStep::route_resolved;
    push(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0);
    return 0;
}

int Cm::connect(Lock& lock, const Call& call) {
    const auto command = call.as<rdma_ucm_connect>();
    const Id id = find(command.id);
    if (id == nullptr || id->step != CmStep::route_resolved || command.conn_param.valid == 0) {
        return EINVAL;
    }
    const std::uint8_t most =
        id->datagram() ? VRDMA_CM_DATAGRAM_REQUEST_BYTES : VRDMA_CM_REQUEST_BYTES;
    if (command.conn_param.private_data_len > most) {
        return EINVAL;
    }
    vrdma_cm_message request{};
    copy_parameters(command.conn_param, request);
    request.type = VRDMA_CM_REQUEST;
    request.handle = id->handle;
    request.port_space = id->port_space;
    request.port = id->destination.port;
    request.source_port = id->source.port;
    request.datagram = id->datagram() ? 1 : 0;
    request.psn = id->own_psn;
    request.mtu = id->mtu;
    std::ranges::copy(id->destination.gid, request.address);
    id->responder_resources = request.responder_resources;
    id->initiator_depth = request.initiator_depth;
    id->retry_count = request.retry_count;
    id->rnr_retry_count = request.rnr_retry_count;
    id->step = CmStep::request_sent;
    id->deadline = std::chrono::steady_clock::now() + kConnectPatience;
    wake();
    lock.unlock();
    const auto answer = id->service->ask(request);
    lock.lock();
    if (id->step != CmStep::request_sent) {
        return 0;  // the other side has answered already
    }
    if (!answer) {
        id->step = CmStep::route_resolved;
        id->deadline.reset();
        return answer.error();
    }
    id->connection = answer->connection;
    if (answer->status != VRDMA_CM_OK) {
        vrdma_cm_message refusal{};
        refusal.reason = answer->status == VRDMA_CM_FULL ? VRDMA_CM_REASON_NO_RESOURCES
                                                         : VRDMA_CM_REASON_NO_LISTENER;
        rejected(id, refusal);
    }
    return 0;
}

int Cm::listen(Lock& lock, const Call& call) {
    const auto command = call.as<rdma_ucm_listen>();
    const Id id = find(command.id);
    if (id == nullptr || (id->step != CmStep::idle && id->step != CmStep::bound)) {
        return EINVAL;
    }
    if (id->step == CmStep::idle) {
        CmAddress any;
        any.any = true;
        if (const int error = bind_to(lock, id, any); error != 0) {
            return error;
        }
    }
    vrdma_cm_message question{};
    question.type = VRDMA_CM_LISTEN;
    question.handle = id->handle;
    // The kernel takes what is not positive as its maximum.
    question.backlog = static_cast<std::uint16_t>(
        command.backlog == 0 ? kMostBacklog : std::min(command.backlog, kMostBacklog));
    const std::vector<CmId::Reservation> reservations = id->reservations;
    // A request may come before the answer of the last vNIC.
    id->step = CmStep::listening;
    lock.unlock();
    int error = 0;
    for (const CmId::Reservation& reservation : reservations) {
        const auto answer = reservation.service->ask(question);
        if (!answer || answer->status != VRDMA_CM_OK) {
            error = answer ? EINVAL : answer.error();
            break;
        }
    }
    lock.lock();
    return error;
}

int Cm::accept(const Call& call) {
    const auto command = call.as<rdma_ucm_accept>();
    const Id id = find(command.id);
    if (id == nullptr) {
        return EINVAL;
    }
    vrdma_cm_message message{};
    message.connection = id->connection;
    if (command.conn_param.valid == 0) {
        // The requester's queue pair is ready.
        if (id->step != CmStep::reply_received) {
            return EINVAL;
        }
        message.type = VRDMA_CM_READY;
        id->step = CmStep::connected;
        return id->service->tell(message) ? 0 : EIO;
    }
    const std::uint8_t most = id->datagram() ? VRDMA_CM_DATAGRAM_REPLY_BYTES : VRDMA_CM_REPLY_BYTES;
    if (id->step != CmStep::request_received || command.conn_param.private_data_len > most) {
        return EINVAL;
    }
    copy_parameters(command.conn_param, message);
    message.type = VRDMA_CM_REPLY;
    message.listener_side = 1;
    message.psn = id->own_psn;
    if (id->datagram() && message.qkey == 0) {
        message.qkey = kDatagramQkey;
    }
    id->uid = command.uid;
    id->step = id->datagram() ? CmStep::connected : CmStep::reply_sent;
    return id->service->tell(message) ? 0 : EIO;
}

int Cm::reject(const Call& call) {
    const auto command = call.as<rdma_ucm_reject>();
    const Id id = find(command.id);
    const bool open = id != nullptr &&
                      (id->step == CmStep::request_received || id->step == CmStep::reply_received);
    if (!open) {
        return EINVAL;
    }
    const std::uint8_t most =
        id->datagram() ? VRDMA_CM_DATAGRAM_REPLY_BYTES : VRDMA_CM_REJECT_BYTES;
    if (command.private_data_len > most) {
        return EINVAL;
    }
    vrdma_cm_message message{};
    message.type = VRDMA_CM_REJECT;
    message.connection = id->connection;
    message.listener_side = id->listener_side ? 1 : 0;
    message.reason =
        command.reason != 0 ? command.reason : static_cast<std::uint16_t>(VRDMA_CM_REASON_PROGRAM);
    message.private_bytes = command.private_data_len;
    std::memcpy(message.private_data, command.private_data, command.private_data_len);
    id->step = CmStep::ended;
    return id->service->tell(message) ? 0 : EIO;
}

int Cm::disconnect(const Call& call) {
    const Id id = find(call.as<rdma_ucm_disconnect>().id);
    if (id == nullptr || id->datagram() || id->step < CmStep::request_sent) {
        return EINVAL;
    }
    if (id->step != CmStep::reply_sent && id->step != CmStep::reply_received &&
        id->step != CmStep::connected) {
        return 0;  // the other side was first
    }
    vrdma_cm_message message{};
    message.type = VRDMA_CM_DISCONNECT;
    message.connection = id->connection;
    message.listener_side = id->listener_side ? 1 : 0;
    id->step = CmStep::disconnected;
    push(id, RDMA_CM_EVENT_DISCONNECTED, 0);
    return id->service->tell(message) ? 0 : EIO;
}

int Cm::get_event(Lock& lock, const Call& call) {
    const auto command = call.as<rdma_ucm_get_event>();
    while (call.channel->events.empty()) {
        const int fd = call.channel->fd;
        if (fd < 0) {
            return EBADF;
        }
        if ((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0) {
            return EAGAIN;
        }
        lock.unlock();
        pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
        const int count = ::poll(&ready, 1, -1);
        const int error = errno;
        lock.lock();
        if (count < 0) {
            return error;
        }
    }
    const CmEvent event = call.channel->pop(0);
    ++event.id->events_reported;
    if (event.membership != nullptr) {
        ++event.membership->events_reported;
    }
    call.respond(command.response, event.content);
    return 0;
}

int Cm::set_option(const Call& call) {
    const auto command = call.as<rdma_ucm_set_option>();
    const Id id = find(command.id);
    if (id == nullptr || command.level != RDMA_OPTION_ID || command.optlen == 0) {
        return id == nullptr ? EINVAL : ENOSYS;
    }
    std::uint8_t value = 0;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the ABI carries the pointer as a number
    std::memcpy(&value, reinterpret_cast<const void*>(command.optval), sizeof value);
    switch (command.optname) {
        case RDMA_OPTION_ID_TOS:
            id->type_of_service = value;
            return 0;
        case RDMA_OPTION_ID_ACK_TIMEOUT:
            if (value > 31) {
                return EINVAL;
            }
            id->ack_timeout = value;
            return 0;
        case RDMA_OPTION_ID_REUSEADDR:  // a port is free as soon as its id is destroyed
        case RDMA_OPTION_ID_AFONLY:     // every address is an IPv4 address
            return 0;
        default:
            return ENOSYS;
    }
}

int Cm::migrate(const Call& call) {
    const auto command = call.as<rdma_ucm_migrate_id>();
    const Id id = find(command.id);
    if (id == nullptr) {
        return EINVAL;
    }
    const std::shared_ptr<CmChannel> before = id->channel;
    id->channel = call.channel;
    for (std::size_t i = 0; before != call.channel && i < before->events.size();) {
        if (before->events[i].id == id) {
            CmEvent event = before->pop(i);
            if (event.request != nullptr) {
                event.request->channel = call.channel;
            }
            call.channel->push(std::move(event));
        } else {
            ++i;
        }
    }
    call.respond(command.response, rdma_ucm_migrate_resp{.events_reported = id->events_reported});
    return 0;
}

}  // namespace vrdma::verbs
