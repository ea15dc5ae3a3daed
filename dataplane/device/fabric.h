// The message rings between shards: one single-producer ring for every ordered pair.
//
// A queue pair has at most one slice under way, so a ring that holds two messages for every slice
// of its sender can only be full while the receiver is slow; the sender keeps the message and tries
// again.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "dataplane/base/spsc_ring.h"
#include "dataplane/device/slice.h"
#include "dataplane/port/waker.h"

namespace vrdma {

class Fabric {
  public:
    Fabric(uint32_t shards, Waker& waker) : shards_(shards), waker_(waker) {
        for (uint32_t i = 0; i < shards * shards; ++i) {
            rings_.push_back(std::make_unique<SpscRing<Message>>(kRingEntries));
        }
    }

    [[nodiscard]] bool send(uint32_t from, uint32_t to, const Message& message) {
        if (!rings_[from * shards_ + to]->push(message)) {
            return false;
        }
        waker_.wake(to);
        return true;
    }
    [[nodiscard]] bool receive(uint32_t from, uint32_t to, Message& message) {
        return rings_[from * shards_ + to]->pop(message);
    }
    [[nodiscard]] uint32_t shards() const { return shards_; }

    // How many attachments to multicast groups a shard has: who sends to one asks only shards that
    // have any. Written by that shard alone.
    void set_group_members(uint32_t shard, uint32_t count) {
        group_members_[shard].store(count, std::memory_order_release);
    }
    [[nodiscard]] uint32_t group_members(uint32_t shard) const {
        return group_members_[shard].load(std::memory_order_acquire);
    }

  private:
    static constexpr uint32_t kRingEntries = 2048;
    const uint32_t shards_;
    Waker& waker_;
    std::vector<std::unique_ptr<SpscRing<Message>>> rings_;
    std::array<std::atomic<uint32_t>, kMaxShards> group_members_{};
};

}  // namespace vrdma
