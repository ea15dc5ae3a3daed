#pragma once

// The far end of a measurement, as the initiator sees it: LocalResponder does the work on an
// Endpoint of this process, RemoteResponder (remote_responder.h) asks another process to.

#include <cstdint>
#include <vector>

#include "tools/verbs_util/error.h"
#include "tools/vrdma-perf/endpoint.h"
#include "tools/vrdma-perf/workload.h"

namespace vrdma::perf {

struct ReceiveCount {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  ///< as reported by completions, without GRH
};

class Responder {
  public:
    Responder() = default;
    Responder(const Responder&) = delete;
    Responder& operator=(const Responder&) = delete;
    virtual ~Responder() = default;

    /// Before a sample: receives are posted when the operation needs them.
    [[nodiscard]] virtual verbs_util::Result<void> begin(const Workload& workload) = 0;
    /// After it: waits until `sent` messages have been received (RC), or none came for a while
    /// (UC and UD may lose them).
    [[nodiscard]] virtual verbs_util::Result<ReceiveCount> end(std::uint64_t sent) = 0;

    /// Before a verified batch: target memory is set up, receives are posted.
    [[nodiscard]] virtual verbs_util::Result<void> prepare_batch(const Workload& workload,
                                                                 const VerifyBatch& batch) = 0;
    /// After it: fails with kVerification when memory or a completion is not what it must be.
    [[nodiscard]] virtual verbs_util::Result<void> check_batch(const Workload& workload,
                                                               const VerifyBatch& batch) = 0;
};

class LocalResponder final : public Responder {
  public:
    explicit LocalResponder(Endpoint& endpoint);

    [[nodiscard]] verbs_util::Result<void> begin(const Workload& workload) override;
    [[nodiscard]] verbs_util::Result<ReceiveCount> end(std::uint64_t sent) override;
    [[nodiscard]] verbs_util::Result<void> prepare_batch(const Workload& workload,
                                                         const VerifyBatch& batch) override;
    [[nodiscard]] verbs_util::Result<void> check_batch(const Workload& workload,
                                                       const VerifyBatch& batch) override;

    /// Takes what has been received and posts the receives again. Cheap when there is nothing; to
    /// be called all the time during a sample. The number of messages taken.
    [[nodiscard]] verbs_util::Result<int> progress();
    [[nodiscard]] Endpoint& endpoint() { return endpoint_; }

  private:
    [[nodiscard]] verbs_util::Result<void> fill_queue(std::uint32_t qp);
    [[nodiscard]] verbs_util::Result<void> post_receives(std::uint32_t qp, std::uint32_t count);
    [[nodiscard]] verbs_util::Result<void> post_batch_receives(const Workload& workload,
                                                               const VerifyBatch& batch);
    [[nodiscard]] verbs_util::Result<void> check_completions(const Workload& workload,
                                                             const VerifyBatch& batch);
    [[nodiscard]] bool uses_grh() const;
    [[nodiscard]] std::byte* slot_at(const Workload& workload, std::uint64_t slot) const;

    Endpoint& endpoint_;
    Workload workload_;
    std::vector<std::uint32_t> posted_;  ///< receives standing in each QP
    std::vector<ibv_recv_wr> requests_;
    std::vector<ibv_sge> segments_;
    std::uint64_t next_slot_ = 0;
    ReceiveCount received_;
};

}  // namespace vrdma::perf
