// A network port as one worker sees it: bursts of Ethernet frames in, bursts out.
//
// There is one PacketPort object for each pair of (port, worker): it is used by that worker's
// thread alone and needs no lock. Every call handles a burst, so that its cost is shared. Layers
// that change or record what passes (faults, capture) are PacketPorts over a PacketPort.
//
// Ownership: a buffer that receive() or allocate() put into a span belongs to the caller, until it
// is given to release() or taken by send(). No call blocks, and none fails in a way the caller has
// to handle: a port that has vanished receives nothing, and takes what it is sent and counts it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/time.h"

namespace vrdma {

// One frame, contiguous, from the Ethernet header on and without its checksum.
struct PacketBuffer {
    std::byte* data = nullptr;
    uint32_t length = 0;     // bytes of the frame
    uint32_t capacity = 0;   // the most it may grow to; `data` does not move
    void* handle = nullptr;  // the port's own; opaque
};

// The longest frame any port carries: 4096 bytes of payload behind the longest headers of RoCEv2
// over IPv6 with one VLAN tag, pad and ICRC, and some room. A buffer of a port may be smaller.
inline constexpr uint32_t kMaxFrameBytes = 4352;
// The most buffers one call takes or gives.
inline constexpr size_t kMaxBurst = 32;

struct PortStatistics {
    uint64_t received_packets = 0;
    uint64_t received_bytes = 0;
    uint64_t sent_packets = 0;
    uint64_t sent_bytes = 0;
    uint64_t send_dropped_down = 0;         // the link was down or the device gone
    uint64_t send_dropped_full = 0;         // the device's queue was full and stayed full
    uint64_t receive_dropped_handoff = 0;   // another worker's ring was full
    uint64_t receive_dropped_segments = 0;  // longer than one buffer
    uint64_t no_buffer = 0;                 // times the pool of buffers was empty
};

class PacketPort {
  public:
    virtual ~PacketPort() = default;

    // Fills the front of `into` with frames that have arrived; returns how many.
    [[nodiscard]] virtual size_t receive(std::span<PacketBuffer> into, Instant now) = 0;

    // Empty buffers to build frames in: length 0, capacity at least max_frame_bytes(). Returns how
    // many of `into` were filled; fewer than asked for when the pool is empty.
    [[nodiscard]] virtual size_t allocate(std::span<PacketBuffer> into) = 0;

    // Sends the frames in order. Takes the first N buffers and returns N; the rest remain the
    // caller's: try again in a later turn. A frame that was taken may still be lost, as anywhere in
    // a network.
    [[nodiscard]] virtual size_t send(std::span<PacketBuffer> packets, Instant now) = 0;

    virtual void release(std::span<PacketBuffer> packets) = 0;

    // The longest frame that can be sent: the port's MTU and the Ethernet header.
    [[nodiscard]] virtual uint32_t max_frame_bytes() const = 0;
    [[nodiscard]] virtual std::array<uint8_t, 6> mac() const = 0;
    [[nodiscard]] virtual bool up() const = 0;
    [[nodiscard]] virtual PortStatistics statistics() const = 0;

    // When receive() or send() has to be called although nothing arrived (frames held back by a
    // layer); Instant::never() if not.
    [[nodiscard]] virtual Instant next_deadline() const { return Instant::never(); }

    // Before the worker sleeps: from now on arrivals make wake_file() readable. The caller calls
    // receive() once more after it and sleeps only if that gave nothing.
    virtual void arm() {}
    // After the worker woke.
    virtual void disarm() {}
    // A file for the worker's epoll, level-triggered; -1: the port cannot wake anybody and has to
    // be looked at every poll_interval(). May change while the port is not up.
    [[nodiscard]] virtual int wake_file() const { return -1; }
    [[nodiscard]] virtual Duration poll_interval() const { return Duration{INT64_MAX}; }
};

}  // namespace vrdma
