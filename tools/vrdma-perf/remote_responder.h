#pragma once

// The far end in another process.

#include "tools/verbs_util/error.h"
#include "tools/verbs_util/stream.h"
#include "tools/vrdma-perf/responder.h"

namespace vrdma::perf {

class RemoteResponder final : public Responder {
  public:
    explicit RemoteResponder(verbs_util::Stream stream) : stream_(std::move(stream)) {}

    /// The other process creates its end.
    [[nodiscard]] verbs_util::Result<EndpointDescription> open(const EndpointOptions& options);
    /// It connects its QPs with ours.
    [[nodiscard]] verbs_util::Result<void> connect(const EndpointDescription& ours);

    [[nodiscard]] verbs_util::Result<void> begin(const Workload& workload) override;
    [[nodiscard]] verbs_util::Result<ReceiveCount> end(std::uint64_t sent) override;
    [[nodiscard]] verbs_util::Result<void> prepare_batch(const Workload& workload,
                                                         const VerifyBatch& batch) override;
    [[nodiscard]] verbs_util::Result<void> check_batch(const Workload& workload,
                                                       const VerifyBatch& batch) override;

  private:
    [[nodiscard]] verbs_util::Result<nlohmann::json> ask(nlohmann::json request);

    verbs_util::Stream stream_;
};

}  // namespace vrdma::perf
