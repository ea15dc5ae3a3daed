// Management datagrams on their way from the worker that received them to the control thread.
#pragma once

#include <atomic>
#include <optional>

#include "dataplane/base/spsc_ring.h"
#include "dataplane/device/mad.h"

namespace vrdma::app {

class MadMailbox final : public MadReceiver {
  public:
    MadMailbox();
    ~MadMailbox() override;
    MadMailbox(const MadMailbox&) = delete;
    MadMailbox& operator=(const MadMailbox&) = delete;

    // The one worker that receives them. False: the control thread is behind.
    [[nodiscard]] bool receive(const Mad& mad) override;

    // The control thread: readable when something has come since the last take_notice().
    [[nodiscard]] int file() const { return event_; }
    void take_notice();
    [[nodiscard]] std::optional<Mad> take();

  private:
    static constexpr uint32_t kMads = 512;

    const int event_;
    std::atomic<bool> noticed_{false};  // the file is readable, or will be at once
    SpscRing<Mad> mads_{kMads};
};

}  // namespace vrdma::app
