// Moves data over the device, to see that it does and how fast.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tools/verbs_util/completion_queue.h"
#include "tools/verbs_util/device.h"
#include "tools/verbs_util/memory.h"
#include "tools/verbs_util/queue_pair.h"
#include "tools/vrdma-doctor/facts.h"

namespace vrdma::doctor {

inline constexpr std::size_t kTransferBytes = 64 << 10;

// Where the other side's memory is.
struct Target {
    std::uint64_t address = 0;
    std::uint32_t rkey = 0;
};

// One queue pair with memory of the kind that most programs have.
class Endpoint {
  public:
    [[nodiscard]] static verbs_util::Result<Endpoint> create(const std::string& device);
    // Another one on the same device.
    [[nodiscard]] verbs_util::Result<Endpoint> beside() const;

    [[nodiscard]] const verbs_util::QueuePairAddress& address() const { return qp_.address(); }
    [[nodiscard]] const verbs_util::Device& device() const { return *device_; }
    [[nodiscard]] Target target() const;
    [[nodiscard]] verbs_util::Result<void> connect(const verbs_util::QueuePairAddress& remote,
                                                   std::uint8_t retries = 7) {
        verbs_util::ConnectOptions options;
        options.retry_count = retries;
        return qp_.connect(remote, options);
    }

    // WRITEs for about so long; the endpoint must be connected.
    [[nodiscard]] verbs_util::Result<Speed> measure(const Target& target, double seconds);
    // One WRITE of no bytes: the reason of its completion, 0 when it succeeded.
    [[nodiscard]] verbs_util::Result<std::uint32_t> probe();

  private:
    [[nodiscard]] static verbs_util::Result<Endpoint> create_on(
        std::shared_ptr<verbs_util::Device> device);
    [[nodiscard]] verbs_util::Result<void> post(const Target& target, std::uint32_t bytes);
    [[nodiscard]] verbs_util::Result<ibv_wc> wait();
    [[nodiscard]] verbs_util::Result<void> take();
    [[nodiscard]] verbs_util::Result<double> latency(const Target& target, double seconds);
    [[nodiscard]] verbs_util::Result<double> bandwidth(const Target& target, double seconds);

    std::shared_ptr<verbs_util::Device> device_;
    verbs_util::Owned<ibv_pd> pd_;
    verbs_util::Buffer buffer_;
    verbs_util::Owned<ibv_mr> mr_;
    verbs_util::CompletionQueue cq_;
    verbs_util::QueuePair qp_;
};

// Between two queue pairs of the device.
[[nodiscard]] Transfer transfer_on_own_device(const std::string& device, double seconds);

}  // namespace vrdma::doctor
