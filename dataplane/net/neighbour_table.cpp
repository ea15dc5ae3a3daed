// The life of a neighbour: unknown, asked (packets wait), reachable, stale, asked again (packets
// still go to the old address), and at last unreachable (packets are dropped, and after a while the
// next one starts over). That is the machine of RFC 4861 7.3.2 with DELAY and PROBE in one state,
// because asking costs one small packet; ARP uses the same one.
//
// What a stranger can do is bounded: an entry is made only for a destination of ours or for a
// station that spoke to one of our addresses; when the table is full, an entry nobody uses gives
// way, and entries in use never do. Unasked-for messages change what is known, as they must when an
// address moves to another host, but make nothing new.
//
// Timers: each entry has one deadline; next_deadline_ is the earliest and may be too early, never
// too late. With 1024 entries a scan on that rare event is cheaper than a heap that every packet
// would touch.
#include "dataplane/net/neighbour_table.h"

#include <algorithm>

#include "dataplane/base/check.h"

namespace vrdma::net {
namespace {

uint32_t hash(const wire::Address& address) {
    uint32_t value = 2166136261U;  // FNV-1a
    for (const uint8_t byte : address.bytes) {
        value = (value ^ byte) * 16777619U;
    }
    return value ^ (value >> 16);
}

}  // namespace

NeighbourTable::NeighbourTable() : entries_(kMaxNeighbours), waiting_(kMaxWaiting) {
    buckets_.fill(kNil);
    for (uint32_t i = 0; i < kMaxWaiting; ++i) {
        waiting_[i].next = i + 1 < kMaxWaiting ? i + 1 : kNil;
    }
}

uint32_t NeighbourTable::find(const wire::Address& address) const {
    uint32_t index = buckets_[hash(address) % kBuckets];
    while (index != kNil && entries_[index].address != address) {
        index = entries_[index].next;
    }
    return index;
}

uint32_t NeighbourTable::victim() const {
    uint32_t best = kNil;
    for (uint32_t i = 0; i < kMaxNeighbours; ++i) {
        const Entry& entry = entries_[i];
        if (!entry.present) {
            return i;
        }
        if (entry.users == 0 && entry.waiting == 0 &&
            (best == kNil || entry.confirmed < entries_[best].confirmed)) {
            best = i;
        }
    }
    return best;
}

void NeighbourTable::remove(uint32_t index) {
    Entry& entry = entries_[index];
    uint32_t* link = &buckets_[hash(entry.address) % kBuckets];
    while (*link != index) {
        link = &entries_[*link].next;
    }
    *link = entry.next;
    asking_ -= entry.ask ? 1 : 0;
    entry = Entry{};
}

uint32_t NeighbourTable::add(const wire::Address& address, const wire::Address& source) {
    const uint32_t index = used_ < kMaxNeighbours ? used_++ : victim();
    if (index == kNil) {
        ++counters_.table_full;
        return kNil;
    }
    if (entries_[index].present) {
        remove(index);
    }
    Entry& entry = entries_[index];
    entry.present = true;
    entry.address = address;
    entry.source = source;
    uint32_t& bucket = buckets_[hash(address) % kBuckets];
    entry.next = bucket;
    bucket = index;
    return index;
}

std::optional<HopId> NeighbourTable::acquire(const wire::Address& address,
                                             const wire::Address& source) {
    uint32_t index = find(address);
    if (index == kNil) {
        index = add(address, source);
        if (index == kNil) {
            return std::nullopt;
        }
    }
    Entry& entry = entries_[index];
    if (entry.users++ == 0) {
        entry.source = source;
    }
    return index;
}

void NeighbourTable::release(HopId hop) {
    VR_CHECK(entries_[hop].present && entries_[hop].users > 0);
    --entries_[hop].users;
}

void NeighbourTable::set_deadline(Entry& entry, Instant deadline) {
    entry.deadline = deadline;
    next_deadline_ = std::min(next_deadline_, deadline);
}

void NeighbourTable::ask(Entry& entry, Instant now) {
    if (!entry.ask) {
        entry.ask = true;
        ++asking_;
    }
    set_deadline(entry, now + kSolicitInterval);
}

NeighbourTable::Fate NeighbourTable::use(HopId hop, Instant now, wire::Mac& mac) {
    Entry& entry = entries_[hop];
    switch (entry.state) {
        case NeighbourState::Reachable:
        case NeighbourState::Checking:
            mac = entry.mac;
            return Fate::Send;
        case NeighbourState::Stale:
            mac = entry.mac;
            entry.state = NeighbourState::Checking;
            entry.asked = 0;
            ask(entry, now);
            return Fate::Send;
        case NeighbourState::Unknown:
            entry.state = NeighbourState::Resolving;
            entry.asked = 0;
            ask(entry, now);
            return Fate::Wait;
        case NeighbourState::Resolving:
            return Fate::Wait;
        case NeighbourState::Unreachable:
            ++counters_.dropped_unreachable;
            return Fate::Drop;
    }
    return Fate::Drop;
}

bool NeighbourTable::wait(HopId hop, const PacketBuffer& packet) {
    Entry& entry = entries_[hop];
    if (free_waiting_ == kNil || entry.waiting == kMaxWaitingPerNeighbour) {
        ++counters_.dropped_waiting;
        return false;
    }
    const uint32_t index = free_waiting_;
    Waiting& waiting = waiting_[index];
    free_waiting_ = waiting.next;
    waiting.packet = packet;
    waiting.next = kNil;
    (entry.last_waiting == kNil ? entry.first_waiting : waiting_[entry.last_waiting].next) = index;
    entry.last_waiting = index;
    ++entry.waiting;
    return true;
}

void NeighbourTable::release_waiting(Entry& entry, bool send) {
    if (entry.first_waiting == kNil) {
        return;
    }
    for (uint32_t i = entry.first_waiting; i != kNil; i = waiting_[i].next) {
        waiting_[i].mac = entry.mac;
        waiting_[i].send = send;
        counters_.dropped_unreachable += send ? 0 : 1;
    }
    (last_released_ == kNil ? first_released_ : waiting_[last_released_].next) =
        entry.first_waiting;
    last_released_ = entry.last_waiting;
    entry.first_waiting = entry.last_waiting = kNil;
    entry.waiting = 0;
}

std::optional<NeighbourTable::Released> NeighbourTable::next_released() {
    if (first_released_ == kNil) {
        return std::nullopt;
    }
    const uint32_t index = first_released_;
    Waiting& waiting = waiting_[index];
    first_released_ = waiting.next;
    if (first_released_ == kNil) {
        last_released_ = kNil;
    }
    const Released released{waiting.packet, waiting.mac, waiting.send};
    waiting = Waiting{};
    waiting.next = free_waiting_;
    free_waiting_ = index;
    return released;
}

void NeighbourTable::abandon_waiting() {
    for (uint32_t i = 0; i < used_; ++i) {
        release_waiting(entries_[i], false);
    }
}

void NeighbourTable::learn(const wire::Address& address, const wire::Mac& mac, bool create,
                           Instant now) {
    uint32_t index = find(address);
    if (index == kNil) {
        if (!create) {
            return;
        }
        index = add(address, wire::Address{});
        if (index == kNil) {
            return;
        }
    }
    Entry& entry = entries_[index];
    ++counters_.learned;
    const bool had_mac = entry.state != NeighbourState::Unknown &&
                         entry.state != NeighbourState::Resolving &&
                         entry.state != NeighbourState::Unreachable;
    counters_.moved += had_mac && entry.mac != mac ? 1U : 0U;
    entry.mac = mac;
    confirm(index, now);
    release_waiting(entry, true);
}

void NeighbourTable::confirm(HopId hop, Instant now) {
    Entry& entry = entries_[hop];
    if (entry.mac == wire::Mac{}) {
        return;
    }
    entry.state = NeighbourState::Reachable;
    entry.confirmed = now;
    entry.asked = 0;
    asking_ -= entry.ask ? 1 : 0;
    entry.ask = false;
    set_deadline(entry, now + kReachableFor);
}

std::optional<Solicitation> NeighbourTable::poll_transmit(Instant now) {
    if (asking_ == 0) [[likely]] {
        return std::nullopt;
    }
    while (!entries_[ask_cursor_].ask) {
        ask_cursor_ = (ask_cursor_ + 1) % kMaxNeighbours;
    }
    Entry& entry = entries_[ask_cursor_];
    entry.ask = false;
    --asking_;
    ++counters_.solicitations;
    Solicitation solicitation{entry.address, entry.source, std::nullopt};
    if (entry.state == NeighbourState::Checking && entry.asked < kUnicastSolicitations) {
        solicitation.known = entry.mac;
    }
    ++entry.asked;
    set_deadline(entry, now + kSolicitInterval);
    return solicitation;
}

void NeighbourTable::on_deadline(Instant now) {
    if (now < next_deadline_) {
        return;
    }
    next_deadline_ = Instant::never();
    for (uint32_t i = 0; i < used_; ++i) {
        Entry& entry = entries_[i];
        if (!entry.present) {
            continue;
        }
        if (entry.deadline > now) {
            next_deadline_ = std::min(next_deadline_, entry.deadline);
            continue;
        }
        entry.deadline = Instant::never();
        switch (entry.state) {
            case NeighbourState::Reachable:
                entry.state = NeighbourState::Stale;
                break;
            case NeighbourState::Resolving:
            case NeighbourState::Checking:
                if (entry.asked < kSolicitations) {
                    ask(entry, now);
                    break;
                }
                ++counters_.unanswered;
                entry.state = NeighbourState::Unreachable;
                entry.mac = wire::Mac{};
                release_waiting(entry, false);
                set_deadline(entry, now + kUnreachableFor);
                break;
            case NeighbourState::Unreachable:
                entry.state = NeighbourState::Unknown;
                break;
            case NeighbourState::Unknown:
            case NeighbourState::Stale:
                break;
        }
    }
}

NeighbourInfo NeighbourTable::info(HopId hop) const {
    const Entry& entry = entries_[hop];
    return {entry.address, entry.mac, entry.state, entry.users, entry.waiting, entry.confirmed};
}

std::vector<NeighbourInfo> NeighbourTable::list() const {
    std::vector<NeighbourInfo> result;
    for (uint32_t i = 0; i < used_; ++i) {
        if (entries_[i].present) {
            result.push_back(info(i));
        }
    }
    return result;
}

}  // namespace vrdma::net
