// Time is advanced from deadline to deadline, so a test that lets a second pass sees every timer
// fire at its own instant. Two shards take turns one after the other; what would be a race between
// two workers is a choice of order here.
#include "world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace vrdma::test {
namespace {

constexpr uint32_t kTurnsUntilQuiet = 200'000;
constexpr uint64_t kQpnKey = 0x0123456789abcdef;

std::byte* zeroed_memory(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    VR_CHECK(memory != MAP_FAILED);
    return static_cast<std::byte*>(memory);
}

}  // namespace

ShardLimits small_limits() {
    return ShardLimits{.qps = 256,
                       .cqs = 256,
                       .srqs = 64,
                       .pds = 64,
                       .mrs = 256,
                       .mws = 64,
                       .extra_ranges = 2048,
                       .regions = 256,
                       .channels = 64,
                       .contexts = 16};
}

World::World(const WorldOptions& options) : fabric_(options.shards, *this) {
    const size_t bytes = DeviceState::arena_bytes(options.limits);
    for (uint32_t i = 0; i < options.shards; ++i) {
        memory_.emplace_back(zeroed_memory(bytes), Unmap{bytes});
        arenas_.push_back(std::make_unique<Arena>(memory_.back().get(), bytes));
        ShardConfig config;
        config.shard = i;
        config.shard_count = options.shards;
        config.limits = options.limits;
        config.qpn_key = kQpnKey;
        config.mr_key = kQpnKey * 31 + i;
        shards_.push_back(std::make_unique<Shard>(
            *arenas_.back(), config, Shard::Ports{*this, *this, *this, fabric_, *this}));
    }
}

vrdma_gid_entry World::ipv4_gid(uint32_t address) {
    vrdma_gid_entry gid{};
    gid.gid[10] = gid.gid[11] = 0xff;
    for (uint32_t i = 0; i < 4; ++i) {
        gid.gid[12 + i] = static_cast<uint8_t>(address >> (24 - 8 * i));
    }
    return gid;
}

uint32_t World::add_vnic(uint32_t network, uint32_t address) {
    Vnic vnic{};
    vnic.present = true;
    vnic.up = true;
    vnic.network = network;
    vnic.address = address;
    vnic.guid = 0x0200'00ff'fe00'0000 | address;
    vrdma_gid_entry local{};
    local.gid[0] = 0xfe;
    local.gid[1] = 0x80;
    for (uint32_t i = 0; i < 8; ++i) {
        local.gid[8 + i] = static_cast<uint8_t>(vnic.guid >> (56 - 8 * i));
    }
    vnic.gids = {local, local, vrdma_gid_entry{}, ipv4_gid(address)};
    for (const auto& shard : shards_) {
        shard->set_vnic(vnics_, vnic);
    }
    return vnics_++;
}

void World::set_up(uint32_t index, bool up) {
    Vnic changed = vnic(index);
    changed.up = up;
    for (const auto& shard : shards_) {
        shard->set_vnic(index, changed);
    }
}

void World::remove_vnic(uint32_t index) {
    Vnic changed = vnic(index);
    changed.present = false;
    for (const auto& shard : shards_) {
        shard->set_vnic(index, changed);
    }
}

bool World::turn() {
    bool worked = false;
    for (const auto& shard : shards_) {
        worked |= shard->turn(now_);
    }
    return worked;
}

void World::settle() {
    uint32_t quiet = 0;  // a message may lie in the other shard's ring
    for (uint32_t i = 0; i < kTurnsUntilQuiet; ++i) {
        quiet = turn() ? 0 : quiet + 1;
        if (quiet == 3) {
            return;
        }
    }
    FAIL() << "the shards never come to rest";
}

Instant World::next_deadline() const {
    Instant next = Instant::never();
    for (const auto& shard : shards_) {
        next = std::min(next, shard->next_deadline());
    }
    return next;
}

void World::advance(Duration duration) {
    settle();
    const Instant end = now_ + duration;
    for (;;) {
        const Instant next = next_deadline();
        if (next > end) {
            break;
        }
        now_ = std::max(now_, next);
        settle();
    }
    now_ = end;
    settle();
}

uint64_t World::total(uint32_t vnic, Counter counter) const {
    uint64_t sum = 0;
    for (const auto& shard : shards_) {
        sum += shard->state().counters[vnic].value[static_cast<size_t>(counter)];
    }
    return sum;
}

uint64_t World::failures(uint32_t vnic, vrdma_reason reason) const {
    uint64_t sum = 0;
    for (const auto& shard : shards_) {
        sum += shard->state().counters[vnic].failures[reason];
    }
    return sum;
}

uint32_t World::objects() const {
    uint32_t sum = 0;
    for (const auto& shard : shards_) {
        const DeviceState& s = shard->state();
        sum += s.contexts.used() + s.pds.used() + s.channels.used() + s.regions.used() +
               s.cqs.used() + s.srqs.used() + s.qps.used() + s.mrs.used() + s.mws.used() +
               s.xrcds.used() + s.xrcd_openings.used() + s.target_openings.used();
    }
    return sum;
}

bool World::read(int file, uint64_t address, std::byte* to, size_t length) {
    if (dead_processes_.contains(file)) {
        return false;
    }
    std::memcpy(to, reinterpret_cast<const std::byte*>(address), length);
    return true;
}

bool World::write(int file, uint64_t address, const std::byte* from, size_t length) {
    if (dead_processes_.contains(file)) {
        return false;
    }
    std::memcpy(reinterpret_cast<std::byte*>(address), from, length);
    return true;
}

bool World::completion(int channel_file, uint64_t cookie) {
    if (full_.contains(channel_file)) {
        return false;
    }
    completions_[channel_file].push_back(cookie);
    return true;
}

bool World::asynchronous(int event_file, const vrdma_event& event) {
    if (full_.contains(event_file)) {
        return false;
    }
    events_[event_file].push_back(event);
    return true;
}

void World::unmap(std::byte* base, uint64_t) {
    unmapped_.push_back(base);
}

void World::close(int file) {
    EXPECT_EQ(std::count(closed_.begin(), closed_.end(), file), 0) << "file closed twice";
    closed_.push_back(file);
}

}  // namespace vrdma::test
