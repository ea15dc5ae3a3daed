// What may wait for a tenant without end, done where nobody else waits for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace vrdma::platform {

// The threads that wait for one tenant. Owned together with them: they may outlive everybody.
class Aside {
  public:
    // Runs `work` on a thread of its own. False when there is no thread; then it did not run.
    [[nodiscard]] bool run(std::function<void()> work);
    // Closes descriptors that may be of any kind, here when none of them can make us wait. When
    // there is no thread they stay open: better a lost descriptor than a lost service.
    void close_all(const std::vector<int>& files);

    // How many threads are at work, or stuck.
    [[nodiscard]] uint32_t waiting() const { return waiting_->load(std::memory_order_relaxed); }

  private:
    std::shared_ptr<std::atomic<uint32_t>> waiting_ = std::make_shared<std::atomic<uint32_t>>(0);
};

}  // namespace vrdma::platform
