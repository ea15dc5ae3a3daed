#include "tests/e2e/verify/round_run.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "tools/verbs_util/cpu.h"
#include "tools/verbs_util/tsc.h"

// A round as one side sees it: lay out the sources, post the receives, meet the other side, post
// all operations, take completions until none is missing, meet again, check every byte. After the
// second meeting nobody transfers, so memory may be looked at; after the next first meeting both
// have looked.
//
// With late receives the receives come after the first meeting, so that messages find none and have
// to be tried again (RNR). In event mode the side sleeps on its completion channels instead of
// polling; a completion that is there after a sleep of a second without any event was not
// announced.

namespace vrdma::verify {

namespace {

using verbs_util::ErrorKind;
using verbs_util::fail;
using verbs_util::fail_errno;
using verbs_util::monotonic_ns;
using verbs_util::Result;

constexpr int kPollBatch = 32;
constexpr std::uint64_t kPatienceNs = 20'000'000'000;
constexpr unsigned kFruitlessPerClock = 1024;
constexpr int kSleepMs = 1000;

QueueNumbers numbers_of(const End& end, const EpochPlan& epoch) {
    QueueNumbers numbers;
    for (std::size_t i = 0; i < epoch.queues.size(); ++i) {
        numbers.own.push_back(end.queue(i).address().qpn);
        numbers.remote.push_back(end.queue(i).remote().qpn);
    }
    return numbers;
}

}  // namespace

RoundRun::RoundRun(End& end, const EpochPlan& epoch, unsigned side, PairBlock& pair,
                   Meeting& meeting, std::uint64_t seed)
    : end_(end),
      epoch_(epoch),
      side_(side),
      own_(pair.sides[side]),
      other_(pair.sides[1 - side]),
      meeting_(meeting),
      completions_(epoch, side, numbers_of(end, epoch)),
      memory_(end.arena(), side, seed),
      requests_(kMaxRoundOperations),
      segments_(std::size_t{kMaxRoundOperations} * kMaxSegments) {}

Result<void> RoundRun::run(const RoundPlan& plan, std::uint32_t round) {
    plan_ = &plan;
    round_ = round;
    completions_.begin(plan, round);
    memory_.prepare(plan);
    auto done = plan.late_receives ? Result<void>{} : post_receives();
    if (done) {
        done = meeting_.wait();
    }
    if (done && plan.late_receives) {
        done = post_receives();
    }
    if (done) {
        done = post_operations();
    }
    if (done) {
        done = wait_complete();
    }
    if (done) {
        done = meeting_.wait();
    }
    if (done) {
        done = memory_.check_round(plan, completions_);
    }
    if (done) {
        count_totals();
    }
    return done;
}

void RoundRun::build_segments(const PieceRange& range, std::uint32_t lkey,
                              ibv_sge* segments) const {
    for (std::uint32_t i = 0; i < range.count; ++i) {
        const Piece& piece = plan_->pieces[range.first + i];
        segments[i] = {reinterpret_cast<std::uintptr_t>(end_.arena() + piece.offset), piece.length,
                       lkey};
    }
}

Result<void> RoundRun::post_receives() {
    for (std::uint32_t i = 0; i < plan_->receives.size(); ++i) {
        const Receive& receive = plan_->receives[i];
        if (receive.side != side_) {
            continue;
        }
        std::array<ibv_sge, kMaxSegments> segments;
        build_segments(receive.pieces, end_.lkey(receive.region), segments.data());
        ibv_recv_wr request{};
        request.wr_id = receive_id(round_, i);
        request.sg_list = segments.data();
        request.num_sge = static_cast<int>(receive.pieces.count);
        ibv_recv_wr* bad = nullptr;
        const int rc = receive.shared
                           ? ibv_post_srq_recv(end_.srq(), &request, &bad)
                           : ibv_post_recv(end_.queue(receive.queue).get(), &request, &bad);
        if (rc != 0) {
            return fail_errno(
                ErrorKind::kTransfer,
                fmt::format("posting receive {} with {} segments", i, receive.pieces.count), rc);
        }
    }
    return {};
}

void RoundRun::build_request(std::uint32_t index, ibv_send_wr& request, ibv_sge* segments) {
    const Operation& operation = plan_->operations[index];
    build_segments(operation.local, end_.lkey(operation.local_region), segments);
    request = {};
    request.wr_id = send_id(round_, index);
    request.sg_list = segments;
    request.num_sge = static_cast<int>(operation.local.count);
    request.opcode = work_request_opcode(operation.opcode);
    request.send_flags = (operation.signaled ? static_cast<unsigned>(IBV_SEND_SIGNALED) : 0U) |
                         (operation.inline_data ? static_cast<unsigned>(IBV_SEND_INLINE) : 0U) |
                         (operation.fence ? static_cast<unsigned>(IBV_SEND_FENCE) : 0U);
    if (carries_immediate(operation.opcode)) {
        request.imm_data = operation.immediate;
    }
    const std::uint64_t remote = other_.arena + operation.remote_offset;
    const std::uint32_t rkey = other_.rkeys[operation.remote_region];
    const verbs_util::QueuePair& queue = end_.queue(operation.queue);
    if (is_atomic(operation.opcode)) {
        request.wr.atomic.remote_addr = remote;
        request.wr.atomic.rkey = rkey;
        const bool add = operation.opcode == Opcode::kFetchAdd;
        request.wr.atomic.compare_add = add ? operation.operand : operation.compare;
        request.wr.atomic.swap = add ? 0 : operation.operand;
    } else if (queue.type() == IBV_QPT_UD) {
        request.wr.ud.ah = queue.address_handle();
        request.wr.ud.remote_qpn = queue.remote().qpn;
        request.wr.ud.remote_qkey = queue.remote().qkey;
    } else if (!is_send(operation.opcode)) {
        request.wr.rdma.remote_addr = remote;
        request.wr.rdma.rkey = rkey;
    }
}

Result<std::uint32_t> RoundRun::post_list(std::uint32_t first) {
    std::uint32_t behind = first;
    std::size_t count = 0;
    bool more = true;
    while (more) {
        build_request(behind, requests_[count], &segments_[count * kMaxSegments]);
        more = plan_->operations[behind].chained;
        requests_[count].next = more ? &requests_[count + 1] : nullptr;
        ++behind;
        ++count;
    }
    const verbs_util::QueuePair& queue = end_.queue(plan_->operations[first].queue);
    ibv_send_wr* bad = nullptr;
    if (const int rc = ibv_post_send(queue.get(), requests_.data(), &bad); rc != 0) {
        const auto failed = first + static_cast<std::uint32_t>(bad - requests_.data());
        return fail_errno(
            ErrorKind::kTransfer,
            fmt::format("ibv_post_send of a list of {}, refused at operation {}: {}", count, failed,
                        failed < behind ? describe(plan_->operations[failed]) : "outside of it"),
            rc);
    }
    for (std::uint32_t i = first; i < behind; ++i) {
        if (plan_->operations[i].inline_data) {
            memory_.forget_source(*plan_, plan_->operations[i]);
        }
    }
    return behind;
}

Result<void> RoundRun::post_operations() {
    for (std::uint32_t i = 0; i < plan_->operations.size();) {
        if (plan_->operations[i].initiator != side_) {
            ++i;
            continue;
        }
        const auto behind = post_list(i);
        if (!behind) {
            return tl::make_unexpected(behind.error());
        }
        i = *behind;
        if (const auto taken = poll_all(); !taken) {
            return tl::make_unexpected(taken.error());
        }
    }
    return {};
}

Result<int> RoundRun::poll_all() {
    int total = 0;
    std::array<ibv_wc, kPollBatch> taken;
    auto& queues = end_.completion_queues();
    for (unsigned cq = 0; cq < queues.size(); ++cq) {
        const int count = ibv_poll_cq(queues[cq].get(), kPollBatch, taken.data());
        if (count < 0) {
            return fail(ErrorKind::kTransfer, fmt::format("ibv_poll_cq of CQ {} failed", cq));
        }
        for (int i = 0; i < count; ++i) {
            auto right = completions_.accept(cq, taken[static_cast<std::size_t>(i)]);
            if (!right) {
                return tl::make_unexpected(right.error());
            }
        }
        total += count;
    }
    own_.completions += static_cast<std::uint64_t>(total);
    return total;
}

Result<void> RoundRun::wait_complete() {
    const bool events = epoch_.sides[side_].events;
    verbs_util::Spinner spinner;
    std::uint64_t last = monotonic_ns();
    for (unsigned fruitless = 1; !completions_.complete();) {
        const auto taken = poll_all();
        if (!taken) {
            return tl::make_unexpected(taken.error());
        }
        if (*taken > 0) {
            fruitless = 1;
            last = monotonic_ns();
            continue;
        }
        if (events) {
            if (auto slept = sleep(); !slept) {
                return slept;
            }
        } else {
            spinner.idle();
        }
        if ((events || ++fruitless % kFruitlessPerClock == 0) &&
            monotonic_ns() - last > kPatienceNs) {
            return fail(ErrorKind::kTransfer, fmt::format("nothing completed for 20 s: {}",
                                                          completions_.describe_missing()));
        }
    }
    return {};
}

Result<void> RoundRun::sleep() {
    auto& queues = end_.completion_queues();
    std::array<pollfd, kMaxCompletionQueues> waiting{};
    for (std::size_t i = 0; i < queues.size(); ++i) {
        if (auto armed = queues[i].arm(); !armed) {
            return armed;
        }
        waiting[i] = {queues[i].event_fd(), POLLIN, 0};
    }
    auto taken = poll_all();
    if (!taken || *taken > 0) {
        return taken ? Result<void>{} : tl::make_unexpected(taken.error());
    }
    const int ready = poll(waiting.data(), queues.size(), kSleepMs);
    for (std::size_t i = 0; i < queues.size() && ready > 0; ++i) {
        if ((waiting[i].revents & POLLIN) != 0) {
            if (const auto event = queues[i].take_event(0); !event) {
                return tl::make_unexpected(event.error());
            }
        }
    }
    if (ready != 0) {
        return {};
    }
    taken = poll_all();
    if (taken && *taken > 0) {
        return fail(ErrorKind::kVerification,
                    "a completion arrived on an armed CQ, but no event on its channel");
    }
    return taken ? Result<void>{} : tl::make_unexpected(taken.error());
}

void RoundRun::count_totals() {
    for (const Operation& operation : plan_->operations) {
        const auto opcode = static_cast<std::size_t>(operation.opcode);
        if (operation.initiator == side_) {
            ++own_.posted[opcode].operations;
            own_.posted[opcode].bytes += operation.size;
        } else if (consumes_receive(operation.opcode)) {
            ++own_.received[opcode].operations;
            own_.received[opcode].bytes += operation.size;
        }
    }
    ++own_.rounds;
}

Result<void> RoundRun::check_idle() {
    // No completion is expected now: poll_all() fails on any.
    static const RoundPlan nothing;
    completions_.begin(nothing, round_);
    const auto taken = poll_all();
    if (!taken) {
        return tl::make_unexpected(taken.error());
    }
    return memory_.check_idle();
}

}  // namespace vrdma::verify
