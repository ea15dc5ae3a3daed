// rdma_cm's event channels and ids: what the kernel's rdma_ucm keeps for a program.
#pragma once

#include <rdma/rdma_user_cm.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "driver/channel/unique_fd.h"
#include "verbs/cm_address.h"
#include "verbs/cm_service.h"

namespace vrdma::verbs {

struct CmId;

// enum rdma_cm_event_type of <rdma/rdma_cma.h>, which a build need not have.
enum CmEventCode : std::uint32_t {
    RDMA_CM_EVENT_ADDR_RESOLVED = 0,
    RDMA_CM_EVENT_ADDR_ERROR = 1,
    RDMA_CM_EVENT_ROUTE_RESOLVED = 2,
    RDMA_CM_EVENT_CONNECT_REQUEST = 4,
    RDMA_CM_EVENT_CONNECT_RESPONSE = 5,
    RDMA_CM_EVENT_UNREACHABLE = 7,
    RDMA_CM_EVENT_REJECTED = 8,
    RDMA_CM_EVENT_ESTABLISHED = 9,
    RDMA_CM_EVENT_DISCONNECTED = 10,
    RDMA_CM_EVENT_DEVICE_REMOVAL = 11,
    RDMA_CM_EVENT_MULTICAST_JOIN = 12,
};

// A group that an id has joined.
struct CmMembership {
    std::uint32_t handle = 0;
    std::uint32_t id = 0;
    std::uint32_t events_reported = 0;
};

// An event that its program has not taken yet.
struct CmEvent {
    std::shared_ptr<CmId> id;                  // who reports it: of a request, the listener
    std::shared_ptr<CmId> request;             // the id that a request made
    std::shared_ptr<CmMembership> membership;  // whose event it is, if one's
    rdma_ucm_event_resp content{};
};

// The descriptor is an event counter that always equals the number of events in the queue, so that
// a program can poll it. Not closed here: librdmacm closes it.
struct CmChannel {
    int fd = -1;
    std::deque<CmEvent> events;

    [[nodiscard]] static std::shared_ptr<CmChannel> open();  // nullptr and errno
    void push(CmEvent event);
    [[nodiscard]] CmEvent pop(std::size_t place);
};

enum class CmStep : std::uint8_t {
    idle,
    bound,
    listening,
    address_resolved,
    route_resolved,
    request_sent,
    request_received,
    reply_sent,      // of a request received
    reply_received,  // of a request sent
    connected,
    disconnected,
    ended,  // rejected, timed out, or its device is gone
};

struct CmId {
    // A port that it has at a vNIC.
    struct Reservation {
        CmService* service;
        std::uint32_t handle;
    };

    std::uint32_t handle = 0;
    std::uint64_t uid = 0;  // librdmacm's pointer; 0 until a request is accepted
    std::uint16_t port_space = 0;
    std::uint8_t qp_type = 0;
    CmStep step = CmStep::idle;
    std::shared_ptr<CmChannel> channel;
    std::uint32_t events_reported = 0;
    CmService* service = nullptr;  // its vNIC; nullptr: none yet, or all of them
    std::vector<Reservation> reservations;
    CmAddress source;
    CmAddress destination;
    std::uint8_t mtu = 0;
    std::uint8_t type_of_service = 0;
    std::uint8_t ack_timeout = 0;
    bool listener_side = false;
    std::uint64_t connection = 0;
    std::uint32_t own_psn = 0;
    std::uint32_t peer_psn = 0;
    std::uint32_t peer_qpn = 0;
    std::uint8_t responder_resources = 0;
    std::uint8_t initiator_depth = 0;
    std::uint8_t retry_count = 0;
    std::uint8_t rnr_retry_count = 0;
    std::optional<std::chrono::steady_clock::time_point> deadline;  // of an answer

    [[nodiscard]] bool datagram() const;
};

}  // namespace vrdma::verbs
