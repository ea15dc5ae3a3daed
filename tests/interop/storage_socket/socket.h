#pragma once

// A reliable connection that carries messages and RDMA, used as 3FS uses one.

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tests/interop/storage_socket/storage_device.h"
#include "tools/verbs_util/error.h"

namespace vrdma::storage_socket {

struct SocketOptions {
    std::uint32_t send_buffers = 32;
    std::uint32_t buffer_bytes = 16 * 1024;
    std::uint32_t ack_batch = 8;     ///< buffers that one credit message returns
    std::uint32_t signal_batch = 8;  ///< sends for which there is one completion
    std::uint32_t event_ack_batch = 128;
    std::uint32_t max_rdma = 128;      ///< RDMA requests under way
    std::uint32_t rdma_per_post = 32;  ///< of one ibv_post_send
    std::uint32_t max_sge = 16;
    /// Small messages inline; a CQ of their own for receives, whose events only solicited ones
    /// make.
    bool solicited = false;

    [[nodiscard]] std::uint32_t ack_buffers() const {
        return (send_buffers + ack_batch - 1) / ack_batch + 4;
    }
    [[nodiscard]] std::uint32_t max_send_wr() const {
        return send_buffers + ack_buffers() + max_rdma + 2;  // + one to close, one to check
    }
    [[nodiscard]] std::uint32_t max_recv_wr() const { return send_buffers + ack_buffers() + 1; }
};

struct Transfer {
    std::uint64_t remote_address = 0;
    std::uint32_t rkey = 0;
    std::vector<ibv_sge> local;
};

/// The partner's end, of the exchange over TCP.
struct PeerAddress {
    std::uint32_t qpn = 0;
    ibv_mtu mtu = IBV_MTU_1024;
    ibv_gid gid{};
};

class Socket {
  public:
    enum class State : std::uint8_t { kConnecting, kAccepted, kReady, kClosing, kClosed };

    [[nodiscard]] static verbs_util::Result<Socket> create(const StorageDevice& device,
                                                           const SocketOptions& options);
    Socket(Socket&&) = default;
    Socket& operator=(Socket&&) = delete;
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket();

    [[nodiscard]] std::uint32_t qpn() const { return qp_->qp_num; }
    /// To wait for, with an epoll that tells of changes: every one is followed by poll().
    [[nodiscard]] std::vector<int> event_fds() const;
    [[nodiscard]] State state() const { return state_; }

    /// Ready to receive.
    [[nodiscard]] verbs_util::Result<void> accept(const PeerAddress& peer);
    /// Ready to send as well, and tells the other side, which becomes so by this message.
    [[nodiscard]] verbs_util::Result<void> connect(const PeerAddress& peer);

    /// Takes an event, if there is one, and all completions, and asks for the next event.
    [[nodiscard]] verbs_util::Result<void> poll();

    /// Is sent as soon as the partner has a buffer for it.
    [[nodiscard]] verbs_util::Result<void> send(std::vector<std::byte> message);
    /// The next message that has come; valid until release_message().
    [[nodiscard]] std::optional<std::span<const std::byte>> message() const;
    [[nodiscard]] verbs_util::Result<void> release_message();

    /// In lists of work requests of which the last is signaled. `token` comes back by finished().
    [[nodiscard]] verbs_util::Result<void> rdma(ibv_wr_opcode opcode,
                                                std::vector<Transfer> transfers,
                                                std::uint64_t token);
    [[nodiscard]] std::optional<std::uint64_t> finished();

    /// An empty WRITE without address and key: fails when the partner has gone.
    [[nodiscard]] verbs_util::Result<void> check();
    /// Tells the partner; the state is kClosed when it is told, has told us or is gone.
    [[nodiscard]] verbs_util::Result<void> close();
    /// Moves the queue pair to the error state and takes what then completes: each receive that is
    /// still posted, once. Waits for the events. Returns how many were flushed.
    [[nodiscard]] verbs_util::Result<std::uint32_t> drain(int epoll, int timeout_ms);

    [[nodiscard]] std::uint64_t messages_sent() const { return messages_sent_; }
    [[nodiscard]] std::uint64_t messages_received() const { return messages_received_; }
    [[nodiscard]] std::uint64_t rdma_requests() const { return rdma_requests_; }
    [[nodiscard]] std::uint64_t waits_for_credit() const { return waits_for_credit_; }
    [[nodiscard]] std::uint64_t checks() const { return checks_; }
    [[nodiscard]] std::uint64_t events() const { return events_; }
    [[nodiscard]] std::uint64_t inlined() const { return inlined_; }

  private:
    struct Batch {
        ibv_wr_opcode opcode = IBV_WR_RDMA_READ;
        std::vector<Transfer> transfers;
        std::uint64_t token = 0;
    };

    Socket(const StorageDevice& device, SocketOptions options)
        : device_(&device), options_(options) {}

    [[nodiscard]] verbs_util::Result<void> create_queues();
    [[nodiscard]] verbs_util::Result<void> create_queue_pair();
    [[nodiscard]] verbs_util::Result<void> modify(ibv_qp_attr attributes, int mask,
                                                  const char* state);
    [[nodiscard]] verbs_util::Result<void> to_receive(const PeerAddress& peer);
    [[nodiscard]] verbs_util::Result<void> to_send();

    [[nodiscard]] verbs_util::Result<void> take_event(ibv_comp_channel* channel);
    [[nodiscard]] verbs_util::Result<void> take_completions(ibv_cq* cq);
    [[nodiscard]] verbs_util::Result<void> completed(const ibv_wc& completion);
    [[nodiscard]] verbs_util::Result<void> received(const ibv_wc& completion);
    [[nodiscard]] verbs_util::Result<void> drained(const ibv_wc& completion);
    [[nodiscard]] verbs_util::Result<void> request_events();

    [[nodiscard]] verbs_util::Result<void> post(ibv_send_wr& request, const char* what);
    [[nodiscard]] verbs_util::Result<void> post_receive(std::uint32_t index);
    [[nodiscard]] verbs_util::Result<void> post_messages();
    [[nodiscard]] verbs_util::Result<void> post_message(bool last);
    [[nodiscard]] verbs_util::Result<void> post_credit();
    [[nodiscard]] verbs_util::Result<void> post_batches();
    [[nodiscard]] verbs_util::Result<void> post_batch(const Batch& batch);

    const StorageDevice* device_;
    SocketOptions options_;
    State state_ = State::kConnecting;
    verbs_util::Owned<ibv_comp_channel> channel_, receive_channel_;  ///< the second when solicited
    verbs_util::Owned<ibv_cq> cq_, receive_cq_;
    std::optional<Region> send_memory_, receive_memory_;
    verbs_util::Owned<ibv_qp> qp_;
    std::uint32_t max_inline_ = 0;
    std::map<ibv_cq*, unsigned> unacknowledged_;
    std::uint32_t receives_posted_ = 0;
    std::vector<bool> receive_is_posted_;

    std::deque<std::vector<std::byte>> outgoing_;
    std::uint32_t sends_free_ = 0;  ///< buffers here that the partner has room for
    std::uint32_t next_send_buffer_ = 0;
    std::uint32_t unsignaled_ = 0;                            ///< sends since the last signaled one
    std::uint32_t sends_completed_ = 0, sends_credited_ = 0;  ///< not yet in sends_free_
    std::deque<std::pair<std::uint32_t, std::uint32_t>> incoming_;  ///< buffer, bytes
    std::uint32_t uncredited_ = 0;  ///< messages taken for which no credit was sent
    std::uint32_t credits_free_ = 0, credits_waiting_ = 0;

    std::deque<Batch> waiting_;
    std::map<std::uint64_t, std::uint32_t> batches_left_;                         ///< by token
    std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> under_way_;  ///< token, count
    std::deque<std::uint64_t> finished_;
    std::uint64_t next_batch_ = 0;
    std::uint32_t rdma_free_ = 0;
    bool checking_ = false, draining_ = false;
    std::uint32_t flushed_ = 0;

    std::uint64_t messages_sent_ = 0, messages_received_ = 0, rdma_requests_ = 0;
    std::uint64_t waits_for_credit_ = 0, checks_ = 0, events_ = 0, inlined_ = 0;
};

}  // namespace vrdma::storage_socket
