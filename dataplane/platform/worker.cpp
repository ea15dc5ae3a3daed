// Spin, then sleep. After a turn without work the worker spins for idle_spin, which is about what
// waking it costs, so it never loses more than a factor of two against the best decision. Before it
// sleeps it asks every context to kick and every port to wake it, looks once more, and only then
// waits in epoll for kicks, frames, wake-ups and the next timer. There is no sleeping by time to
// poll: that costs both latency and processor.
//
// A worker may share its core with the program that waits for it (two-core machines do). It finds
// out by yielding now and then: a yield that takes long means somebody else ran. Then spinning only
// steals time from the tenant, so the worker sleeps as soon as it has nothing to do and is woken by
// the tenant's kick; its short time slice lets it preempt whoever runs. After a while it tries
// spinning again.
#include "dataplane/platform/worker.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "dataplane/platform/clock.h"

namespace vrdma::platform {
namespace {

constexpr uint64_t kWakeTag = UINT64_MAX;
constexpr uint64_t kPortTag = UINT64_MAX - 1;
constexpr uint32_t kYieldEvery = 64;  // idle turns
constexpr Duration kYieldWasUsed = Duration::microseconds(20);
constexpr Duration kSharedFor = Duration::milliseconds(50);
constexpr uint64_t kSliceNs = 100'000;  // the shortest that the scheduler grants
constexpr Duration kCollectWhileIdle = Duration::microseconds(5);
constexpr Duration kCollectWhileBusy = Duration::microseconds(20);
constexpr int kKicksAtOnce = 64;

// struct sched_attr of sched_setattr(2), which glibc does not declare.
struct SchedulerAttributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

// A task with a short slice preempts one with a longer slice when it wakes (Linux 6.12 and later;
// before that the call changes nothing).
void ask_for_short_slice() {
    SchedulerAttributes attributes{};
    attributes.size = sizeof attributes;
    attributes.runtime = kSliceNs;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

Worker::Worker(Shard& shard, const WorkerOptions& options, int done_event)
    : shard_(shard),
      options_(options),
      done_event_(done_event),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    VR_CHECK(epoll_ >= 0 && wake_event_ >= 0);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kWakeTag;
    VR_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_event_, &event) == 0);
}

Worker::~Worker() {
    // The thread has ended. Nobody waits for what is left: the jobs of the service's own end.
    Job* left = nullptr;
    while (submitted_.pop(left) || finished_.pop(left)) {
        delete left;
    }
    for (Job* const unfinished : running_) {
        delete unfinished;
    }
    close(epoll_);
    close(wake_event_);
}

void Worker::wake() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_relaxed) && sleeping_.exchange(false)) {
        const uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(wake_event_, &one, sizeof one);
    }
}

void Worker::stop() {
    stop_.store(true, std::memory_order_release);
    wake();
}

bool Worker::submit(std::unique_ptr<Job>& job) {
    if (!submitted_.push(job.get())) {
        return false;
    }
    (void)job.release();  // comes back through finished_
    wake();
    return true;
}

void Worker::finish_jobs() {
    Job* job = nullptr;
    while (finished_.pop(job)) {
        const std::unique_ptr<Job> owned(job);
        owned->finish();
    }
}

bool Worker::watch(uint32_t context, int kick_file) {
    // Edge-triggered and never read: a read could block, since the tenant shares the file's flags.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = context;
    return epoll_ctl(epoll_, EPOLL_CTL_ADD, kick_file, &event) == 0;
}

void Worker::forget(int kick_file) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, kick_file, nullptr);
}

bool Worker::run_jobs() {
    if (submitted_.empty() && running_.empty()) [[likely]] {
        return false;
    }
    Job* job = nullptr;
    while (submitted_.pop(job)) {
        running_.push_back(job);
    }
    bool any_finished = false;
    std::erase_if(running_, [&](Job* candidate) {
        if (!candidate->run(shard_)) {
            return false;
        }
        VR_CHECK(finished_.push(candidate));
        any_finished = true;
        return true;
    });
    if (any_finished) {
        const uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(done_event_, &one, sizeof one);
    }
    return true;
}

bool Worker::collect_kicks(Duration timeout) {
    std::array<epoll_event, kKicksAtOnce> events;
    const timespec time{timeout.ns / 1'000'000'000, timeout.ns % 1'000'000'000};
    const timespec* limit = timeout == Duration{INT64_MAX} ? nullptr : &time;
    const int count = epoll_pwait2(epoll_, events.data(), kKicksAtOnce, limit, nullptr);
    for (int i = 0; i < count; ++i) {
        const uint64_t tag = events[static_cast<size_t>(i)].data.u64;
        if (tag == kPortTag) {
            continue;  // the next turn receives
        }
        if (tag == kWakeTag) {
            uint64_t value = 0;
            [[maybe_unused]] const ssize_t taken = read(wake_event_, &value, sizeof value);
            continue;
        }
        shard_.kicked(static_cast<uint32_t>(tag));
        statistics_.kicks.fetch_add(1, std::memory_order_relaxed);
    }
    return count > 0;
}

void Worker::add_link(net::Link& link, net::PacketReceiver& receiver) {
    links_.push_back({&link, &receiver});
}

bool Worker::turn(Instant time) {
    bool worked = false;
    for (const Served& served : links_) {
        worked |= served.link->turn(time, *served.receiver);
    }
    return shard_.turn(time) || worked;
}

Instant Worker::next_deadline() const {
    Instant deadline = shard_.next_deadline();
    for (const Served& served : links_) {
        deadline = std::min(deadline, served.link->next_deadline());
    }
    return deadline;
}

// Returns when ports that can wake nobody have to be looked at. A port's file is put into epoll for
// one event each time: it may be another file under the same number since the last time.
Instant Worker::arm_links() {
    Instant look = Instant::never();
    for (const Served& served : links_) {
        PacketPort& port = served.link->port();
        port.arm();
        const int file = port.wake_file();
        if (file >= 0) {
            epoll_event event{};
            event.events = EPOLLIN | EPOLLONESHOT;
            event.data.u64 = kPortTag;
            if (epoll_ctl(epoll_, EPOLL_CTL_MOD, file, &event) != 0) {
                epoll_ctl(epoll_, EPOLL_CTL_ADD, file, &event);
            }
        }
        if (const Duration interval = port.poll_interval(); interval != Duration{INT64_MAX}) {
            look = std::min(look, now() + interval);
        }
    }
    return look;
}

void Worker::disarm_links() {
    for (const Served& served : links_) {
        served.link->port().disarm();
    }
}

void Worker::sleep() {
    sleeping_.store(true, std::memory_order_seq_cst);
    shard_.arm_kicks();
    const Instant look = arm_links();
    bool work = turn(now()) || run_jobs() || stop_.load(std::memory_order_acquire);
    if (!work) {
        const Instant deadline = std::min(next_deadline(), look);
        const Duration wait = deadline == Instant::never()
                                  ? Duration{INT64_MAX}
                                  : Duration{std::max<int64_t>((deadline - now()).ns, 0)};
        statistics_.sleeps.fetch_add(1, std::memory_order_relaxed);
        statistics_.asleep.store(true, std::memory_order_relaxed);
        collect_kicks(wait);
        statistics_.asleep.store(false, std::memory_order_relaxed);
    }
    sleeping_.store(false, std::memory_order_seq_cst);
    shard_.disarm_kicks();
    disarm_links();
    idle_since_ = now();
}

bool Worker::was_switched_out() {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return std::exchange(switches_seen_, usage.ru_nivcsw) != usage.ru_nivcsw;
}

void Worker::idle(Instant time) {
    ++idle_turns_;
    if (shard_.has_cold_contexts() && time - last_collection_ >= kCollectWhileIdle) {
        last_collection_ = time;
        if (collect_kicks(Duration{})) {
            return;
        }
    }
    if (!options_.dedicated && (time < shared_until_ || time - idle_since_ >= options_.idle_spin)) {
        sleep();
        return;
    }
    if (idle_turns_ % kYieldEvery == 0) {
        sched_yield();
        const Instant after = now();
        if (after - time > kYieldWasUsed && was_switched_out()) {
            shared_until_ = after + kSharedFor;
        }
        return;
    }
    _mm_pause();
}

void Worker::run() {
    ask_for_short_slice();
    idle_since_ = now();
    while (!stop_.load(std::memory_order_relaxed)) {
        const Instant time = now();
        bool worked = turn(time);
        worked |= run_jobs();
        statistics_.turns.store(statistics_.turns.load(std::memory_order_relaxed) + 1,
                                std::memory_order_relaxed);
        if (!worked) {
            idle(time);
            continue;
        }
        idle_since_ = time;
        idle_turns_ = 0;
        if (shard_.has_cold_contexts() && time - last_collection_ >= kCollectWhileBusy) {
            last_collection_ = time;
            collect_kicks(Duration{});
        }
    }
}

}  // namespace vrdma::platform
