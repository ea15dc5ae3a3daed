#include "tools/vrdma-perf/completion_wait.h"

#include <fmt/format.h>
#include <sched.h>

#include "tools/verbs_util/device.h"

// How a loop waits. Polling is the normal case; after some thousand fruitless polls the thread
// yields, because with fewer processors than busy threads the device may be waiting for this one's
// processor. Asleep, the order is the one of the ibv_get_cq_event man page: arm, poll once more,
// sleep, poll. Both give up after ten seconds without a completion, with an error instead of a
// hang.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::Result;
using verbs_util::Tsc;

constexpr double kStallSeconds = 10.0;
constexpr int kStallMs = 10'000;

}  // namespace

bool Patience::yield_and_check() {
    (void)sched_yield();
    const std::uint64_t now = Tsc::now();
    since_ = since_ == 0 ? now : since_;
    return now - since_ < tsc_.from_seconds(kStallSeconds);
}

verbs_util::Error stalled_error() {
    return {ErrorKind::kTransfer, fmt::format("no completion for {:.0f} seconds", kStallSeconds), 0,
            "check that the service behind the device and the other side still run"};
}

verbs_util::Error completion_error(Operation operation, const ibv_wc& completion) {
    return {ErrorKind::kTransfer,
            fmt::format("a {} failed: {}", operation_name(operation),
                        verbs_util::describe_completion(completion)),
            0, verbs_util::remedy_for_status(completion.status)};
}

Result<int> CompletionWait::poll(ibv_wc* completions, int room) {
    const int count = ibv_poll_cq(cq_.get(), room, completions);
    if (count < 0) [[unlikely]] {
        return verbs_util::fail(ErrorKind::kTransfer, "ibv_poll_cq of the send CQ failed");
    }
    for (int i = 0; i < count; ++i) {
        if (completions[i].status != IBV_WC_SUCCESS) [[unlikely]] {
            return tl::make_unexpected(completion_error(operation_, completions[i]));
        }
    }
    return count;
}

Result<int> CompletionWait::wait(ibv_wc* completions, int room) {
    Patience patience(tsc_);
    while (true) {
        auto count = poll(completions, room);
        if (!count || *count != 0) {
            return count;
        }
        if (can_sleep()) {
            return sleep(completions, room);
        }
        if (!patience.wait_more()) [[unlikely]] {
            return tl::make_unexpected(stalled_error());
        }
    }
}

Result<int> CompletionWait::sleep(ibv_wc* completions, int room) {
    while (true) {
        if (auto armed = cq_.arm(); !armed) {
            return tl::make_unexpected(armed.error());
        }
        auto count = poll(completions, room);
        if (!count || *count != 0) {
            return count;
        }
        const auto event = cq_.take_event(kStallMs);
        if (!event) {
            return tl::make_unexpected(event.error());
        }
        count = poll(completions, room);
        if (!count || *count != 0) {
            return count;
        }
        if (!*event) {
            return tl::make_unexpected(stalled_error());
        }
    }
}

}  // namespace vrdma::perf
