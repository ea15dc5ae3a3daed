// One worker's share of the virtual device: a single-threaded object that is given time and work.
#pragma once

#include <bitset>

#include "dataplane/device/commands.h"
#include "dataplane/device/completion_queues.h"
#include "dataplane/device/fabric.h"
#include "dataplane/device/multicast.h"
#include "dataplane/device/queue_pairs.h"
#include "dataplane/device/requester.h"
#include "dataplane/device/responder.h"
#include "dataplane/device/state.h"
#include "dataplane/device/wire_path.h"

namespace vrdma {

class Shard {
  public:
    struct Ports {
        ProcessMemory& process_memory;
        Notifier& notifier;
        Reclaimer& reclaimer;
        Fabric& fabric;
        Clock& clock;
    };
    Shard(Arena& arena, const ShardConfig& config, const Ports& ports);

    // One turn: messages, timers, doorbells, queue pairs, events. True when something was done.
    bool turn(Instant now);
    // When a turn is needed even without a doorbell or a message; Instant::never() if not.
    [[nodiscard]] Instant next_deadline() const;
    // A context's eventfd was written.
    void kicked(uint32_t context);
    // Before sleeping: every context will kick from now on. The caller takes one more turn after
    // it, and sleeps only if that did nothing.
    void arm_kicks();
    // After sleeping.
    void disarm_kicks();
    // Commands::tear_down for a context that may be polled.
    [[nodiscard]] bool tear_down(Commands::Teardown& teardown);
    // Are there contexts that are not polled, whose kicks the caller has to look for?
    [[nodiscard]] bool has_cold_contexts() const { return state_.contexts.used() > hot_.size(); }

    // vNICs; the same call is made on every shard.
    void set_vnic(uint32_t index, const Vnic& vnic);
    // The port of a network may have another MTU: its vNICs follow, and the contexts of those that
    // are up are told (PORT_ACTIVE), so that they ask for it again.
    void port_changed(uint32_t network);
    // Tells the contexts of a vNIC about a port or device event.
    void announce(uint32_t vnic, vrdma_event_type type);

    [[nodiscard]] Commands& commands() { return commands_; }
    [[nodiscard]] WirePath& wire() { return wire_; }
    [[nodiscard]] const Multicast& multicast() const { return multicast_; }
    [[nodiscard]] DeviceState& state() { return state_; }
    [[nodiscard]] const DeviceState& state() const { return state_; }

  private:
    bool drain_messages();
    bool fire_timers();
    bool scan_doorbells();
    bool scan(uint32_t context);
    bool visit_queue_pairs();
    void flush_outbox();
    void cool_down();
    void announce(const std::bitset<kMaxVnics>& vnics, vrdma_event_type type);

    DeviceState state_;
    Fabric& fabric_;
    CompletionQueues completions_;
    QueuePairs queue_pairs_;
    Responder responder_;
    Multicast multicast_;
    WirePath wire_;
    Requester requester_;
    Commands commands_;
    std::vector<uint32_t> hot_;  // contexts whose doorbells are polled
    std::vector<std::pair<uint32_t, Message>> replies_;
    Instant next_cooling_;
    bool events_delayed_ = false;
};

}  // namespace vrdma
