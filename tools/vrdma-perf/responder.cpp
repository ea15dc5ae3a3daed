#include "tools/vrdma-perf/responder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/tsc.h"
#include "tools/vrdma-perf/verify_data.h"

// The far end on an Endpoint of this process. For WRITE, READ and atomics it has nothing to do: the
// device does the work. For SEND and WRITE with immediate it keeps every active QP full of receives
// and counts what arrives. A receive is posted again as soon as its completion is taken, in chains
// as long as completions of one QP follow each other.
//
// In a verified batch receives are posted by number instead, one for each message, so that the
// buffer of every message is known and leftovers cannot hide.

namespace vrdma::perf {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::monotonic_ns;
using verbs_util::Result;

constexpr int kPollBatch = 32;
constexpr std::uint64_t kReliableWaitNs = 10'000'000'000;
constexpr std::uint64_t kUnreliableQuietNs = 20'000'000;

}  // namespace

LocalResponder::LocalResponder(Endpoint& endpoint)
    : endpoint_(endpoint),
      posted_(endpoint.options().qps, 0),
      requests_(std::max<std::size_t>(endpoint.options().recv_depth, kPollBatch)),
      segments_(requests_.size()) {}

bool LocalResponder::uses_grh() const {
    return endpoint_.options().transport == IBV_QPT_UD;
}

std::byte* LocalResponder::slot_at(const Workload& workload, std::uint64_t slot) const {
    return endpoint_.buffer() + slot * workload.layout.stride;
}

Result<void> LocalResponder::post_receives(std::uint32_t qp, std::uint32_t count) {
    const Layout& layout = workload_.layout;
    for (std::uint32_t i = 0; i < count; ++i) {
        segments_[i] = {reinterpret_cast<std::uintptr_t>(slot_at(workload_, next_slot_)),
                        static_cast<std::uint32_t>(workload_.recv_bytes), endpoint_.lkey()};
        requests_[i] = {};
        requests_[i].wr_id = qp;
        requests_[i].sg_list = &segments_[i];
        requests_[i].num_sge = 1;
        requests_[i].next = i + 1 < count ? &requests_[i + 1] : nullptr;
        next_slot_ = next_slot_ + 1 == layout.slots ? 0 : next_slot_ + 1;
    }
    ibv_recv_wr* bad = nullptr;
    if (const int rc = ibv_post_recv(endpoint_.qp(qp).get(), requests_.data(), &bad); rc != 0) {
        return fail_errno(ErrorKind::kTransfer,
                          fmt::format("ibv_post_recv of {} receives on QP {:#x}", count,
                                      endpoint_.qp(qp).address().qpn),
                          rc);
    }
    posted_[qp] += count;
    return {};
}

Result<void> LocalResponder::fill_queue(std::uint32_t qp) {
    const std::uint32_t missing = endpoint_.options().recv_depth - posted_[qp];
    return missing == 0 ? Result<void>{} : post_receives(qp, missing);
}

Result<void> LocalResponder::begin(const Workload& workload) {
    workload_ = workload;
    next_slot_ = 0;
    received_ = {};
    if (!consumes_receive(workload.operation)) {
        return {};
    }
    for (std::uint32_t qp = 0; qp < workload.active; ++qp) {
        if (auto filled = fill_queue(qp); !filled) {
            return filled;
        }
    }
    return {};
}

Result<int> LocalResponder::progress() {
    std::array<ibv_wc, kPollBatch> completions;
    const int count = ibv_poll_cq(endpoint_.recv_cq().get(), kPollBatch, completions.data());
    if (count < 0) {
        return fail(ErrorKind::kTransfer, "ibv_poll_cq of the receive CQ failed");
    }
    const std::uint64_t grh = uses_grh() ? kGrhBytes : 0;
    for (int i = 0; i < count;) {
        const auto qp = static_cast<std::uint32_t>(completions[static_cast<std::size_t>(i)].wr_id);
        std::uint32_t run = 0;
        for (; i < count; ++i, ++run) {
            const ibv_wc& completion = completions[static_cast<std::size_t>(i)];
            if (completion.status != IBV_WC_SUCCESS) {
                return fail(ErrorKind::kTransfer,
                            "a receive failed: " + verbs_util::describe_completion(completion),
                            verbs_util::remedy_for_status(completion.status));
            }
            if (completion.wr_id != qp) {
                break;
            }
            received_.bytes += completion.byte_len - grh;
        }
        received_.messages += run;
        posted_[qp] -= run;
        if (auto posted = post_receives(qp, run); !posted) {
            return tl::make_unexpected(posted.error());
        }
    }
    return count;
}

Result<ReceiveCount> LocalResponder::end(std::uint64_t sent) {
    if (!consumes_receive(workload_.operation)) {
        return ReceiveCount{sent, sent * workload_.size};
    }
    const bool reliable = endpoint_.options().transport == IBV_QPT_RC;
    const std::uint64_t limit = reliable ? kReliableWaitNs : kUnreliableQuietNs;
    std::uint64_t last = monotonic_ns();
    verbs_util::Spinner spinner;
    while (received_.messages < sent) {
        const auto taken = progress();
        if (!taken) {
            return tl::make_unexpected(taken.error());
        }
        if (*taken > 0) {
            last = monotonic_ns();
        } else if (monotonic_ns() - last > limit) {
            break;
        } else {
            spinner.idle();
        }
    }
    if (received_.messages > sent || (reliable && received_.messages < sent)) {
        return fail(ErrorKind::kVerification,
                    fmt::format("{} messages sent, {} received", sent, received_.messages));
    }
    return received_;
}

Result<void> LocalResponder::post_batch_receives(const Workload& workload,
                                                 const VerifyBatch& batch) {
    for (std::uint64_t i = 0; i < batch.count; ++i) {
        const auto qp = static_cast<std::uint32_t>(i % workload.active);
        ibv_sge segment{reinterpret_cast<std::uintptr_t>(slot_at(workload, i)),
                        static_cast<std::uint32_t>(workload.recv_bytes), endpoint_.lkey()};
        ibv_recv_wr request{};
        request.wr_id = i;
        request.sg_list = &segment;
        request.num_sge = workload.operation == Operation::kSend ? 1 : 0;
        ibv_recv_wr* bad = nullptr;
        if (const int rc = ibv_post_recv(endpoint_.qp(qp).get(), &request, &bad); rc != 0) {
            return fail_errno(ErrorKind::kTransfer,
                              fmt::format("ibv_post_recv number {} of a batch", i), rc);
        }
    }
    return {};
}

Result<void> LocalResponder::prepare_batch(const Workload& workload, const VerifyBatch& batch) {
    workload_ = workload;
    const std::uint64_t stride = workload.layout.stride;
    background_pattern(batch).fill(endpoint_.buffer(), batch.count * stride);
    for (std::uint64_t i = 0; i < batch.count; ++i) {
        std::byte* slot = slot_at(workload, i);
        if (workload.operation == Operation::kRead) {
            message_pattern(batch.seed, batch.first + i).fill(slot, workload.size);
        } else if (is_atomic(workload.operation)) {
            const auto plan = atomic_plan(workload.operation, batch.seed, batch.first + i);
            std::memcpy(slot, &plan.before, sizeof plan.before);
        }
    }
    return consumes_receive(workload.operation) ? post_batch_receives(workload, batch)
                                                : Result<void>{};
}

Result<void> LocalResponder::check_completions(const Workload& workload, const VerifyBatch& batch) {
    std::vector<std::uint64_t> next(workload.active);
    for (std::uint32_t qp = 0; qp < workload.active; ++qp) {
        next[qp] = qp;
    }
    const std::uint64_t give_up = monotonic_ns() + kReliableWaitNs;
    const bool write = workload.operation == Operation::kWriteImm;
    const std::uint64_t length = workload.size + (uses_grh() ? kGrhBytes : 0);
    verbs_util::Spinner spinner;
    for (std::uint64_t done = 0; done < batch.count;) {
        ibv_wc completion{};
        const int count = ibv_poll_cq(endpoint_.recv_cq().get(), 1, &completion);
        if (count == 0 && monotonic_ns() < give_up) {
            spinner.idle();
            continue;
        }
        if (count != 1) {
            return fail(ErrorKind::kVerification,
                        fmt::format("{} of {} messages received", done, batch.count));
        }
        if (completion.status != IBV_WC_SUCCESS) {
            return fail(ErrorKind::kTransfer,
                        "a receive failed: " + verbs_util::describe_completion(completion),
                        verbs_util::remedy_for_status(completion.status));
        }
        const auto qp = static_cast<std::uint32_t>(completion.wr_id % workload.active);
        const std::uint32_t immediate = immediate_of(batch.seed, batch.first + completion.wr_id);
        const bool right =
            completion.wr_id < batch.count && completion.wr_id == next[qp] &&
            completion.qp_num == endpoint_.qp(qp).address().qpn && completion.byte_len == length &&
            completion.opcode == (write ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV) &&
            (!write ||
             ((completion.wc_flags & IBV_WC_WITH_IMM) != 0 && completion.imm_data == immediate));
        if (!right) {
            return fail(
                ErrorKind::kVerification,
                fmt::format("a receive completion is wrong: wr_id {} (expected {}), QP {:#x} "
                            "(expected {:#x}), {} bytes (expected {}), opcode {}, immediate {:#x}",
                            completion.wr_id, next[qp], completion.qp_num,
                            endpoint_.qp(qp).address().qpn, completion.byte_len, length,
                            verbs_util::opcode_name(completion.opcode), completion.imm_data));
        }
        next[qp] += workload.active;
        ++done;
    }
    return {};
}

Result<void> LocalResponder::check_batch(const Workload& workload, const VerifyBatch& batch) {
    if (consumes_receive(workload.operation)) {
        if (auto checked = check_completions(workload, batch); !checked) {
            return checked;
        }
    }
    const std::uint64_t skip = uses_grh() ? kGrhBytes : 0;
    for (std::uint64_t i = 0; i < batch.count; ++i) {
        const std::byte* slot = slot_at(workload, i);
        const std::uint64_t n = batch.first + i;
        const auto checked =
            is_atomic(workload.operation)
                ? check_word_slot(workload, batch, i, slot,
                                  atomic_plan(workload.operation, batch.seed, n).after, "far end")
                : check_slot(workload, batch, i, slot, skip, "far end");
        if (!checked) {
            return checked;
        }
    }
    return {};
}

}  // namespace vrdma::perf
