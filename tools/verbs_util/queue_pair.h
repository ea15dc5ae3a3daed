#pragma once

// A queue pair and its way to RTS.

#include <infiniband/verbs.h>

#include <cstdint>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/objects.h"

namespace vrdma::verbs_util {

/// What a partner must know of a QP. Trivially copyable: it also travels through shared memory.
struct QueuePairAddress {
    std::uint32_t qpn = 0;
    std::uint32_t psn = 0;
    std::uint32_t qkey = 0;
    std::uint16_t lid = 0;
    std::uint8_t mtu = IBV_MTU_1024;  ///< ibv_mtu
    std::uint8_t rd_atomic = 1;       ///< READs and atomics it can serve, and start, at a time
    ibv_gid gid{};
};

struct QueuePairOptions {
    ibv_qp_type type = IBV_QPT_RC;
    ibv_cq* send_cq = nullptr;
    ibv_cq* recv_cq = nullptr;
    ibv_srq* srq = nullptr;
    std::uint32_t max_send_wr = 1;
    std::uint32_t max_recv_wr = 1;
    std::uint32_t max_send_sge = 1;
    std::uint32_t max_recv_sge = 1;
    std::uint32_t max_inline = 0;
    bool signal_all = false;  ///< every send completes with a CQE
};

struct ConnectOptions {
    std::uint8_t timeout = 14;  ///< local ACK timeout code: 4.096 us * 2^14 = 67 ms
    std::uint8_t retry_count = 7;
    std::uint8_t rnr_retry = 7;      ///< 7: without end
    std::uint8_t min_rnr_timer = 1;  ///< code 1: 10 us
};

class QueuePair {
  public:
    /// Created and in INIT: receives may be posted.
    [[nodiscard]] static Result<QueuePair> create(const Device& device, ibv_pd* pd,
                                                  const QueuePairOptions& options);

    /// INIT -> RTR -> RTS towards `remote`. For UD the address handle of `remote` is made.
    [[nodiscard]] Result<void> connect(const QueuePairAddress& remote,
                                       const ConnectOptions& options = {});
    [[nodiscard]] Result<void> to_error();

    [[nodiscard]] ibv_qp* get() const { return qp_.get(); }
    [[nodiscard]] const QueuePairAddress& address() const { return address_; }
    [[nodiscard]] const QueuePairAddress& remote() const { return remote_; }
    [[nodiscard]] ibv_ah* address_handle() const { return address_handle_.get(); }
    [[nodiscard]] std::uint32_t max_inline() const { return max_inline_; }
    [[nodiscard]] ibv_qp_type type() const { return type_; }

  private:
    [[nodiscard]] Result<void> to_init();
    [[nodiscard]] Result<void> to_rtr(const ConnectOptions& options);
    [[nodiscard]] Result<void> to_rts(const ConnectOptions& options);
    [[nodiscard]] Result<void> modify(ibv_qp_attr& attributes, int mask, const char* state);
    [[nodiscard]] ibv_ah_attr path() const;

    const Device* device_ = nullptr;
    ibv_pd* pd_ = nullptr;
    Owned<ibv_ah> address_handle_;
    Owned<ibv_qp> qp_;
    ibv_qp_type type_ = IBV_QPT_RC;
    std::uint32_t max_inline_ = 0;
    QueuePairAddress address_;
    QueuePairAddress remote_;
};

[[nodiscard]] const char* transport_name(ibv_qp_type type);

}  // namespace vrdma::verbs_util
