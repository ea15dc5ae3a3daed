// The running dataplane: EAL, arenas, shards and their workers, ports.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/app/mad_mailbox.h"
#include "dataplane/app/ports.h"
#include "dataplane/app/steering.h"
#include "dataplane/control/configuration.h"
#include "dataplane/platform/clock.h"
#include "dataplane/platform/tenant_ports.h"
#include "dataplane/platform/worker.h"

namespace vrdma::app {

class Dataplane {
  public:
    // Starts DPDK and the workers. `done_event` is written when a job is finished.
    [[nodiscard]] static tl::expected<std::unique_ptr<Dataplane>, std::string> start(
        const control::Configuration& configuration, int done_event);
    ~Dataplane();
    Dataplane(const Dataplane&) = delete;
    Dataplane& operator=(const Dataplane&) = delete;

    void finish_jobs();
    [[nodiscard]] const std::vector<platform::Worker*>& workers() const { return worker_list_; }
    [[nodiscard]] Ports& ports() { return *ports_; }
    // What comes for queue pair 1 of a vNIC; there are ports.
    [[nodiscard]] MadMailbox& mads() { return *mads_; }
    [[nodiscard]] platform::DeferredReclaimer& reclaimer() { return reclaimer_; }
    [[nodiscard]] const std::string& eal_mode() const { return eal_mode_; }
    [[nodiscard]] const ShardLimits& shard_limits() const { return limits_; }
    [[nodiscard]] uint64_t arena_bytes() const { return arena_bytes_; }

  private:
    Dataplane() = default;
    class WakeWorkers final : public Waker {
      public:
        explicit WakeWorkers(const std::vector<platform::Worker*>& workers) : workers_(workers) {}
        void wake(uint32_t shard) override { workers_[shard]->wake(); }

      private:
        const std::vector<platform::Worker*>& workers_;
    };

    std::string eal_mode_;
    ShardLimits limits_;
    uint64_t arena_bytes_ = 0;
    std::byte* arena_memory_ = nullptr;
    platform::SystemProcessMemory process_memory_;
    platform::SystemNotifier notifier_;
    platform::WorkerClock clock_;
    platform::DeferredReclaimer reclaimer_;
    std::vector<platform::Worker*> worker_list_;
    WakeWorkers waker_{worker_list_};
    std::unique_ptr<QueuePairSteering> steering_;
    std::unique_ptr<MadMailbox> mads_;
    std::unique_ptr<Ports> ports_;
    std::unique_ptr<Fabric> fabric_;
    std::vector<std::unique_ptr<Arena>> arenas_;
    std::vector<std::unique_ptr<Shard>> shards_;
    std::vector<std::unique_ptr<platform::Worker>> workers_;
};

}  // namespace vrdma::app
