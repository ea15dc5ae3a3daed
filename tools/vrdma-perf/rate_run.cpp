#include "tools/vrdma-perf/rate_run.h"

#include <algorithm>
#include <array>
#include <vector>

#include "tools/vrdma-perf/completion_wait.h"
#include "tools/vrdma-perf/send_requests.h"

// The rate loop. Queue pairs with room for another list stand in a ring, so a turn costs the same
// however many others are full; completions are taken in batches; the clock is read once in many
// turns. A wr_id carries the QP and how many operations its completion accounts for, so a
// completion needs no look-up.
//
// When the sample ends, QPs whose last requests were unsignaled get one signaled request more,
// because only that tells when they are done. The result counts it.

namespace vrdma::perf {

namespace {

using verbs_util::Result;
using verbs_util::Tsc;

constexpr int kPollBatch = 32;
constexpr unsigned kTurnsBeforeClock = 16;
constexpr unsigned kListsPerTurn = 16;

struct QueueState {
    std::uint32_t outstanding = 0;
    std::uint32_t unsignaled = 0;
    bool ready = false;  ///< stands in the ring
};

class RateRun {
  public:
    RateRun(Initiator& initiator, const Workload& workload, const Budget& budget,
            const RateOptions& options)
        : initiator_(initiator),
          budget_(budget),
          options_(options),
          requests_(initiator.endpoint, initiator.remote, workload, options.post_list),
          completions_(initiator.endpoint.send_cq(), workload.operation, initiator.tsc),
          serve_(initiator.local != nullptr && consumes_receive(workload.operation)),
          queues_(workload.active),
          ring_(workload.active) {
        for (std::uint32_t qp = 0; qp < workload.active; ++qp) {
            push_ready(qp);
        }
    }

    Result<RunResult> run() {
        const std::uint64_t start = Tsc::now();
        unsigned turn = 0;
        Patience patience(initiator_.tsc);
        while (!stopping_ || completed_ != posted_) {
            const auto moved = one_turn();
            if (!moved) [[unlikely]] {
                return tl::make_unexpected(moved.error());
            }
            if (*moved) {
                patience.reset();
            } else if (!patience.wait_more()) [[unlikely]] {
                return tl::make_unexpected(stalled_error());
            }
            if (++turn % kTurnsBeforeClock == 0 && budget_.ticks != 0 && !stopping_ &&
                Tsc::now() - start >= budget_.ticks) {
                stop();
            }
        }
        return RunResult{completed_, Tsc::now() - start};
    }

  private:
    void push_ready(std::uint32_t qp) {
        queues_[qp].ready = true;
        const std::size_t tail = head_ + ready_count_;
        ring_[tail < ring_.size() ? tail : tail - ring_.size()] = qp;
        ++ready_count_;
    }

    std::uint32_t pop_ready() {
        const std::uint32_t qp = ring_[head_];
        head_ = head_ + 1 == ring_.size() ? 0 : head_ + 1;
        --ready_count_;
        queues_[qp].ready = false;
        return qp;
    }

    /// While stopping, a QP is ready when it has unsignaled requests and room for one more.
    [[nodiscard]] bool wants_to_post(const QueueState& queue) const {
        return stopping_ ? queue.unsignaled != 0 && queue.outstanding < options_.window
                         : queue.outstanding + options_.post_list <= options_.window;
    }

    void stop() {
        stopping_ = true;
        head_ = 0;
        ready_count_ = 0;
        for (std::uint32_t qp = 0; qp < queues_.size(); ++qp) {
            queues_[qp].ready = false;
            if (wants_to_post(queues_[qp])) {
                push_ready(qp);
            }
        }
    }

    [[nodiscard]] std::uint32_t list_length() const {
        if (stopping_) {
            return 1;
        }
        const std::uint64_t left =
            budget_.operations == 0 ? options_.post_list : budget_.operations - posted_;
        return static_cast<std::uint32_t>(std::min<std::uint64_t>(options_.post_list, left));
    }

    void prepare(std::uint32_t qp, std::uint32_t index) {
        QueueState& queue = queues_[qp];
        requests_.aim_next(index);
        ibv_send_wr& request = requests_[index];
        ++queue.unsignaled;
        if (queue.unsignaled >= options_.signal_every || stopping_) {
            request.send_flags |= IBV_SEND_SIGNALED;
            request.wr_id = std::uint64_t{qp} << 32 | queue.unsignaled;
            queue.unsignaled = 0;
        } else {
            request.send_flags &= ~static_cast<unsigned>(IBV_SEND_SIGNALED);
            request.wr_id = std::uint64_t{qp} << 32;
        }
    }

    Result<void> post_one_list() {
        const std::uint32_t qp = pop_ready();
        const std::uint32_t count = list_length();
        for (std::uint32_t i = 0; i < count; ++i) {
            prepare(qp, i);
        }
        if (auto done = requests_.post(qp, count); !done) [[unlikely]] {
            return done;
        }
        posted_ += count;
        queues_[qp].outstanding += count;
        if (!stopping_ && budget_.operations != 0 && posted_ == budget_.operations) {
            stop();
        } else if (wants_to_post(queues_[qp])) {
            push_ready(qp);
        }
        return {};
    }

    /// Posts, takes completions, serves a local far end. Whether anything happened.
    Result<bool> one_turn() {
        bool moved = false;
        for (unsigned list = 0; list < kListsPerTurn && ready_count_ != 0; ++list) {
            if (auto posted = post_one_list(); !posted) [[unlikely]] {
                return tl::make_unexpected(posted.error());
            }
            moved = true;
        }
        std::array<ibv_wc, kPollBatch> taken;
        auto count = completions_.poll(taken.data(), kPollBatch);
        if (count && *count == 0 && !moved && completions_.can_sleep()) {
            count = completions_.sleep(taken.data(), kPollBatch);
        }
        if (!count) [[unlikely]] {
            return tl::make_unexpected(count.error());
        }
        for (int i = 0; i < *count; ++i) {
            account(taken[static_cast<std::size_t>(i)].wr_id);
        }
        moved = moved || *count > 0;
        if (serve_) {
            const auto served = initiator_.local->progress();
            if (!served) [[unlikely]] {
                return tl::make_unexpected(served.error());
            }
            moved = moved || *served > 0;
        }
        return moved;
    }

    void account(std::uint64_t wr_id) {
        const auto qp = static_cast<std::uint32_t>(wr_id >> 32);
        const auto covered = static_cast<std::uint32_t>(wr_id);
        QueueState& queue = queues_[qp];
        queue.outstanding -= covered;
        completed_ += covered;
        if (!queue.ready && wants_to_post(queue)) {
            push_ready(qp);
        }
    }

    Initiator& initiator_;
    const Budget& budget_;
    const RateOptions& options_;
    SendRequests requests_;
    CompletionWait completions_;
    const bool serve_;
    std::vector<QueueState> queues_;
    std::vector<std::uint32_t> ring_;
    std::size_t head_ = 0;
    std::size_t ready_count_ = 0;
    std::uint64_t posted_ = 0;
    std::uint64_t completed_ = 0;
    bool stopping_ = false;
};

}  // namespace

Result<RunResult> measure_rate(Initiator& initiator, const Workload& workload, const Budget& budget,
                               const RateOptions& options) {
    return RateRun(initiator, workload, budget, options).run();
}

}  // namespace vrdma::perf
