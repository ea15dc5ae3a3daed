// Each step looks at a few hundred table entries and then lets the worker go on, so that listing
// sixteen thousand queue pairs is not felt by any of them.
#include "dataplane/app/inspection.h"

#include <algorithm>
#include <atomic>

namespace vrdma::app {
namespace {

constexpr uint32_t kEntriesPerStep = 256;

}  // namespace

bool summarize(Shard& shard, ShardSummary& summary) {
    DeviceState& state = shard.state();
    summary.contexts = state.contexts.used();
    summary.pds = state.pds.used();
    summary.mrs = state.mrs.used();
    summary.cqs = state.cqs.used();
    summary.qps = state.qps.used();
    summary.srqs = state.srqs.used();
    summary.counters = state.counters;
    for (const Counters& counters : summary.counters) {
        for (const Counter counter : {Counter::SendOperations, Counter::WriteOperations,
                                      Counter::ReadOperations, Counter::AtomicOperations}) {
            summary.operations += counters.value[static_cast<size_t>(counter)];
        }
        for (const Counter counter :
             {Counter::SendBytes, Counter::WriteBytes, Counter::ReadBytes}) {
            summary.bytes += counters.value[static_cast<size_t>(counter)];
        }
    }
    return true;
}

bool collect(Shard& shard, QpQuery& query) {
    DeviceState& state = shard.state();
    const uint32_t end = std::min(state.qps.fresh(), query.cursor + kEntriesPerStep);
    for (; query.cursor < end; ++query.cursor) {
        Qp& qp = state.qps[query.cursor];
        if (qp.qpn == 0 || (query.vnic && qp.vnic != *query.vnic) ||
            (query.qpn && qp.qpn != *query.qpn)) {
            continue;
        }
        ++query.total;
        if (query.found.size() >= query.limit) {
            continue;
        }
        QpSnapshot& snapshot = query.found.emplace_back();
        snapshot.qp = qp;
        snapshot.process_id = state.contexts[qp.context].process_id;
        vrdma_qp_header& header = *state.qp_runtime[query.cursor].header;
        snapshot.sq_producer = std::atomic_ref(header.sq_producer).load(std::memory_order_relaxed);
        snapshot.rq_producer = std::atomic_ref(header.rq_producer).load(std::memory_order_relaxed);
        snapshot.rq_consumer = qp.rq_consumer;
        if (qp.type != VRDMA_QPT_UD && qp.state >= VRDMA_QPS_RTR && qp.state != VRDMA_QPS_ERR) {
            snapshot.remote = qp.remote != kNone;
            if (snapshot.remote) {
                const Remote& remote = state.remotes[qp.remote];
                snapshot.peer = shard.wire().peer_kind(remote);
                snapshot.peer_reason = shard.wire().peer_reason(remote);
                snapshot.requester = remote.requester.statistics();
                snapshot.responder = remote.responder.statistics();
                continue;
            }
            snapshot.local = state.peer_vnic(qp) != kNone;
            snapshot.same_shard = state.home_of(qp.attributes.dest_qpn).shard == state.config.shard;
        }
    }
    return query.cursor >= state.qps.fresh();
}

bool collect(Shard& shard, GroupQuery& query) {
    DeviceState& state = shard.state();
    uint32_t looked = 0;  // at most a group of the largest kind more
    for (; query.cursor < state.groups.places() && looked < kEntriesPerStep; ++query.cursor) {
        ++looked;
        const MulticastGroup& group = state.groups.at(query.cursor);
        if (!group.present) {
            continue;
        }
        const size_t first = query.found.size();
        for (uint32_t i = 0; i < group.count; ++i) {
            const uint32_t vnic = group.vnics[i];
            if (query.vnic && vnic != *query.vnic) {
                continue;
            }
            const auto own =
                std::find_if(query.found.begin() + static_cast<ptrdiff_t>(first), query.found.end(),
                             [&](const GroupSnapshot& known) { return known.vnic == vnic; });
            GroupSnapshot& snapshot = own == query.found.end() ? query.found.emplace_back() : *own;
            if (snapshot.qpns.empty()) {
                snapshot.network = group.network;
                snapshot.gid = group.gid;
                snapshot.vnic = vnic;
                snapshot.port = shard.wire().membership(group.qps[i], group.gid);
            }
            snapshot.qpns.push_back(state.qps[group.qps[i]].qpn);
        }
        looked += group.count;
    }
    return query.cursor >= state.groups.places();
}

bool collect(Shard& shard, MrQuery& query) {
    DeviceState& state = shard.state();
    const uint32_t end = std::min(state.mrs.fresh(), query.cursor + kEntriesPerStep);
    for (; query.cursor < end; ++query.cursor) {
        const Mr& mr = state.mrs[query.cursor];
        if (mr.key == 0) {
            continue;
        }
        const Context& context = state.contexts[mr.context];
        if (query.vnic && context.vnic != *query.vnic) {
            continue;
        }
        ++query.total;
        if (query.found.size() >= query.limit) {
            continue;
        }
        MrSnapshot& snapshot = query.found.emplace_back();
        snapshot.mr = mr;
        snapshot.vnic = context.vnic;
        snapshot.process_id = context.process_id;
        state.mrs.for_each_range(mr, [&](const MrRange& range) {
            const Region& region = state.regions[range.region];
            uint64_t& bytes = region.kind == VRDMA_REGION_PROCESS          ? snapshot.process_bytes
                              : (region.flags & VRDMA_REGION_ADOPTED) != 0 ? snapshot.adopted_bytes
                                                                           : snapshot.shared_bytes;
            bytes += range.length;
        });
    }
    return query.cursor >= state.mrs.fresh();
}

}  // namespace vrdma::app
