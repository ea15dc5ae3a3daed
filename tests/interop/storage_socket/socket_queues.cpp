// How the queues are made and connected. The numbers are 3FS's: first PSN 0, no retry when the
// receiver is not ready, for credits see to it that it is. The accepting side receives before it
// may send: it waits for the first message, for it cannot know sooner that the other side has got
// so far.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "tests/interop/storage_socket/socket.h"

namespace vrdma::storage_socket {

using verbs_util::ErrorKind;
using verbs_util::fail_errno;
using verbs_util::Owned;
using verbs_util::Result;

namespace {

constexpr std::uint8_t kPort = 1;
constexpr std::uint32_t kFirstPsn = 0;
constexpr std::uint8_t kReads = 16;
constexpr std::uint8_t kTimeout = 14;  // 67 ms
constexpr std::uint8_t kRetries = 7;
constexpr std::uint8_t kReceiverNotReadyRetries = 0;
constexpr std::uint8_t kReceiverNotReadyTimer = 1;
constexpr std::uint8_t kHops = 255;
constexpr std::uint32_t kMostInline = 128;

Result<Owned<ibv_comp_channel>> make_channel(ibv_context* context) {
    Owned<ibv_comp_channel> channel(ibv_create_comp_channel(context));
    if (!channel) {
        return fail_errno(ErrorKind::kSetup, "ibv_create_comp_channel", errno);
    }
    if (auto done = do_not_block(channel->fd, "completion channel"); !done) {
        return tl::make_unexpected(done.error());
    }
    return channel;
}

Result<Owned<ibv_cq>> make_cq(ibv_context* context, std::uint32_t entries,
                              ibv_comp_channel* channel) {
    Owned<ibv_cq> cq(ibv_create_cq(context, static_cast<int>(entries), nullptr, channel, 0));
    if (!cq) {
        return fail_errno(ErrorKind::kSetup, fmt::format("ibv_create_cq of {}", entries), errno);
    }
    return cq;
}

}  // namespace

Result<Socket> Socket::create(const StorageDevice& device, const SocketOptions& options) {
    Socket socket(device, options);
    if (auto done = socket.create_queues(); !done) {
        return tl::make_unexpected(done.error());
    }
    auto sends = Region::create(device, std::size_t{options.send_buffers} * options.buffer_bytes);
    auto receives =
        Region::create(device, std::size_t{options.max_recv_wr()} * options.buffer_bytes);
    if (!sends || !receives) {
        return tl::make_unexpected(!sends ? sends.error() : receives.error());
    }
    socket.send_memory_ = std::move(*sends);
    socket.receive_memory_ = std::move(*receives);
    if (auto done = socket.create_queue_pair(); !done) {
        return tl::make_unexpected(done.error());
    }
    socket.sends_free_ = options.send_buffers;
    socket.credits_free_ = options.ack_buffers();
    socket.rdma_free_ = options.max_rdma;
    socket.receive_is_posted_.resize(options.max_recv_wr());
    for (std::uint32_t index = 0; index < options.max_recv_wr(); ++index) {
        if (auto done = socket.post_receive(index); !done) {
            return tl::make_unexpected(done.error());
        }
    }
    return socket;
}

Socket::~Socket() {
    for (const auto& [cq, count] : unacknowledged_) {
        ibv_ack_cq_events(cq, count);
    }
}

Result<void> Socket::create_queues() {
    const std::uint32_t sends = options_.max_send_wr();
    const std::uint32_t receives = options_.max_recv_wr();
    for (const bool second : {false, true}) {
        if (second && !options_.solicited) {
            break;
        }
        auto channel = make_channel(device_->context());
        if (!channel) {
            return tl::make_unexpected(channel.error());
        }
        const std::uint32_t entries = second ? receives : sends + receives;
        auto cq = make_cq(device_->context(), entries, channel->get());
        if (!cq) {
            return tl::make_unexpected(cq.error());
        }
        (second ? receive_channel_ : channel_) = std::move(*channel);
        (second ? receive_cq_ : cq_) = std::move(*cq);
    }
    return request_events();
}

Result<void> Socket::create_queue_pair() {
    ibv_qp_init_attr wanted{};
    wanted.send_cq = cq_.get();
    wanted.recv_cq = receive_cq_ ? receive_cq_.get() : cq_.get();
    wanted.cap.max_send_wr = options_.max_send_wr();
    wanted.cap.max_recv_wr = options_.max_recv_wr();
    wanted.cap.max_send_sge = options_.max_sge;
    wanted.cap.max_recv_sge = 1;
    wanted.cap.max_inline_data = options_.solicited ? kMostInline : 0;
    wanted.qp_type = IBV_QPT_RC;
    qp_.reset(ibv_create_qp(device_->pd(), &wanted));
    if (!qp_) {
        return fail_errno(ErrorKind::kSetup, "ibv_create_qp", errno);
    }
    max_inline_ = options_.solicited ? std::min(kMostInline, wanted.cap.max_inline_data) : 0;
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    attributes.port_num = kPort;
    return modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
                  "INIT");
}

Result<void> Socket::modify(ibv_qp_attr attributes, int mask, const char* state) {
    if (const int rc = ibv_modify_qp(qp_.get(), &attributes, mask); rc != 0) {
        return fail_errno(ErrorKind::kSetup, fmt::format("ibv_modify_qp to {}", state), rc);
    }
    return {};
}

Result<void> Socket::to_receive(const PeerAddress& peer) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RTR;
    attributes.path_mtu = std::min(device_->port().active_mtu, peer.mtu);
    attributes.dest_qp_num = peer.qpn;
    attributes.rq_psn = kFirstPsn;
    attributes.max_dest_rd_atomic = kReads;
    attributes.min_rnr_timer = kReceiverNotReadyTimer;
    attributes.ah_attr.is_global = 1;
    attributes.ah_attr.grh.dgid = peer.gid;
    attributes.ah_attr.grh.sgid_index = device_->gid_index();
    attributes.ah_attr.grh.hop_limit = kHops;
    attributes.ah_attr.port_num = kPort;
    return modify(attributes,
                  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
                  "RTR");
}

Result<void> Socket::to_send() {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_RTS;
    attributes.timeout = kTimeout;
    attributes.retry_cnt = kRetries;
    attributes.rnr_retry = kReceiverNotReadyRetries;
    attributes.sq_psn = kFirstPsn;
    attributes.max_rd_atomic = kReads;
    return modify(attributes,
                  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                  "RTS");
}

std::vector<int> Socket::event_fds() const {
    std::vector<int> fds{channel_->fd};
    if (receive_channel_) {
        fds.push_back(receive_channel_->fd);
    }
    return fds;
}

}  // namespace vrdma::storage_socket
