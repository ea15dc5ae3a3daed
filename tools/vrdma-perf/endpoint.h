#pragma once

// One end of the measurement: a device with memory, completion queues and connected queue pairs.

#include <cstdint>
#include <memory>
#include <vector>

#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/objects.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::perf {

struct EndpointOptions {
    ibv_qp_type transport = IBV_QPT_RC;
    std::uint32_t qps = 1;
    std::uint32_t active = 1;  ///< the first so many QPs get the depths below, the rest small ones
    std::uint32_t send_depth = 1;
    std::uint32_t recv_depth = 1;
    std::uint32_t max_inline = 0;
    std::uint64_t buffer_bytes = 64;
    verbs_util::MemoryKind memory = verbs_util::MemoryKind::kMalloc;
    bool events = false;
};

/// What the far end must know.
struct EndpointDescription {
    std::vector<verbs_util::QueuePairAddress> addresses;
    std::uint64_t buffer = 0;
    std::uint64_t buffer_bytes = 0;
    std::uint32_t rkey = 0;
    std::uint32_t mtu_bytes = 0;
};

class Endpoint {
  public:
    [[nodiscard]] static verbs_util::Result<std::unique_ptr<Endpoint>> create(
        std::shared_ptr<verbs_util::Device> device, const EndpointOptions& options);

    /// QP i is connected with QP i of the far end.
    [[nodiscard]] verbs_util::Result<void> connect(const EndpointDescription& remote);

    [[nodiscard]] EndpointDescription describe() const;
    [[nodiscard]] const EndpointOptions& options() const { return options_; }
    [[nodiscard]] const verbs_util::Device& device() const { return *device_; }
    [[nodiscard]] std::byte* buffer() const { return buffer_.data(); }
    [[nodiscard]] std::uint32_t lkey() const { return mr_->lkey; }
    [[nodiscard]] verbs_util::CompletionQueue& send_cq() { return send_cq_; }
    [[nodiscard]] verbs_util::CompletionQueue& recv_cq() { return recv_cq_; }
    [[nodiscard]] const verbs_util::QueuePair& qp(std::uint32_t index) const { return qps_[index]; }

  private:
    Endpoint() = default;
    [[nodiscard]] verbs_util::Result<void> create_queues();

    // Order of declaration is order of creation; destruction runs backwards.
    EndpointOptions options_;
    std::shared_ptr<verbs_util::Device> device_;
    verbs_util::Buffer buffer_;
    verbs_util::Owned<ibv_pd> pd_;
    verbs_util::Owned<ibv_mr> mr_;
    verbs_util::CompletionQueue send_cq_;
    verbs_util::CompletionQueue recv_cq_;
    std::vector<verbs_util::QueuePair> qps_;
};

}  // namespace vrdma::perf
