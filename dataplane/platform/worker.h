// A dataplane worker: the thread that drives one shard, and how others reach it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "dataplane/base/spsc_ring.h"
#include "dataplane/device/shard.h"
#include "dataplane/net/link.h"

namespace vrdma::platform {

// Something the control thread wants done on a worker's shard. Made by the control thread, run by
// the worker until it says done, then finished by the control thread, which owns it.
class Job {
  public:
    virtual ~Job() = default;
    // Worker. False: once more in the next turn.
    virtual bool run(Shard& shard) = 0;
    // Control thread, afterwards.
    virtual void finish() = 0;
};

struct WorkerOptions {
    uint32_t index = 0;
    bool dedicated = false;  // never sleep
    Duration idle_spin = Duration::microseconds(50);
};

// What tools see; written by the worker.
struct WorkerStatistics {
    std::atomic<uint64_t> turns{0};
    std::atomic<uint64_t> sleeps{0};
    std::atomic<uint64_t> kicks{0};
    std::atomic<bool> asleep{false};
};

class Worker {
  public:
    // `done_event` (an eventfd) is written when a job waits in finished().
    Worker(Shard& shard, const WorkerOptions& options, int done_event);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Before run(): a port this worker serves, and who gets its RoCEv2 packets.
    void add_link(net::Link& link, net::PacketReceiver& receiver);

    // The worker's thread; returns after stop().
    void run();
    void stop();
    // Any thread.
    void wake();

    // Control thread. False: the ring is full; try again after finish_jobs().
    [[nodiscard]] bool submit(std::unique_ptr<Job>& job);
    void finish_jobs();
    // Watches a context's kick eventfd; before the context's first doorbell, and until forget().
    [[nodiscard]] bool watch(uint32_t context, int kick_file);
    void forget(int kick_file);

    [[nodiscard]] const WorkerStatistics& statistics() const { return statistics_; }
    [[nodiscard]] Shard& shard() { return shard_; }

  private:
    // One command and one teardown for each context, and the jobs of the tools: never full.
    static constexpr uint32_t kJobs = 16384;
    static_assert(kJobs > 2 * kMaxContextsPerShard + 1024);

    struct Served {
        net::Link* link;
        net::PacketReceiver* receiver;
    };

    bool turn(Instant time);
    bool run_jobs();
    [[nodiscard]] Instant arm_links();
    void disarm_links();
    [[nodiscard]] Instant next_deadline() const;
    bool collect_kicks(Duration timeout);
    void idle(Instant now);
    [[nodiscard]] bool was_switched_out();
    void sleep();

    Shard& shard_;
    const WorkerOptions options_;
    const int done_event_;
    int epoll_ = -1;
    int wake_event_ = -1;
    std::atomic<bool> stop_{false};
    std::atomic<bool> sleeping_{false};
    SpscRing<Job*> submitted_{kJobs};
    SpscRing<Job*> finished_{kJobs};
    std::vector<Served> links_;
    std::vector<Job*> running_;  // said "once more"
    Instant idle_since_;
    Instant last_collection_;
    uint32_t idle_turns_ = 0;
    int64_t switches_seen_ = 0;
    Instant shared_until_;  // the core has other users: do not spin
    WorkerStatistics statistics_;
};

}  // namespace vrdma::platform
