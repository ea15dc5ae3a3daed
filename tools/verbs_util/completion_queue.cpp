#include "tools/verbs_util/completion_queue.h"

#include <fmt/format.h>
#include <poll.h>

#include <utility>

// Owns a CQ and, in event mode, the channel that belongs to it alone: with one CQ per channel an
// event needs no look-up. Events are acknowledged in batches because an acknowledgement takes a
// lock, and all of them before the CQ is destroyed, since ibv_destroy_cq waits for that.

namespace vrdma::verbs_util {

namespace {
constexpr unsigned kAcknowledgeBatch = 64;
}

Result<CompletionQueue> CompletionQueue::create(const Device& device, std::uint32_t depth,
                                                bool events) {
    CompletionQueue queue;
    if (events) {
        queue.channel_.reset(ibv_create_comp_channel(device.context()));
        if (!queue.channel_) {
            return fail_errno(ErrorKind::kSetup, "ibv_create_comp_channel on " + device.name(),
                              errno);
        }
    }
    errno = 0;
    queue.cq_.reset(
        ibv_create_cq(device.context(), static_cast<int>(depth), nullptr, queue.channel_.get(), 0));
    if (!queue.cq_) {
        return fail_errno(ErrorKind::kSetup,
                          fmt::format("ibv_create_cq with {} entries on {} (device limit {})",
                                      depth, device.name(), device.attributes().max_cqe),
                          errno);
    }
    return queue;
}

CompletionQueue::~CompletionQueue() {
    acknowledge();
}

CompletionQueue::CompletionQueue(CompletionQueue&& other) noexcept
    : channel_(std::move(other.channel_)),
      cq_(std::move(other.cq_)),
      unacknowledged_(std::exchange(other.unacknowledged_, 0)) {}

CompletionQueue& CompletionQueue::operator=(CompletionQueue&& other) noexcept {
    if (this != &other) {
        acknowledge();
        cq_ = std::move(other.cq_);
        channel_ = std::move(other.channel_);
        unacknowledged_ = std::exchange(other.unacknowledged_, 0);
    }
    return *this;
}

Result<void> CompletionQueue::arm() {
    if (const int rc = ibv_req_notify_cq(cq_.get(), 0); rc != 0) {
        return fail_errno(ErrorKind::kSetup, "ibv_req_notify_cq", rc);
    }
    return {};
}

Result<bool> CompletionQueue::take_event(int timeout_ms) {
    pollfd waiting{channel_->fd, POLLIN, 0};
    const int ready = poll(&waiting, 1, timeout_ms);
    if (ready < 0 && errno != EINTR) {
        return fail_errno(ErrorKind::kSetup, "poll of a completion channel", errno);
    }
    if (ready <= 0) {
        return false;
    }
    ibv_cq* cq = nullptr;
    void* cookie = nullptr;
    if (ibv_get_cq_event(channel_.get(), &cq, &cookie) != 0) {
        return fail_errno(ErrorKind::kSetup, "ibv_get_cq_event", errno);
    }
    if (cq != cq_.get()) {
        return fail(ErrorKind::kVerification, "a completion event named a CQ of another channel");
    }
    if (++unacknowledged_ == kAcknowledgeBatch) {
        acknowledge();
    }
    return true;
}

void CompletionQueue::acknowledge() {
    if (cq_ && unacknowledged_ != 0) {
        ibv_ack_cq_events(cq_.get(), unacknowledged_);
        unacknowledged_ = 0;
    }
}

}  // namespace vrdma::verbs_util
