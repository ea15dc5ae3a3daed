// Who is on the link, and under which MAC address: for ARP and IPv6 neighbour discovery alike.
//
// A queue pair acquires the neighbour that is its next hop once and keeps the HopId; sending costs
// one table access. Nothing here knows the formats of the messages: learn() takes what was read
// from one, poll_transmit() says which is to be sent.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/net/limits.h"
#include "dataplane/port/packet_port.h"
#include "dataplane/wire/address.h"

namespace vrdma::net {

using HopId = uint32_t;

enum class NeighbourState : uint8_t {
    Unknown,      // nobody has asked yet
    Resolving,    // asked, no answer yet: packets wait
    Reachable,    // answered not long ago
    Stale,        // answered long ago: used, and asked again when used
    Checking,     // the same, and asked
    Unreachable,  // did not answer: packets are dropped
};

// One message to send: an ARP request or a neighbour solicitation for `target`.
struct Solicitation {
    wire::Address target;
    wire::Address source;            // one of ours, of the same family
    std::optional<wire::Mac> known;  // ask only this station; else everybody
};

struct NeighbourInfo {
    wire::Address address;
    wire::Mac mac;
    NeighbourState state = NeighbourState::Unknown;
    uint32_t users = 0;
    uint32_t waiting = 0;
    Instant confirmed;  // when it last answered
};

struct NeighbourCounters {
    uint64_t solicitations = 0;        // sent, repetitions too
    uint64_t learned = 0;              // answers and requests that told an address
    uint64_t moved = 0;                // with another MAC address than before
    uint64_t unanswered = 0;           // times a neighbour was given up
    uint64_t dropped_unreachable = 0;  // packets to a neighbour that does not answer
    uint64_t dropped_waiting = 0;      // packets for which there was no room to wait
    uint64_t table_full = 0;           // neighbours that found no place
};

class NeighbourTable {
  public:
    NeighbourTable();

    // The neighbour `address`, for packets from `source`. Pinned until release(). Nothing: all
    // entries are pinned.
    [[nodiscard]] std::optional<HopId> acquire(const wire::Address& address,
                                               const wire::Address& source);
    void release(HopId hop);

    // What a packet for `hop` has to do now: go to the MAC address that `mac` points to; wait; or
    // be dropped. Starts asking where that is needed.
    enum class Fate : uint8_t { Send, Wait, Drop };
    [[nodiscard]] Fate use(HopId hop, Instant now, wire::Mac& mac);
    // use() would say Wait. Starts asking where nobody has.
    [[nodiscard]] bool resolving(HopId hop, Instant now) {
        wire::Mac mac;
        const NeighbourState state = entries_[hop].state;
        return (state == NeighbourState::Unknown && use(hop, now, mac) == Fate::Wait) ||
               state == NeighbourState::Resolving;
    }
    // After Fate::Wait: keeps the packet until the neighbour answers or is given up. False, and
    // nothing kept, when there is no room.
    [[nodiscard]] bool wait(HopId hop, const PacketBuffer& packet);

    // A station said that `address` is at `mac`. `create`: it spoke to us, so it is worth an entry.
    void learn(const wire::Address& address, const wire::Mac& mac, bool create, Instant now);
    // The transport knows that packets arrive there (RFC 4861, 7.3.1): no need to ask.
    void confirm(HopId hop, Instant now);

    [[nodiscard]] std::optional<Solicitation> poll_transmit(Instant now);
    [[nodiscard]] Instant next_deadline() const { return next_deadline_; }
    void on_deadline(Instant now);

    // Packets whose waiting is over, one after the other: to send to `mac`, or to drop.
    struct Released {
        PacketBuffer packet;
        wire::Mac mac;
        bool send = false;
    };
    [[nodiscard]] std::optional<Released> next_released();
    // Ends all waiting: the packets are to be dropped.
    void abandon_waiting();

    [[nodiscard]] NeighbourState state(HopId hop) const { return entries_[hop].state; }
    [[nodiscard]] NeighbourInfo info(HopId hop) const;
    // All entries in use.
    [[nodiscard]] std::vector<NeighbourInfo> list() const;
    [[nodiscard]] const NeighbourCounters& counters() const { return counters_; }

  private:
    static constexpr uint32_t kNil = UINT32_MAX;
    static constexpr uint32_t kBuckets = kMaxNeighbours;

    struct Entry {
        wire::Address address;
        wire::Address source;
        wire::Mac mac;
        NeighbourState state = NeighbourState::Unknown;
        bool present = false;
        bool ask = false;  // a solicitation is due
        uint8_t asked = 0;
        uint32_t users = 0;
        uint32_t next = kNil;  // of the same bucket
        uint32_t first_waiting = kNil;
        uint32_t last_waiting = kNil;
        uint32_t waiting = 0;
        Instant deadline = Instant::never();
        Instant confirmed;
    };
    struct Waiting {
        PacketBuffer packet;
        wire::Mac mac;
        bool send = false;
        uint32_t next = kNil;
    };

    [[nodiscard]] uint32_t find(const wire::Address& address) const;
    [[nodiscard]] uint32_t add(const wire::Address& address, const wire::Address& source);
    [[nodiscard]] uint32_t victim() const;
    void remove(uint32_t index);
    void ask(Entry& entry, Instant now);
    void set_deadline(Entry& entry, Instant deadline);
    void release_waiting(Entry& entry, bool send);

    std::vector<Entry> entries_;
    std::array<uint32_t, kBuckets> buckets_;
    std::vector<Waiting> waiting_;
    uint32_t free_waiting_ = 0;
    uint32_t first_released_ = kNil;
    uint32_t last_released_ = kNil;
    uint32_t used_ = 0;    // entries below were ever used
    uint32_t asking_ = 0;  // entries with `ask`
    uint32_t ask_cursor_ = 0;
    Instant next_deadline_ = Instant::never();
    NeighbourCounters counters_;
};

}  // namespace vrdma::net
