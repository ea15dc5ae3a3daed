#include "tools/vrdma-perf/verify_run.h"

#include <algorithm>
#include <array>

#include "tools/vrdma-perf/completion_wait.h"
#include "tools/vrdma-perf/send_requests.h"
#include "tools/vrdma-perf/verify_data.h"

// The verified run works in batches, because a far end in another process can only look at its
// memory when it is told that the transfers are done: both ends set up their memory, every
// operation of the batch goes to a slot of its own, both ends check. A batch is as large as the
// window, so the device sees the same concurrency as in the measurement.

namespace vrdma::perf {

namespace {

using verbs_util::Result;

constexpr int kPollBatch = 32;

void prepare_sources(Endpoint& endpoint, const Workload& workload, const VerifyBatch& batch) {
    const std::uint64_t stride = workload.layout.stride;
    background_pattern(batch).fill(endpoint.buffer(), batch.count * stride);
    if (returns_data(workload.operation)) {
        return;
    }
    for (std::uint64_t i = 0; i < batch.count; ++i) {
        message_pattern(batch.seed, batch.first + i)
            .fill(endpoint.buffer() + i * stride, workload.size);
    }
}

Result<void> transfer(Initiator& initiator, const Workload& workload, const VerifyBatch& batch) {
    SendRequests requests(initiator.endpoint, initiator.remote, workload, 1);
    requests[0].send_flags |= IBV_SEND_SIGNALED;
    for (std::uint64_t i = 0; i < batch.count; ++i) {
        requests.aim(0, i);
        requests[0].wr_id = i;
        requests[0].imm_data = immediate_of(batch.seed, batch.first + i);
        if (is_atomic(workload.operation)) {
            const auto plan = atomic_plan(workload.operation, batch.seed, batch.first + i);
            const bool add = workload.operation == Operation::kFetchAdd;
            requests[0].wr.atomic.compare_add = add ? plan.operand : plan.compare;
            requests[0].wr.atomic.swap = add ? 0 : plan.operand;
        }
        const auto qp = static_cast<std::uint32_t>(i % workload.active);
        if (auto posted = requests.post(qp, 1); !posted) {
            return posted;
        }
    }
    CompletionWait wait(initiator.endpoint.send_cq(), workload.operation, initiator.tsc);
    std::array<ibv_wc, kPollBatch> completions;
    for (std::uint64_t done = 0; done < batch.count;) {
        const auto count = wait.wait(completions.data(), kPollBatch);
        if (!count) {
            return tl::make_unexpected(count.error());
        }
        done += static_cast<std::uint64_t>(*count);
    }
    return {};
}

Result<void> check_near_end(Endpoint& endpoint, const Workload& workload,
                            const VerifyBatch& batch) {
    for (std::uint64_t i = 0; i < batch.count; ++i) {
        const std::byte* slot = endpoint.buffer() + i * workload.layout.stride;
        const std::uint64_t n = batch.first + i;
        const auto checked =
            is_atomic(workload.operation)
                ? check_word_slot(workload, batch, i, slot,
                                  atomic_plan(workload.operation, batch.seed, n).before, "near end")
                : check_slot(workload, batch, i, slot, 0, "near end");
        if (!checked) {
            return checked;
        }
    }
    return {};
}

}  // namespace

Result<void> verify_transfers(Initiator& initiator, Responder& responder, const Workload& workload,
                              std::uint64_t seed, std::uint64_t operations, std::uint32_t window) {
    const std::uint64_t largest =
        std::min(std::uint64_t{window} * workload.active, workload.layout.slots);
    VerifyBatch batch;
    batch.seed = seed;
    while (batch.first < operations) {
        batch.count = std::min(largest, operations - batch.first);
        auto done = responder.prepare_batch(workload, batch);
        if (done) {
            prepare_sources(initiator.endpoint, workload, batch);
            done = transfer(initiator, workload, batch);
        }
        if (done) {
            done = responder.check_batch(workload, batch);
        }
        if (done) {
            done = check_near_end(initiator.endpoint, workload, batch);
        }
        if (!done) {
            return done;
        }
        batch.first += batch.count;
    }
    return {};
}

}  // namespace vrdma::perf
