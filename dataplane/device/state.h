// Everything one shard knows: the tables in the arena, the pointers beside them, and its ports.
//
// A shard is one worker's share of the virtual device: every context belongs to one shard with all
// its objects, so nothing here is ever touched by two threads. The classes that act on it
// (requester, responder, completion queues, commands) hold a reference and no state of their own.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/base/deadline_queue.h"
#include "dataplane/base/permutation.h"
#include "dataplane/base/pool.h"
#include "dataplane/device/counters.h"
#include "dataplane/device/multicast_groups.h"
#include "dataplane/device/objects.h"
#include "dataplane/device/remote.h"
#include "dataplane/device/slice.h"
#include "dataplane/memory/mr_table.h"
#include "dataplane/memory/mw_table.h"
#include "dataplane/memory/transfer.h"
#include "dataplane/port/clock.h"
#include "dataplane/port/notifier.h"

namespace vrdma {

struct ShardConfig {
    uint32_t shard = 0;
    uint32_t shard_count = 1;
    ShardLimits limits;
    uint64_t qpn_key = 0;  // the same in every shard
    uint64_t mr_key = 0;
};

// Memory that a peer may reach.
struct RemoteTarget {
    const Mr* mr;
    uint64_t address;  // of its first byte, in the addresses of the MR
};

struct DeviceState {
    DeviceState(Arena& arena, const ShardConfig& config, ProcessMemory& process_memory,
                Notifier& notifier, Clock& clock);
    [[nodiscard]] static size_t arena_bytes(const ShardLimits& limits);

    const ShardConfig config;
    Notifier& notifier;
    Clock& clock;

    // Arena state.
    Vnic* vnics;
    Pool<Context> contexts;
    Pool<Pd> pds;
    Pool<Channel> channels;
    Pool<Region> regions;
    Pool<Cq> cqs;
    Pool<Srq> srqs;
    Pool<Qp> qps;
    Pool<Remote> remotes;
    Pool<Xrcd> xrcds;
    Pool<XrcdOpening> xrcd_openings;
    Pool<TargetOpening> target_openings;
    uint32_t* doorbell_slots;  // [context][bit] = slot of the queue pair + 1

    // Beside it.
    std::vector<ContextRuntime> context_runtime;
    std::vector<ChannelRuntime> channel_runtime;
    std::vector<RegionMapping> region_runtime;
    std::vector<CqRuntime> cq_runtime;
    std::vector<SrqRuntime> srq_runtime;
    std::vector<QpRuntime> qp_runtime;
    MrTable mrs;
    MwTable mws;
    MulticastGroups groups;
    Transfer transfer;
    Permutation24 qpn_permutation;
    Permutation24 srqn_permutation;
    uint64_t srq_identities = 0;     // given to XRC SRQs so far
    vrdma_qp_header no_queues{};     // the header of XRC targets
    std::vector<Counters> counters;  // by vNIC
    DeadlineQueue deadlines;         // by queue pair
    Instant now;

    // Queue pairs with work, in turn. A slot is on it at most once (Qp::queued).
    std::vector<uint32_t> run_queue;
    uint32_t run_head = 0;
    uint32_t run_tail = 0;

    // CQs written in this turn; CQs whose event could not be sent yet; queue pairs to fail at the
    // end of the turn because their CQ overflowed.
    std::vector<uint32_t> dirty_cqs;
    std::vector<uint32_t> delayed_cqs;
    std::vector<uint32_t> overflowed_cqs;

    // The last destinations of datagrams.
    struct KnownAddress {
        uint32_t epoch;
        uint32_t network;
        uint32_t vnic;
        vrdma_gid_entry gid;
    };
    std::array<KnownAddress, 256> known_addresses{};

    // Slices on their way to another shard, and the messages to push.
    std::vector<Slice> slices;
    std::vector<uint32_t> free_slices;
    std::vector<std::pair<uint32_t, Message>> outbox;  // destination shard, message

    [[nodiscard]] Counters& counters_of(const Qp& qp) { return counters[qp.vnic]; }
    [[nodiscard]] uint32_t* doorbell_slots_of(uint32_t context) {
        return doorbell_slots + size_t{context} * VRDMA_MAX_QPS_PER_CONTEXT;
    }

    void run(uint32_t slot) {
        Qp& qp = qps[slot];
        if (!qp.queued) {
            qp.queued = true;
            run_queue[run_tail++ & (static_cast<uint32_t>(run_queue.size()) - 1)] = slot;
        }
    }

    // QPN of a fresh entry, and the way back. Never 0, 1 or 0xffffff (IBA 3.5.3: special queue
    // pairs).
    [[nodiscard]] uint32_t make_qpn(uint32_t slot, uint32_t& generation) const;
    struct Home {
        uint32_t shard;
        uint32_t slot;
    };
    [[nodiscard]] Home home_of(uint32_t qpn) {
        KnownHome& known = known_homes[qpn % kKnownHomes];
        if (known.qpn != qpn) [[unlikely]] {
            known = KnownHome{qpn, compute_home(qpn)};
        }
        return known.home;
    }
    [[nodiscard]] Home compute_home(uint32_t qpn) const;
    // Where QPNs live never changes, so what was computed once is kept until another QPN takes its
    // place.
    struct KnownHome {
        uint32_t qpn;
        Home home;
    };
    static constexpr size_t kKnownHomes = 4096;  // a power of two: looked up for every request
    std::vector<KnownHome> known_homes;

    // The live queue pair of this shard with this number.
    [[nodiscard]] std::optional<uint32_t> find_qp(uint32_t qpn) {
        const Home home = home_of(qpn);
        if (home.shard != config.shard || home.slot >= qps.capacity() ||
            qps[home.slot].qpn != qpn || qpn == 0) [[unlikely]] {
            return std::nullopt;
        }
        return home.slot;
    }
    // The live queue pair of this shard that is connected to (vnic, remote_qpn); reliable ones
    // only.
    [[nodiscard]] std::optional<uint32_t> find_peer_of(uint32_t qpn, uint32_t vnic,
                                                       uint32_t remote_qpn);
    // The vNIC of a network that owns a GID, kNone when none does.
    [[nodiscard]] uint32_t find_vnic(uint32_t network, const vrdma_gid_entry& gid);

    // The vNIC a connected queue pair talks to; kNone when nobody in its network has the address.
    [[nodiscard]] uint32_t peer_vnic(Qp& qp) {
        if (qp.vnic_epoch != vnic_epoch) [[unlikely]] {
            look_up_peer(qp);
        }
        return qp.peer_vnic;
    }
    void look_up_peer(Qp& qp);
    // Every change of the vNIC table.
    uint32_t vnic_epoch = 1;

    // What the peer of a queue pair names by an rkey, of a region or of a window. Inlined as
    // MrTable::check is.
    [[nodiscard, gnu::always_inline]] tl::expected<RemoteTarget, vrdma_reason> check_remote(
        const Qp& qp, const Access& access) {
        if ((access.key & kMwKeyBit) != 0) [[unlikely]] {
            return check_window(qp, access);
        }
        const auto mr = mrs.check(access, true);
        if (!mr) [[unlikely]] {
            return tl::unexpected(mr.error());
        }
        return RemoteTarget{*mr, access.address};
    }
    [[nodiscard]] tl::expected<RemoteTarget, vrdma_reason> check_window(const Qp& qp,
                                                                        const Access& access);

    // Sends an asynchronous event to a context.
    void raise(uint32_t context, vrdma_event_type type, uint64_t cookie);
    // About a queue pair: to its context, or to all that have a handle of it.
    void raise(const Qp& qp, vrdma_event_type type);

    // XRC. The number of the SRQ that stands in a slot, and the way back: the SRQ of the target's
    // XRC domain that has this number.
    [[nodiscard]] uint32_t make_srqn(uint32_t slot, uint32_t& generation) const;
    [[nodiscard]] const Srq* find_xrc_srq(const Qp& target, uint32_t srqn) const;
    // The protection domain that counts for a request: the queue pair's, or for a target that of
    // the SRQ which the request names; nullopt: its XRC domain has none of this number.
    [[nodiscard]] std::optional<uint32_t> domain_of(const Qp& qp, uint32_t srqn) const;
    // What the request for a target names is still there.
    [[nodiscard]] bool srq_is_bound(const Qp& target) const {
        return target.srq != kNone && srqs[target.srq].identity == target.srq_identity;
    }
    // From here on the target works with this SRQ, its completion queue and its domain. False: no
    // SRQ of its XRC domain has this number, or another one has its message in progress.
    [[nodiscard]] bool bind_srq(Qp& target, uint32_t srqn, bool first);
};

}  // namespace vrdma
