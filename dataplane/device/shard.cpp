// The order of a turn: what others wait for comes first (answers to other shards, timers), then new
// work. Doorbells only put queue pairs on the run queue; queue pairs get equal shares from there.
// Events are sent last, once for everything that completed.
//
// A context whose doorbell was silent for a while is cold: it is not polled, and its next doorbell
// writes an eventfd. So the cost of a turn is that of the active contexts.
#include "dataplane/device/shard.h"

#include <algorithm>
#include <atomic>
#include <bit>

namespace vrdma {
namespace {

constexpr Duration kCoolingInterval = Duration::microseconds(250);
constexpr uint32_t kMessagesPerTurn = 64;

}  // namespace

Shard::Shard(Arena& arena, const ShardConfig& config, const Ports& ports)
    : state_(arena, config, ports.process_memory, ports.notifier, ports.clock),
      fabric_(ports.fabric),
      completions_(state_),
      queue_pairs_(state_, completions_),
      responder_(state_, queue_pairs_),
      multicast_(state_, responder_, fabric_),
      wire_(state_, queue_pairs_, responder_, multicast_),
      requester_(state_, queue_pairs_, responder_, multicast_, wire_),
      commands_(state_, completions_, queue_pairs_, wire_, multicast_, ports.reclaimer) {
    hot_.reserve(config.limits.contexts);
}

bool Shard::turn(Instant now) {
    state_.now = now;
    bool worked = state_.config.shard_count > 1 && drain_messages();
    worked |= fire_timers();
    worked |= scan_doorbells();
    worked |= visit_queue_pairs();
    if (!state_.overflowed_cqs.empty()) [[unlikely]] {
        queue_pairs_.fail_overflowed();
        worked = true;
    }
    wire_.flush();
    events_delayed_ = completions_.send_events();
    flush_outbox();
    if (now >= next_cooling_) {
        cool_down();
        next_cooling_ = now + kCoolingInterval;
    }
    return worked || state_.run_head != state_.run_tail;
}

bool Shard::drain_messages() {
    bool worked = false;
    for (uint32_t from = 0; from < fabric_.shards(); ++from) {
        Message message;
        for (uint32_t n = 0;
             n < kMessagesPerTurn && fabric_.receive(from, state_.config.shard, message); ++n) {
            worked = true;
            switch (message.kind) {
                case MessageKind::Request:
                    message.reply = responder_.receive(message.destination_vnic,
                                                       message.destination_qpn, *message.slice);
                    message.kind = MessageKind::Response;
                    message.from_shard = state_.config.shard;
                    state_.outbox.emplace_back(from, message);
                    break;
                case MessageKind::GroupRequest: {
                    const Multicast::Delivered delivered =
                        multicast_.deliver(*message.slice, message.group_member);
                    message.reply = delivered.reply;
                    message.group_member = delivered.next;
                    message.kind = MessageKind::Response;
                    message.from_shard = state_.config.shard;
                    state_.outbox.emplace_back(from, message);
                    break;
                }
                case MessageKind::Response:
                    requester_.on_response(message);
                    break;
                case MessageKind::PeerDead: {
                    const std::optional<uint32_t> slot = state_.find_peer_of(
                        message.destination_qpn, message.requester_vnic, message.requester_qpn);
                    if (slot) {
                        queue_pairs_.peer_died(*slot);
                    }
                    break;
                }
            }
        }
    }
    return worked;
}

void Shard::flush_outbox() {
    if (state_.outbox.empty()) [[likely]] {
        return;
    }
    std::erase_if(state_.outbox, [this](const auto& entry) {
        return fabric_.send(state_.config.shard, entry.first, entry.second);
    });
}

bool Shard::fire_timers() {
    bool worked = false;
    uint32_t slot = 0;
    for (uint32_t n = 0; n < kTimersPerTurn && state_.deadlines.pop_due(state_.now, slot); ++n) {
        requester_.on_deadline(slot);
        worked = true;
    }
    return worked;
}

bool Shard::scan(uint32_t context) {
    vrdma_doorbell& doorbell = *state_.context_runtime[context].doorbell;
    const uint32_t* slots = state_.doorbell_slots_of(context);
    const uint32_t words = (state_.contexts[context].doorbells + 4095) / 4096;
    bool found = false;
    for (uint32_t s = 0; s < words; ++s) {
        std::atomic_ref summary(doorbell.summary[s]);
        if (summary.load(std::memory_order_relaxed) == 0) {
            continue;
        }
        uint64_t leaves = summary.exchange(0, std::memory_order_acq_rel);
        while (leaves != 0) {
            const uint32_t word = s * 64 + static_cast<uint32_t>(std::countr_zero(leaves));
            leaves &= leaves - 1;
            uint64_t bits =
                std::atomic_ref(doorbell.leaf[word]).exchange(0, std::memory_order_acq_rel);
            while (bits != 0) {
                const uint32_t bit = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
                bits &= bits - 1;
                if (slots[bit] != 0) {  // a bit of nobody is the tenant's own nonsense
                    state_.run(slots[bit] - 1);
                    found = true;
                }
            }
        }
    }
    return found;
}

bool Shard::scan_doorbells() {
    bool worked = false;
    for (const uint32_t context : hot_) {
        if (scan(context)) {
            state_.contexts[context].last_doorbell = state_.now;
            worked = true;
        }
    }
    return worked;
}

bool Shard::visit_queue_pairs() {
    const uint32_t mask = static_cast<uint32_t>(state_.run_queue.size()) - 1;
    uint32_t left = std::min(state_.run_tail - state_.run_head, kVisitsPerTurn);
    const bool worked = left != 0;
    for (; left > 0; --left) {
        const uint32_t slot = state_.run_queue[state_.run_head++ & mask];
        Qp& qp = state_.qps[slot];
        qp.queued = false;
        if (qp.qpn != 0) {
            requester_.visit(slot);
        }
    }
    return worked;
}

void Shard::cool_down() {
    std::erase_if(hot_, [this](uint32_t index) {
        Context& context = state_.contexts[index];
        if (state_.now - context.last_doorbell < kHotContext) {
            return false;
        }
        vrdma_doorbell& doorbell = *state_.context_runtime[index].doorbell;
        std::atomic_ref(doorbell.need_kick).store(1, std::memory_order_seq_cst);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (scan(index)) {  // it came in between; the tenant may kick once for nothing
            context.last_doorbell = state_.now;
            std::atomic_ref(doorbell.need_kick).store(0, std::memory_order_relaxed);
            return false;
        }
        context.hot = false;
        return true;
    });
}

void Shard::arm_kicks() {
    for (const uint32_t context : hot_) {
        std::atomic_ref(state_.context_runtime[context].doorbell->need_kick)
            .store(1, std::memory_order_relaxed);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Shard::disarm_kicks() {
    for (const uint32_t context : hot_) {
        std::atomic_ref(state_.context_runtime[context].doorbell->need_kick)
            .store(0, std::memory_order_relaxed);
    }
}

bool Shard::tear_down(Commands::Teardown& teardown) {
    if (state_.contexts[teardown.context].hot) {
        state_.contexts[teardown.context].hot = false;
        std::erase(hot_, teardown.context);
    }
    state_.contexts[teardown.context].detached = true;
    return commands_.tear_down(teardown);
}

void Shard::kicked(uint32_t index) {
    Context& context = state_.contexts[index];
    if (!context.present || context.detached) {
        return;
    }
    state_.counters[context.vnic].add(Counter::Kicks);
    context.last_doorbell = state_.now;
    std::atomic_ref(state_.context_runtime[index].doorbell->need_kick)
        .store(0, std::memory_order_relaxed);
    if (!context.hot) {
        context.hot = true;
        hot_.push_back(index);
    }
}

Instant Shard::next_deadline() const {
    const Instant deadline = std::min(state_.deadlines.next(), wire_.next_deadline());
    if (!state_.outbox.empty() || events_delayed_) {
        return std::min(deadline, state_.now + kDelayedEventRetry);
    }
    return deadline;
}

void Shard::set_vnic(uint32_t index, const Vnic& vnic) {
    state_.vnics[index] = vnic;
    state_.vnics[index].active_mtu = wire_.active_mtu(vnic.network);
    ++state_.vnic_epoch;
}

void Shard::port_changed(uint32_t network) {
    const uint8_t mtu = wire_.active_mtu(network);
    std::bitset<kMaxVnics> changed;
    for (uint32_t i = 0; i < kMaxVnics; ++i) {
        Vnic& vnic = state_.vnics[i];
        if (vnic.present && vnic.network == network && vnic.active_mtu != mtu) {
            vnic.active_mtu = mtu;
            changed[i] = vnic.up;
        }
    }
    announce(changed, VRDMA_EVENT_PORT_ACTIVE);
}

void Shard::announce(uint32_t vnic, vrdma_event_type type) {
    std::bitset<kMaxVnics> one;
    one[vnic] = true;
    announce(one, type);
}

void Shard::announce(const std::bitset<kMaxVnics>& vnics, vrdma_event_type type) {
    for (uint32_t i = 0; vnics.any() && i < state_.contexts.fresh(); ++i) {
        const Context& context = state_.contexts[i];
        if (context.present && vnics[context.vnic]) {
            constexpr uint64_t kPort = 1;
            state_.raise(i, type, kPort);
        }
    }
}

}  // namespace vrdma
