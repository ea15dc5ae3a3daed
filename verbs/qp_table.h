// Finds the queue pair of a completion by its number.
//
// A hash table with open addressing whose readers take no lock: a slot's pointer is written before
// its number, and the table never moves. A number is looked up only while its queue pair lives
// (completions of a queue pair that goes are removed before it), so a lookup always ends at its
// slot.
//
// Threading: find from any thread; insert and remove exclude each other (the caller's lock).
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace vrdma::verbs {

struct Qp;

class QpTable {
  public:
    // Room for max_qps at a load of one half. False when there is no memory.
    [[nodiscard]] bool create(std::uint32_t max_qps) {
        const std::uint32_t slots = std::bit_ceil(max_qps < 32 ? 64 : 2 * max_qps);
        // Zero pages: a program with few queue pairs touches few of them.
        slots_.reset(static_cast<Slot*>(std::calloc(slots, sizeof(Slot))));
        mask_ = slots - 1;
        return slots_ != nullptr;
    }

    [[nodiscard]] Qp* find(std::uint32_t qpn) const {
        std::uint32_t at = hash(qpn);
        for (std::uint32_t probes = 0; probes <= mask_; ++probes) {
            const Slot& slot = slots_[at & mask_];
            const std::uint32_t key = slot.key.load(std::memory_order_acquire);
            if (key == qpn + kFirstKey) {
                return slot.qp;
            }
            if (key == kNeverUsed) {
                return nullptr;
            }
            ++at;
        }
        return nullptr;
    }

    // False when the table is full: more queue pairs than the device announced.
    [[nodiscard]] bool insert(std::uint32_t qpn, Qp* qp) {
        std::uint32_t at = hash(qpn);
        for (std::uint32_t probes = 0; probes <= mask_; ++probes) {
            Slot& slot = slots_[at & mask_];
            if (slot.key.load(std::memory_order_relaxed) < kFirstKey) {
                slot.qp = qp;
                slot.key.store(qpn + kFirstKey, std::memory_order_release);
                return true;
            }
            ++at;
        }
        return false;
    }

    void remove(std::uint32_t qpn) {
        std::uint32_t at = hash(qpn);
        for (std::uint32_t probes = 0; probes <= mask_; ++probes) {
            Slot& slot = slots_[at & mask_];
            const std::uint32_t key = slot.key.load(std::memory_order_relaxed);
            if (key == qpn + kFirstKey) {
                slot.key.store(kRemoved, std::memory_order_release);
                return;
            }
            if (key == kNeverUsed) {
                return;
            }
            ++at;
        }
    }

  private:
    // Keys: a queue pair number (24 bits) plus kFirstKey. A lookup goes on past a removed slot.
    static constexpr std::uint32_t kNeverUsed = 0;
    static constexpr std::uint32_t kRemoved = 1;
    static constexpr std::uint32_t kFirstKey = 2;

    struct Slot {
        std::atomic<std::uint32_t> key;
        Qp* qp;
    };
    struct Free {
        void operator()(Slot* slots) const { std::free(slots); }
    };

    [[nodiscard]] static std::uint32_t hash(std::uint32_t qpn) {
        return (qpn * 0x9e3779b1U) >> 15U;  // Fibonacci hashing: numbers may be sequential
    }

    std::unique_ptr<Slot[], Free> slots_;
    std::uint32_t mask_ = 0;
};

}  // namespace vrdma::verbs
