#include "tools/verbs_util/queue_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

// Creates a queue pair and takes it to RTS in the order of the ibv_modify_qp man page. Both ends
// take the smaller of their MTUs and of their READ/atomic depths, so neither end has to be told.
// First PSN and Q_Key come from the OS generator: fixed values hide faults of the far side.

namespace vrdma::verbs_util {

namespace {

constexpr std::uint8_t kWantedReadDepth = 16;
constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint32_t kPsnMask = 0xffffff;
constexpr std::uint32_t kQkeyMask = 0x7fffffff;  // the top bit marks privileged keys

std::uint8_t read_depth(const ibv_device_attr& attributes) {
    const int depth = std::min({attributes.max_qp_rd_atom, attributes.max_qp_init_rd_atom,
                                static_cast<int>(kWantedReadDepth)});
    return static_cast<std::uint8_t>(std::max(depth, 0));
}

}  // namespace

const char* transport_name(ibv_qp_type type) {
    if (type == IBV_QPT_RC) {
        return "RC";
    }
    return type == IBV_QPT_UC ? "UC" : "UD";
}

Result<QueuePair> QueuePair::create(const Device& device, ibv_pd* pd,
                                    const QueuePairOptions& options) {
    ibv_qp_init_attr init{};
    init.qp_type = options.type;
    init.send_cq = options.send_cq;
    init.recv_cq = options.recv_cq;
    init.srq = options.srq;
    init.sq_sig_all = options.signal_all ? 1 : 0;
    init.cap.max_send_wr = options.max_send_wr;
    init.cap.max_recv_wr = options.srq != nullptr ? 0 : options.max_recv_wr;
    init.cap.max_send_sge = options.max_send_sge;
    init.cap.max_recv_sge = options.srq != nullptr ? 0 : options.max_recv_sge;
    init.cap.max_inline_data = options.max_inline;
    QueuePair pair;
    pair.device_ = &device;
    pair.pd_ = pd;
    pair.type_ = options.type;
    errno = 0;
    pair.qp_.reset(ibv_create_qp(pd, &init));
    if (!pair.qp_) {
        return fail_errno(
            ErrorKind::kSetup,
            fmt::format("ibv_create_qp on {}: {}, {} send and {} receive WRs (device limit {}), "
                        "{} SGEs (limit {}), {} bytes inline",
                        device.name(), transport_name(options.type), options.max_send_wr,
                        options.max_recv_wr, device.attributes().max_qp_wr, options.max_send_sge,
                        device.attributes().max_sge, options.max_inline),
            errno);
    }
    pair.max_inline_ = init.cap.max_inline_data;
    std::random_device random;
    pair.address_.qpn = pair.qp_->qp_num;
    pair.address_.psn = random() & kPsnMask;
    pair.address_.qkey = random() & kQkeyMask;
    pair.address_.lid = device.port().lid;
    pair.address_.mtu = static_cast<std::uint8_t>(device.port().active_mtu);
    pair.address_.rd_atomic = read_depth(device.attributes());
    pair.address_.gid = device.gid();
    if (auto done = pair.to_init(); !done) {
        return tl::make_unexpected(done.error());
    }
    return pair;
}

Result<void> QueuePair::modify(ibv_qp_attr& attributes, int mask, const char* state) {
    if (const int rc = ibv_modify_qp(qp_.get(), &attributes, mask); rc != 0) {
        return fail_errno(ErrorKind::kSetup,
                          fmt::format("ibv_modify_qp of {} QP {:#x} to {} on {}",
                                      transport_name(type_), address_.qpn, state, device_->name()),
                          rc);
    }
    return {};
}

Result<void> QueuePair::to_init() {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.pkey_index = 0;
    attributes.port_num = device_->port_number();
    int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT;
    if (type_ == IBV_QPT_UD) {
        attributes.qkey = address_.qkey;
        mask |= IBV_QP_QKEY;
    } else {
        attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
        if (type_ == IBV_QPT_RC) {
            attributes.qp_access_flags |= IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
        }
        mask |= IBV_QP_ACCESS_FLAGS;
    }
    return modify(attributes, mask, "INIT");
}

ibv_ah_attr QueuePair::path() const {
    ibv_ah_attr attributes{};
    attributes.is_global = 1;
    attributes.grh.dgid = remote_.gid;
    attributes.grh.sgid_index = device_->gid_index();
    attributes.grh.hop_limit = kHopLimit;
    attributes.dlid = remote_.lid;
    attributes.port_num = device_->port_number();
    return attributes;
}

Result<void> QueuePair::to_rtr(const ConnectOptions& options) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RTR;
    int mask = IBV_QP_STATE;
    if (type_ != IBV_QPT_UD) {
        attributes.ah_attr = path();
        attributes.path_mtu = static_cast<ibv_mtu>(std::min(address_.mtu, remote_.mtu));
        attributes.dest_qp_num = remote_.qpn;
        attributes.rq_psn = remote_.psn;
        mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
    }
    if (type_ == IBV_QPT_RC) {
        attributes.max_dest_rd_atomic = std::min(address_.rd_atomic, remote_.rd_atomic);
        attributes.min_rnr_timer = options.min_rnr_timer;
        mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
    }
    return modify(attributes, mask, "RTR");
}

Result<void> QueuePair::to_rts(const ConnectOptions& options) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RTS;
    attributes.sq_psn = address_.psn;
    int mask = IBV_QP_STATE | IBV_QP_SQ_PSN;
    if (type_ == IBV_QPT_RC) {
        attributes.timeout = options.timeout;
        attributes.retry_cnt = options.retry_count;
        attributes.rnr_retry = options.rnr_retry;
        attributes.max_rd_atomic = std::min(address_.rd_atomic, remote_.rd_atomic);
        mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
    }
    return modify(attributes, mask, "RTS");
}

Result<void> QueuePair::connect(const QueuePairAddress& remote, const ConnectOptions& options) {
    remote_ = remote;
    if (auto done = to_rtr(options); !done) {
        return done;
    }
    if (auto done = to_rts(options); !done) {
        return done;
    }
    if (type_ == IBV_QPT_UD) {
        ibv_ah_attr attributes = path();
        errno = 0;
        address_handle_.reset(ibv_create_ah(pd_, &attributes));
        if (!address_handle_) {
            return fail_errno(ErrorKind::kSetup, "ibv_create_ah on " + device_->name(), errno);
        }
    }
    return {};
}

Result<void> QueuePair::to_error() {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_ERR;
    return modify(attributes, IBV_QP_STATE, "ERR");
}

}  // namespace vrdma::verbs_util
