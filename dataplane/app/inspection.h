// Looks into the shards for the tools: copies of what is there, taken on the workers between turns.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dataplane/platform/worker.h"

namespace vrdma::app {

// Runs `step(shard, part)` on every worker until it returns true, then `done(parts)` on the control
// thread, parts in the order of the workers. A step does a bounded amount of work.
template <class Part>
void gather(const std::vector<platform::Worker*>& workers, std::function<bool(Shard&, Part&)> step,
            std::function<void(std::vector<Part>&)> done, const Part& initial = Part{}) {
    struct Gathering {
        std::vector<Part> parts;
        size_t missing;
        std::function<bool(Shard&, Part&)> step;
        std::function<void(std::vector<Part>&)> done;
    };
    class GatherJob final : public platform::Job {
      public:
        GatherJob(std::shared_ptr<Gathering> gathering, size_t index)
            : gathering_(std::move(gathering)), index_(index) {}
        bool run(Shard& shard) override {
            return gathering_->step(shard, gathering_->parts[index_]);
        }
        void finish() override {
            if (--gathering_->missing == 0) {
                gathering_->done(gathering_->parts);
            }
        }

      private:
        std::shared_ptr<Gathering> gathering_;
        size_t index_;
    };
    auto gathering =
        std::make_shared<Gathering>(Gathering{std::vector<Part>(workers.size(), initial),
                                              workers.size(), std::move(step), std::move(done)});
    for (size_t i = 0; i < workers.size(); ++i) {
        std::unique_ptr<platform::Job> job = std::make_unique<GatherJob>(gathering, i);
        while (!workers[i]->submit(job)) {
            workers[i]->finish_jobs();
        }
    }
}

struct ShardSummary {
    uint64_t operations = 0;
    uint64_t bytes = 0;
    uint64_t contexts = 0;
    uint64_t pds = 0;
    uint64_t mrs = 0;
    uint64_t cqs = 0;
    uint64_t qps = 0;
    uint64_t srqs = 0;
    std::vector<Counters> counters;  // by vNIC
};
[[nodiscard]] bool summarize(Shard& shard, ShardSummary& summary);

struct QpSnapshot {
    Qp qp;
    uint32_t process_id = 0;
    uint32_t sq_producer = 0;
    uint32_t rq_producer = 0;
    uint32_t rq_consumer = 0;
    bool local = false;       // its peer is on this host
    bool same_shard = false;  // and served by the same worker
    // Its peer is on another host.
    bool remote = false;
    transport::PeerKind peer = transport::PeerKind::Standard;
    std::string_view peer_reason;
    transport::RequesterStatistics requester{};
    transport::ResponderStatistics responder{};
};
struct QpQuery {
    std::optional<uint32_t> vnic;
    std::optional<uint32_t> qpn;
    uint32_t limit = 0;
    uint32_t cursor = 0;
    uint64_t total = 0;
    std::vector<QpSnapshot> found;
};
[[nodiscard]] bool collect(Shard& shard, QpQuery& query);

struct MrSnapshot {
    Mr mr;
    uint32_t vnic = 0;
    uint32_t process_id = 0;
    uint64_t shared_bytes = 0;
    uint64_t adopted_bytes = 0;
    uint64_t process_bytes = 0;
};
struct MrQuery {
    std::optional<uint32_t> vnic;
    uint32_t limit = 0;
    uint32_t cursor = 0;
    uint64_t total = 0;
    std::vector<MrSnapshot> found;
};
[[nodiscard]] bool collect(Shard& shard, MrQuery& query);

// A group that queue pairs of one vNIC belong to.
struct GroupSnapshot {
    uint32_t network = 0;
    vrdma_gid_entry gid{};
    uint32_t vnic = 0;
    net::MembershipState port = net::MembershipState::None;
    std::vector<uint32_t> qpns;
};
// No limit but that of the tables.
struct GroupQuery {
    std::optional<uint32_t> vnic;
    uint32_t cursor = 0;
    std::vector<GroupSnapshot> found;
};
[[nodiscard]] bool collect(Shard& shard, GroupQuery& query);

}  // namespace vrdma::app
