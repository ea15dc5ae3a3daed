#pragma once

// Keeps the queue pairs of a link busy and notices when they stop working.

#include <infiniband/verbs.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "tests/e2e/fault_client/link.h"
#include "tools/verbs_util/error.h"

namespace vrdma::fault {

enum class Transfer : std::uint8_t { kWrite, kRead, kSend, kMixed };

/// The first error of a queue pair.
struct QueueError {
    std::uint32_t qp = 0;  ///< index
    std::uint32_t qpn = 0;
    ibv_wc_status status = IBV_WC_SUCCESS;
    bool receive = false;
};

class TransferLoop {
  public:
    /// `sending`: this side posts requests; receives are always posted.
    TransferLoop(Link& link, Transfer transfer, bool sending);

    /// Posts all receives.
    [[nodiscard]] verbs_util::Result<void> start();
    /// Takes completions and posts again. `on_error` is called once for each QP that fails; nothing
    /// more is posted on it. Whether anything completed.
    [[nodiscard]] verbs_util::Result<bool> turn(
        const std::function<void(const QueueError&)>& on_error);

    [[nodiscard]] std::uint64_t completed() const { return completed_; }
    [[nodiscard]] std::uint32_t failed_qps() const { return failed_; }
    /// QPs on which at least one request of this side has completed.
    [[nodiscard]] std::uint32_t proven_qps() const { return proven_; }

  private:
    struct State {
        std::uint32_t outstanding = 0;
        std::uint64_t posted = 0;
        bool proven = false;
        bool failed = false;
    };

    [[nodiscard]] verbs_util::Result<void> post_receive(std::uint32_t qp);
    [[nodiscard]] verbs_util::Result<void> fill(std::uint32_t qp);
    [[nodiscard]] verbs_util::Result<void> post_request(std::uint32_t qp);
    [[nodiscard]] verbs_util::Result<void> take(
        const ibv_wc& completion, const std::function<void(const QueueError&)>& on_error);

    Link& link_;
    const Transfer transfer_;
    const bool sending_;
    std::vector<State> states_;
    std::uint64_t completed_ = 0;
    std::uint32_t failed_ = 0;
    std::uint32_t proven_ = 0;
    bool filled_ = false;
};

}  // namespace vrdma::fault
