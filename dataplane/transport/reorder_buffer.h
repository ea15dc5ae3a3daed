// Packets that came too early, kept until their turn. The buffer knows them as handles of its
// owner; each is in here at most once and comes out exactly once: by take() when it is its turn, or
// by discard() when the queue pair goes.
//
// A packet can stand for several sequence numbers (a READ request for those of its responses).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "dataplane/transport/window_bits.h"

namespace vrdma::transport {

// The owner's index of a packet buffer.
using HeldPacket = uint32_t;

class ReorderBuffer {
  public:
    [[nodiscard]] bool empty() const { return first_.empty(); }
    // Some packet stands for this number.
    [[nodiscard]] bool holds(Sequence at) const { return covered_.test(at); }
    // Nothing stands for [from, to), which is at most a window.
    [[nodiscard]] bool free(Sequence from, Sequence to) const {
        return covered_.first_set(from, to) == to;
    }

    // Some packet begins in [from, to), which is at most a window.
    [[nodiscard]] bool begins_in(Sequence from, Sequence to) const {
        return first_.first_set(from, to) != to;
    }

    void hold(Sequence from, Sequence to, HeldPacket packet) {
        packets_[index(from)] = packet;
        first_.set(from);
        covered_.set_range(from, to);
    }
    // The packet that begins at `at`. What it stands for stays covered until release_to(), which
    // the owner calls as the window moves.
    [[nodiscard]] std::optional<HeldPacket> take(Sequence at) {
        if (!first_.test(at)) {
            return std::nullopt;
        }
        first_.clear(at);
        return packets_[index(at)];
    }
    // The numbers of [from, to) are behind us.
    void release(Sequence from, Sequence to) { covered_.clear_range(from, to); }
    // Any packet, in no order.
    [[nodiscard]] std::optional<HeldPacket> discard() {
        const Sequence at = first_.first_set(0, kWindowPackets);
        if (at == kWindowPackets) {
            covered_.reset();
            return std::nullopt;
        }
        return take(at);
    }

    [[nodiscard]] const WindowBits& covered() const { return covered_; }

  private:
    static constexpr uint32_t index(Sequence at) {
        return static_cast<uint32_t>(at) & (kWindowPackets - 1);
    }

    WindowBits first_;    // a packet begins here
    WindowBits covered_;  // a packet stands for this number
    std::array<HeldPacket, kWindowPackets> packets_{};
};

}  // namespace vrdma::transport
