#pragma once

// A completion queue, optionally with a completion channel to sleep on.

#include <infiniband/verbs.h>

#include <cstdint>
#include <span>

#include "tools/verbs_util/device.h"
#include "tools/verbs_util/error.h"
#include "tools/verbs_util/objects.h"

namespace vrdma::verbs_util {

class CompletionQueue {
  public:
    /// `depth` completions fit. With `events` a completion channel is attached and wait() sleeps.
    [[nodiscard]] static Result<CompletionQueue> create(const Device& device, std::uint32_t depth,
                                                        bool events);

    CompletionQueue() = default;
    ~CompletionQueue();
    CompletionQueue(CompletionQueue&&) noexcept;
    CompletionQueue& operator=(CompletionQueue&&) noexcept;
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;

    [[nodiscard]] ibv_cq* get() const { return cq_.get(); }
    [[nodiscard]] bool has_events() const { return channel_ != nullptr; }
    /// To wait for several things at once; -1 without events.
    [[nodiscard]] int event_fd() const { return channel_ ? channel_->fd : -1; }

    /// Asks for an event at the next completion; the caller must poll once more before it sleeps.
    [[nodiscard]] Result<void> arm();
    /// Takes one event from the channel. False when none came within the time.
    [[nodiscard]] Result<bool> take_event(int timeout_ms);

  private:
    void acknowledge();

    Owned<ibv_comp_channel> channel_;
    Owned<ibv_cq> cq_;
    unsigned unacknowledged_ = 0;
};

}  // namespace vrdma::verbs_util
