// Where the numbers come from that a program puts into its queue pairs: the other side's from its
// messages, the vNIC's own from its service, the rest as the kernel chooses them for RoCE.
#include "verbs/cm_answers.h"

#include <endian.h>
#include <infiniband/verbs.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "verbs/cm.h"
#include "verbs/cm_call.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint8_t kPort = 1;
constexpr std::uint8_t kIpv4Gid = 3;  // where a vNIC has its IPv4 address
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint16_t kDefaultKey = 0xffff;
constexpr std::uint8_t kAckTimeout = 18;  // 4.096 us * 2^18 = 1.07 s
constexpr std::uint8_t kRnrTimer = 12;    // 0.64 ms
constexpr std::uint32_t kPsnMask = 0xffffff;
constexpr std::uint32_t kNoIndex = UINT32_MAX;  // the device is found by its GUID
constexpr std::uint8_t kExactly = 2;

void fill_path(const CmId& id, ib_user_path_rec& path) {
    std::ranges::copy(id.service->address(), path.sgid);
    std::ranges::copy(id.destination.gid, path.dgid);
    path.reversible = 1;
    path.mtu = id.mtu;
    path.mtu_selector = kExactly;
    path.pkey = htobe16(kDefaultKey);
    path.hop_limit = kHopLimit;
    path.traffic_class = id.type_of_service;
    path.numb_path = 1;
}

// The route of an id is known when its address is, to its program from the route's event on.
bool has_path(const CmId& id) {
    return id.service != nullptr && id.step >= CmStep::route_resolved;
}

}  // namespace

ib_uverbs_ah_attr address_handle(const CmId& id) {
    ib_uverbs_ah_attr attr{};
    std::ranges::copy(id.destination.gid, attr.grh.dgid);
    attr.grh.sgid_index = kIpv4Gid;
    attr.grh.hop_limit = kHopLimit;
    attr.grh.traffic_class = id.type_of_service;
    attr.is_global = 1;
    attr.port_num = kPort;
    return attr;
}

std::uint32_t random_psn() {
    std::uint32_t psn = 0;
    while (::getrandom(&psn, sizeof psn, 0) != static_cast<ssize_t>(sizeof psn)) {
    }
    return psn & kPsnMask;
}

int Cm::query_route(const Call& call) const {
    const auto command = call.as<rdma_ucm_query>();
    const Id id = find(command.id);
    if (id == nullptr) {
        return EINVAL;
    }
    rdma_ucm_query_route_resp answer{};
    answer.src_addr = id->source.write();
    answer.dst_addr = id->destination.write();
    answer.ibdev_index = kNoIndex;
    if (id->service != nullptr) {
        answer.node_guid = id->service->guid();
        answer.port_num = kPort;
        fill_path(*id, answer.ib_route[0]);
        answer.num_paths = has_path(*id) ? 1 : 0;
    }
    call.respond(command.response, answer);
    return 0;
}

int Cm::init_qp_attr(const Call& call) {
    const auto command = call.as<rdma_ucm_init_qp_attr>();
    const Id id = find(command.id);
    if (id == nullptr || id->service == nullptr) {
        return EINVAL;
    }
    ib_uverbs_qp_attr attr{};
    attr.qp_state = command.qp_state;
    attr.qp_attr_mask = IBV_QP_STATE;
    switch (command.qp_state) {
        case IBV_QPS_INIT:
            attr.port_num = kPort;
            attr.qp_attr_mask |= IBV_QP_PKEY_INDEX | IBV_QP_PORT;
            if (id->datagram()) {
                attr.qkey = kDatagramQkey;
                attr.qp_attr_mask |= IBV_QP_QKEY;
            } else {
                attr.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
                if (id->responder_resources != 0) {
                    attr.qp_access_flags |= IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
                }
                attr.qp_attr_mask |= IBV_QP_ACCESS_FLAGS;
            }
            break;
        case IBV_QPS_RTR:
            if (id->datagram()) {
                break;
            }
            if (id->step != CmStep::request_received && id->step != CmStep::reply_received) {
                return EINVAL;  // the other side's numbers are not known
            }
            attr.ah_attr = address_handle(*id);
            attr.path_mtu = id->mtu;
            attr.dest_qp_num = id->peer_qpn;
            attr.rq_psn = id->own_psn;
            attr.max_dest_rd_atomic = id->responder_resources;
            attr.min_rnr_timer = kRnrTimer;
            attr.qp_attr_mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
            break;
        case IBV_QPS_RTS:
            // Each side says which PSN it wants first (IBA 12.7.31).
            attr.sq_psn = id->datagram() ? id->own_psn : id->peer_psn;
            attr.qp_attr_mask |= IBV_QP_SQ_PSN;
            if (!id->datagram()) {
                attr.timeout = id->ack_timeout != 0 ? id->ack_timeout : kAckTimeout;
                attr.retry_cnt = id->retry_count;
                attr.rnr_retry = id->rnr_retry_count;
                attr.max_rd_atomic = id->initiator_depth;
                attr.qp_attr_mask |=
                    IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
            }
            break;
        default:
            break;
    }
    call.respond(command.response, attr);
    return 0;
}

}  // namespace vrdma::verbs
