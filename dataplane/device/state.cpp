// A QPN is an encrypted (generation, slot): it finds its entry in any shard without a directory,
// tells a peer nothing about other QPNs, and a queue pair that takes a used slot gets another
// number. Slots are spread over the shards by remainder.
#include "dataplane/device/state.h"

#include <algorithm>
#include <cstring>

namespace vrdma {
namespace {

constexpr uint32_t kSlicesInFlight = 1024;
constexpr uint32_t kSlotMask = (1U << kQpnSlotBits) - 1;
constexpr uint32_t kMulticastQpn = 0xffffff;
constexpr uint64_t kGroupSecret = 0x6d63617374;  // where in the table a group stands
constexpr uint64_t kMwSecret = 0x77696e646f77;   // windows' keys are another stream than regions'
constexpr uint64_t kSrqSecret = 0x737271;        // and numbers of SRQs another than QPNs

}  // namespace

DeviceState::DeviceState(Arena& arena, const ShardConfig& shard_config,
                         ProcessMemory& process_memory, Notifier& event_notifier, Clock& turn_clock)
    : config(shard_config),
      notifier(event_notifier),
      clock(turn_clock),
      vnics(arena.array<Vnic>(kMaxVnics)),
      contexts(arena, config.limits.contexts),
      pds(arena, config.limits.pds),
      channels(arena, config.limits.channels),
      regions(arena, config.limits.regions),
      cqs(arena, config.limits.cqs),
      srqs(arena, config.limits.srqs),
      qps(arena, config.limits.qps),
      remotes(arena, config.limits.remotes),
      xrcds(arena, config.limits.xrcds),
      xrcd_openings(arena, config.limits.xrcds),
      target_openings(arena, config.limits.qps),
      doorbell_slots(
          arena.array<uint32_t>(size_t{config.limits.contexts} * VRDMA_MAX_QPS_PER_CONTEXT)),
      context_runtime(config.limits.contexts),
      channel_runtime(config.limits.channels),
      region_runtime(config.limits.regions),
      cq_runtime(config.limits.cqs),
      srq_runtime(config.limits.srqs),
      qp_runtime(config.limits.qps),
      mrs(arena, config.limits.mrs, config.limits.extra_ranges, config.mr_key, region_runtime),
      mws(arena, config.limits.mws, config.mr_key ^ kMwSecret),
      groups(arena, config.mr_key ^ kGroupSecret),
      transfer(process_memory),
      qpn_permutation(config.qpn_key),
      srqn_permutation(config.qpn_key ^ kSrqSecret),
      counters(kMaxVnics),
      deadlines(config.limits.qps),
      run_queue(config.limits.qps),
      known_homes(kKnownHomes) {
    VR_CHECK(config.limits.qps * config.shard_count <= kMaxQpsPerHost);
    VR_CHECK(config.limits.srqs <= 1U << kQpnSlotBits);
    for (KnownHome& known : known_homes) {
        known.home = compute_home(known.qpn);
    }
    dirty_cqs.reserve(config.limits.cqs);
    delayed_cqs.reserve(config.limits.cqs);
    overflowed_cqs.reserve(config.limits.cqs);
    if (config.shard_count > 1) {
        slices.resize(kSlicesInFlight);
        for (uint32_t i = 0; i < kSlicesInFlight; ++i) {
            free_slices.push_back(i);
        }
    }
}

size_t DeviceState::arena_bytes(const ShardLimits& limits) {
    return Arena::bytes_for<Vnic>(kMaxVnics) + Pool<Context>::bytes_for(limits.contexts) +
           Pool<Pd>::bytes_for(limits.pds) + Pool<Channel>::bytes_for(limits.channels) +
           Pool<Region>::bytes_for(limits.regions) + Pool<Cq>::bytes_for(limits.cqs) +
           Pool<Srq>::bytes_for(limits.srqs) + Pool<Qp>::bytes_for(limits.qps) +
           Pool<Remote>::bytes_for(limits.remotes) + Pool<Xrcd>::bytes_for(limits.xrcds) +
           Pool<XrcdOpening>::bytes_for(limits.xrcds) + Pool<TargetOpening>::bytes_for(limits.qps) +
           Arena::bytes_for<uint32_t>(size_t{limits.contexts} * VRDMA_MAX_QPS_PER_CONTEXT) +
           MrTable::bytes_for(limits.mrs, limits.extra_ranges) + MwTable::bytes_for(limits.mws) +
           MulticastGroups::arena_bytes();
}

uint32_t DeviceState::make_qpn(uint32_t slot, uint32_t& generation) const {
    const uint32_t global = slot * config.shard_count + config.shard;
    for (;;) {
        ++generation;
        const uint32_t low = (generation << kQpnSlotBits | global) & 0xffffff;
        const uint32_t qpn = qpn_permutation.encrypt(low);
        if (qpn > 1 && qpn != kMulticastQpn) {
            return qpn;
        }
    }
}

DeviceState::Home DeviceState::compute_home(uint32_t qpn) const {
    const uint32_t global = qpn_permutation.decrypt(qpn & 0xffffff) & kSlotMask;
    return Home{global % config.shard_count, global / config.shard_count};
}

std::optional<uint32_t> DeviceState::find_peer_of(uint32_t qpn, uint32_t vnic,
                                                  uint32_t remote_qpn) {
    const std::optional<uint32_t> slot = find_qp(qpn);
    if (!slot) {
        return std::nullopt;
    }
    Qp& qp = qps[*slot];
    const bool connected = is_reliable(qp.type) && qp.state >= VRDMA_QPS_RTR &&
                           qp.attributes.dest_qpn == remote_qpn && peer_vnic(qp) == vnic;
    return connected ? slot : std::nullopt;
}

uint32_t DeviceState::find_vnic(uint32_t network, const vrdma_gid_entry& gid) {
    const auto same = [&gid](const vrdma_gid_entry& other) {
        return std::memcmp(&other, &gid, sizeof gid) == 0;
    };
    KnownAddress& known =
        known_addresses[(gid.gid[15] ^ gid.gid[14] * 31U) % known_addresses.size()];
    if (known.epoch == vnic_epoch && known.network == network && same(known.gid)) {
        return known.vnic;
    }
    uint32_t found = kNone;
    static constexpr vrdma_gid_entry kEmpty{};
    for (uint32_t i = 0; i < kMaxVnics && found == kNone && !same(kEmpty); ++i) {
        const Vnic& vnic = vnics[i];
        if (vnic.present && vnic.network == network &&
            std::any_of(vnic.gids.begin(), vnic.gids.end(), same)) {
            found = i;
        }
    }
    known = KnownAddress{vnic_epoch, network, found, gid};
    return found;
}

void DeviceState::look_up_peer(Qp& qp) {
    vrdma_gid_entry gid;
    std::memcpy(gid.gid, qp.attributes.address.gid, sizeof gid.gid);
    qp.peer_vnic = find_vnic(vnics[qp.vnic].network, gid);
    qp.vnic_epoch = vnic_epoch;
}

void DeviceState::raise(uint32_t context, vrdma_event_type type, uint64_t cookie) {
    const vrdma_event event{static_cast<uint32_t>(type), 0, cookie};
    Counters& count = counters[contexts[context].vnic];
    if (notifier.asynchronous(context_runtime[context].event_file, event)) {
        count.add(Counter::AsyncEvents);
    } else {
        count.add(Counter::AsyncEventsLost);
    }
}

}  // namespace vrdma
