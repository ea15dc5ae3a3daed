#include "tools/vrdma-perf/latency_run.h"

#include "tools/vrdma-perf/completion_wait.h"
#include "tools/vrdma-perf/send_requests.h"

// The latency loop: post one, poll until its completion, read the time stamp counter on both sides
// of that. QPs take turns. A far end in this thread is served between two measured operations, so
// that its work is not in the result; its receives are posted well ahead.

namespace vrdma::perf {

namespace {

using verbs_util::Result;
using verbs_util::Tsc;

Result<void> wait_received(Initiator& initiator) {
    Patience patience(initiator.tsc);
    while (true) {
        const auto taken = initiator.local->progress();
        if (!taken) {
            return tl::make_unexpected(taken.error());
        }
        if (*taken > 0) {
            return {};
        }
        if (!patience.wait_more()) {
            return tl::make_unexpected(stalled_error());
        }
    }
}

Result<void> wait_sent(CompletionWait& completions) {
    ibv_wc completion;
    const auto count = completions.wait(&completion, 1);
    if (!count) [[unlikely]] {
        return tl::make_unexpected(count.error());
    }
    return {};
}

}  // namespace

Result<RunResult> measure_latency(Initiator& initiator, const Workload& workload,
                                  const Budget& budget, bool until_received, Histogram& histogram) {
    SendRequests requests(initiator.endpoint, initiator.remote, workload, 1);
    requests[0].send_flags |= IBV_SEND_SIGNALED;
    CompletionWait completions(initiator.endpoint.send_cq(), workload.operation, initiator.tsc);
    const bool serve = initiator.local != nullptr && consumes_receive(workload.operation);
    RunResult result;
    std::uint32_t qp = 0;
    const std::uint64_t start = Tsc::now();
    std::uint64_t now = start;
    while ((budget.operations == 0 || result.operations < budget.operations) &&
           (budget.ticks == 0 || now - start < budget.ticks)) {
        requests.aim_next(0);
        requests[0].wr_id = qp;
        const std::uint64_t posted = Tsc::now();
        auto done = requests.post(qp, 1);
        if (done) [[likely]] {
            done = until_received ? wait_received(initiator) : wait_sent(completions);
        }
        now = Tsc::now();
        histogram.record(now - posted);
        ++result.operations;
        qp = qp + 1 == workload.active ? 0 : qp + 1;
        if (done && until_received) {
            done = wait_sent(completions);
        } else if (done && serve) {
            if (auto served = initiator.local->progress(); !served) {
                done = tl::make_unexpected(served.error());
            }
        }
        if (!done) [[unlikely]] {
            return tl::make_unexpected(done.error());
        }
    }
    result.ticks = now - start;
    return result;
}

}  // namespace vrdma::perf
