#include "tests/e2e/verify/completion_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/verbs_util/device.h"

// Completions of one QP come in the order of its work requests, for sends and receives separately;
// between QPs any order is right, also on a shared CQ. So each QP has two lists of operations and a
// position in each, and a completion must be exactly the next one of its list: right CQ, QP, wr_id,
// opcode, length, immediate, flags. Shared receives are the exception: which buffer a message takes
// is open, but each only once.

namespace vrdma::verify {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::Result;

constexpr std::uint32_t kReceiveBit = 0x80000000U;

Result<void> wrong(const char* field, const Operation& operation, std::uint64_t expected,
                   std::uint64_t actual, const ibv_wc& completion) {
    return fail(
        ErrorKind::kVerification,
        fmt::format("completion of {}: {} is {:#x}, expected {:#x} ({})", describe(operation),
                    field, actual, expected, verbs_util::describe_completion(completion)));
}

}  // namespace

CompletionCheck::CompletionCheck(const EpochPlan& epoch, unsigned side, QueueNumbers numbers)
    : epoch_(epoch),
      side_(side),
      numbers_(std::move(numbers)),
      sends_(epoch.queues.size()),
      receives_(epoch.queues.size()) {}

void CompletionCheck::begin(const RoundPlan& plan, std::uint32_t round) {
    plan_ = &plan;
    round_ = round;
    missing_ = 0;
    takers_.assign(plan.receives.size(), kNone);
    for (std::size_t i = 0; i < sends_.size(); ++i) {
        sends_[i].operations.clear();
        sends_[i].next = 0;
        receives_[i].operations.clear();
        receives_[i].next = 0;
    }
    for (std::uint32_t i = 0; i < plan.operations.size(); ++i) {
        const Operation& operation = plan.operations[i];
        if (operation.initiator == side_ && operation.signaled) {
            sends_[operation.queue].operations.push_back(i);
            ++missing_;
        } else if (operation.initiator != side_ && consumes_receive(operation.opcode)) {
            receives_[operation.queue].operations.push_back(i);
            ++missing_;
        }
    }
}

Result<void> CompletionCheck::accept(unsigned cq, const ibv_wc& completion) {
    if (completion.status != IBV_WC_SUCCESS) {
        return fail(ErrorKind::kTransfer,
                    "completion with an error: " + verbs_util::describe_completion(completion));
    }
    const auto at = std::find(numbers_.own.begin(), numbers_.own.end(), completion.qp_num);
    if (at == numbers_.own.end()) {
        return fail(ErrorKind::kVerification,
                    "completion of an unknown QP: " + verbs_util::describe_completion(completion));
    }
    const auto queue = static_cast<std::uint32_t>(at - numbers_.own.begin());
    return (completion.opcode & IBV_WC_RECV) != 0 ? accept_receive(queue, cq, completion)
                                                  : accept_send(queue, cq, completion);
}

Result<void> CompletionCheck::accept_send(std::uint32_t queue, unsigned cq,
                                          const ibv_wc& completion) {
    Expected& expected = sends_[queue];
    if (expected.next == expected.operations.size()) {
        return fail(ErrorKind::kVerification, "a send completion that nobody asked for: " +
                                                  verbs_util::describe_completion(completion));
    }
    const std::uint32_t index = expected.operations[expected.next];
    const Operation& operation = plan_->operations[index];
    if (cq != epoch_.queues[queue].sides[side_].send_cq) {
        return wrong("CQ", operation, epoch_.queues[queue].sides[side_].send_cq, cq, completion);
    }
    if (completion.wr_id != send_id(round_, index)) {
        return wrong("wr_id", operation, send_id(round_, index), completion.wr_id, completion);
    }
    if (completion.opcode != completion_opcode(operation.opcode)) {
        return wrong("opcode", operation, completion_opcode(operation.opcode), completion.opcode,
                     completion);
    }
    const bool returns = operation.opcode == Opcode::kRead || is_atomic(operation.opcode);
    if (returns && completion.byte_len != operation.size) {
        return wrong("byte_len", operation, operation.size, completion.byte_len, completion);
    }
    ++expected.next;
    --missing_;
    return {};
}

Result<void> CompletionCheck::accept_receive(std::uint32_t queue, unsigned cq,
                                             const ibv_wc& completion) {
    Expected& expected = receives_[queue];
    if (expected.next == expected.operations.size()) {
        return fail(ErrorKind::kVerification, "a receive completion without a message: " +
                                                  verbs_util::describe_completion(completion));
    }
    const Operation& operation = plan_->operations[expected.operations[expected.next]];
    const QueuePlan& plan = epoch_.queues[queue];
    if (cq != plan.sides[side_].recv_cq) {
        return wrong("CQ", operation, plan.sides[side_].recv_cq, cq, completion);
    }
    const auto opcode = is_send(operation.opcode) ? IBV_WC_RECV : IBV_WC_RECV_RDMA_WITH_IMM;
    if (completion.opcode != opcode) {
        return wrong("opcode", operation, opcode, completion.opcode, completion);
    }
    const bool datagram = plan.type == IBV_QPT_UD;
    const std::uint32_t length = operation.size + (datagram ? kGrhBytes : 0);
    if (completion.byte_len != length) {
        return wrong("byte_len", operation, length, completion.byte_len, completion);
    }
    const bool immediate = (completion.wc_flags & IBV_WC_WITH_IMM) != 0;
    if (immediate != carries_immediate(operation.opcode)) {
        return wrong("IBV_WC_WITH_IMM", operation, !immediate, immediate, completion);
    }
    if (immediate && completion.imm_data != operation.immediate) {
        return wrong("imm_data", operation, operation.immediate, completion.imm_data, completion);
    }
    if (datagram && (completion.wc_flags & IBV_WC_GRH) == 0) {
        return wrong("IBV_WC_GRH", operation, 1, 0, completion);
    }
    if (datagram && completion.src_qp != numbers_.remote[queue]) {
        return wrong("src_qp", operation, numbers_.remote[queue], completion.src_qp, completion);
    }
    if (auto taken = take_receive(operation, expected.operations[expected.next], completion);
        !taken) {
        return taken;
    }
    ++expected.next;
    --missing_;
    return {};
}

Result<void> CompletionCheck::take_receive(const Operation& operation, std::uint32_t index,
                                           const ibv_wc& completion) {
    if (operation.receive != kNone) {
        const std::uint64_t id = receive_id(round_, operation.receive);
        return completion.wr_id == id ? Result<void>{}
                                      : wrong("wr_id", operation, id, completion.wr_id, completion);
    }
    const std::uint32_t receive = static_cast<std::uint32_t>(completion.wr_id) & ~kReceiveBit;
    const bool possible = receive < plan_->receives.size() &&
                          completion.wr_id == receive_id(round_, receive) &&
                          plan_->receives[receive].shared &&
                          plan_->receives[receive].side == side_ && takers_[receive] == kNone;
    if (!possible) {
        return fail(ErrorKind::kVerification,
                    fmt::format("completion of {}: wr_id {:#x} is no free shared receive",
                                describe(operation), completion.wr_id));
    }
    takers_[receive] = index;
    return {};
}

std::string CompletionCheck::describe_missing() const {
    constexpr std::size_t kShown = 4;
    std::string text = fmt::format("{} completions missing", missing_);
    std::size_t shown = 0;
    for (const auto* lists : {&sends_, &receives_}) {
        for (const Expected& expected : *lists) {
            if (expected.next < expected.operations.size() && shown < kShown) {
                const std::uint32_t index = expected.operations[expected.next];
                text += fmt::format("; {} of operation {}: {}",
                                    lists == &sends_ ? "send completion" : "receive completion",
                                    index, describe(plan_->operations[index]));
                ++shown;
            }
        }
    }
    return text;
}

}  // namespace vrdma::verify
