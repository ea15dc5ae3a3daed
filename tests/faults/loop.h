// Two queue pairs of one process connected to each other, on plain libibverbs.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/objects.h"
#include "tools/verbs_util/queue_pair.h"

namespace vrdma::faults {

class Loop {
  public:
    static constexpr std::uint32_t kEntries = 64;
    static constexpr std::uint32_t kBytes = 1 << 20;

    // All of it, or false after a message on standard error.
    [[nodiscard]] bool open(bool events);

    // A write from the first half of the memory to the second.
    [[nodiscard]] bool post_write(std::uint64_t wr_id, std::uint32_t bytes);
    [[nodiscard]] bool post_receive(std::uint64_t wr_id);
    // One round: a pattern of `round` is written, waited for and compared.
    [[nodiscard]] bool verified_write(std::uint32_t round);

    // Explicitly, in the order that libibverbs wants. False when one of the calls fails.
    [[nodiscard]] bool close();

    [[nodiscard]] ibv_context* context() const { return device_->context(); }
    [[nodiscard]] ibv_comp_channel* channel() const { return channel_; }
    [[nodiscard]] ibv_cq* cq() const { return cq_; }

  private:
    std::shared_ptr<verbs_util::Device> device_;
    ibv_pd* pd_ = nullptr;
    ibv_comp_channel* channel_ = nullptr;
    ibv_cq* cq_ = nullptr;
    ibv_mr* mr_ = nullptr;
    std::vector<std::uint8_t> memory_;
    std::vector<verbs_util::QueuePair> qps_;
};

// "name: reason" on standard error; false.
bool failed(const char* name, int error);

}  // namespace vrdma::faults
