// A port that copies what passes into a ring: one worker's part of a capture.
//
// It lies directly on the device's end, below what changes frames on purpose (FaultPort), and only
// while a capture runs; without one nothing of it is in the path.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "dataplane/net/capture_filter.h"
#include "dataplane/net/capture_ring.h"
#include "dataplane/port/packet_port.h"
#include "dataplane/port/packet_steering.h"

namespace vrdma::net {

struct CaptureSettings {
    uint32_t snap_length = wire::kPcapngSnapLength;
    CaptureFilter filter{};
    // The worker that records those received frames of which every worker gets a copy: that of the
    // filter's queue pair.
    uint32_t shared_on = 0;
    // Any thread. The time of a turn, which receive() and send() get, is too coarse: an answer
    // would have the time of its question.
    Instant (*clock)() = nullptr;
};

class CapturePort final : public PacketPort {
  public:
    // `shared` tells which received frames every worker gets a copy of: these are not recorded,
    // because another worker does. Null for the one that does.
    CapturePort(PacketPort& below, const CaptureSettings& settings, CaptureRing& ring,
                const PacketSteering* shared)
        : below_(below), settings_(settings), ring_(ring), shared_(shared) {}
    ~CapturePort() override = default;
    CapturePort(const CapturePort&) = delete;
    CapturePort& operator=(const CapturePort&) = delete;

    // The worker, before this is in its path: who tells of the filter's queue pair. Outlives it.
    void ask(const QueuePairGroups& groups) { groups_ = &groups; }

    // Any thread: frames that found no room in the ring.
    [[nodiscard]] uint64_t missed() const { return missed_.load(std::memory_order_relaxed); }

    [[nodiscard]] size_t receive(std::span<PacketBuffer> into, Instant now) override;
    [[nodiscard]] size_t allocate(std::span<PacketBuffer> into) override {
        return below_.allocate(into);
    }
    [[nodiscard]] size_t send(std::span<PacketBuffer> packets, Instant now) override;
    void release(std::span<PacketBuffer> packets) override { below_.release(packets); }
    [[nodiscard]] uint32_t max_frame_bytes() const override { return below_.max_frame_bytes(); }
    [[nodiscard]] std::array<uint8_t, 6> mac() const override { return below_.mac(); }
    [[nodiscard]] bool up() const override { return below_.up(); }
    [[nodiscard]] PortStatistics statistics() const override { return below_.statistics(); }
    [[nodiscard]] Instant next_deadline() const override { return below_.next_deadline(); }
    void arm() override { below_.arm(); }
    void disarm() override { below_.disarm(); }
    [[nodiscard]] int wake_file() const override { return below_.wake_file(); }
    [[nodiscard]] Duration poll_interval() const override { return below_.poll_interval(); }

  private:
    // True when it was to be kept and there was no room.
    [[nodiscard]] bool refused(const PacketBuffer& frame, wire::CaptureDirection direction,
                               Instant at, uint64_t missed);
    void add_missed(uint64_t count);

    PacketPort& below_;
    const CaptureSettings settings_;
    CaptureRing& ring_;
    const PacketSteering* const shared_;
    const QueuePairGroups* groups_ = nullptr;
    std::atomic<uint64_t> missed_{0};  // written by the worker alone
};

}  // namespace vrdma::net
