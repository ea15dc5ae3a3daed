// A port that treats frames as a bad network does: on the way in, on the way out, or both.
//
// It lies between a link and its port only while it is wanted (Link::set_port), so it costs nothing
// otherwise. Everything it decides follows from the seed and from what it is called with: the same
// frames at the same times meet the same fate.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "dataplane/base/time.h"
#include "dataplane/port/packet_port.h"

namespace vrdma::net {

// A probability, in billionths.
struct Share {
    static constexpr uint32_t kAll = 1'000'000'000;
    uint32_t billionths = 0;
};

// What happens to frames of one direction.
struct FaultSettings {
    Share drop{};
    Share duplicate{};
    Share corrupt{};      // one byte behind the Ethernet header of an IP packet
    Share mark{};         // Congestion Experienced, where the sender can be told (RFC 3168)
    Share held_back{};    // how many are overtaken by others,
    uint32_t behind = 0;  // and by at most how many
    Duration delay{};     // of every frame,
    Duration jitter{};    // and at most so much more; frames may overtake each other then
};

inline constexpr uint32_t kMostBehind = 256;
inline constexpr Duration kMostDelay = Duration::milliseconds(1000);
// Frames that are held back or delayed in one direction. More are dropped, like in a full queue.
inline constexpr uint32_t kMostHeldFrames = 512;
// A frame that is held back goes on after this time even if nothing follows that could overtake it.
inline constexpr Duration kMostHeldBack = Duration::milliseconds(1);

enum class FaultCounter : uint8_t {
    Dropped,
    Duplicated,
    Corrupted,
    Marked,
    HeldBack,
    Delayed,
    Overflowed,
    Count,
};
inline constexpr size_t kFaultCounterCount = static_cast<size_t>(FaultCounter::Count);

struct FaultCounterText {
    std::string_view name;
    std::string_view help;
};
[[nodiscard]] FaultCounterText fault_counter_text(FaultCounter counter);

struct FaultCounters {
    std::array<uint64_t, kFaultCounterCount> value{};

    void add(FaultCounter counter) { ++value[static_cast<size_t>(counter)]; }
    [[nodiscard]] uint64_t operator[](FaultCounter counter) const {
        return value[static_cast<size_t>(counter)];
    }
};

class FaultPort final : public PacketPort {
  public:
    explicit FaultPort(PacketPort& below) : below_(&below) {}
    // Holds no frame: see clear().
    ~FaultPort() override = default;
    FaultPort(const FaultPort&) = delete;
    FaultPort& operator=(const FaultPort&) = delete;

    // From the next frame on. Frames that are held keep the time they were given.
    void configure(const FaultSettings& sending, const FaultSettings& receiving, uint64_t seed);
    // The same port, with or without a layer on it: frames that are held stay. Between two turns.
    void set_below(PacketPort& below) { below_ = &below; }
    // Gives all frames it holds back to the port below: they are lost. Before it is taken away.
    void clear();
    [[nodiscard]] const FaultCounters& counters() const { return counters_; }

    [[nodiscard]] size_t receive(std::span<PacketBuffer> into, Instant now) override;
    [[nodiscard]] size_t allocate(std::span<PacketBuffer> into) override {
        return below_->allocate(into);
    }
    [[nodiscard]] size_t send(std::span<PacketBuffer> packets, Instant now) override;
    void release(std::span<PacketBuffer> packets) override { below_->release(packets); }
    [[nodiscard]] uint32_t max_frame_bytes() const override { return below_->max_frame_bytes(); }
    [[nodiscard]] std::array<uint8_t, 6> mac() const override { return below_->mac(); }
    [[nodiscard]] bool up() const override { return below_->up(); }
    [[nodiscard]] PortStatistics statistics() const override { return below_->statistics(); }
    [[nodiscard]] Instant next_deadline() const override;
    void arm() override { below_->arm(); }
    void disarm() override { below_->disarm(); }
    [[nodiscard]] int wake_file() const override { return below_->wake_file(); }
    [[nodiscard]] Duration poll_interval() const override { return below_->poll_interval(); }

  private:
    // SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    class Random {
      public:
        explicit Random(uint64_t seed) : state_(seed) {}
        [[nodiscard]] uint64_t next();
        [[nodiscard]] uint64_t below(uint64_t end);  // 0 if end is 0
        [[nodiscard]] bool happens(Share share);

      private:
        uint64_t state_;
    };

    struct Held {
        PacketBuffer frame;
        Instant due;
        uint64_t order = 0;  // delayed: as they came; held back: `passed` when it goes
    };

    // The frames of one direction: delayed ones, of these some held back, then those on their way.
    struct Direction {
        FaultSettings settings;
        Random random{0};
        std::array<Held, kMostHeldFrames> delayed;  // a heap, the earliest first
        size_t delayed_count = 0;
        std::array<Held, kMostHeldFrames> held_back;
        size_t held_back_count = 0;
        // A ring with room for all that waits, two bursts, and copies.
        std::array<PacketBuffer, 2 * kMostHeldFrames + 4 * kMaxBurst> ready;
        size_t ready_first = 0;
        size_t ready_count = 0;
        uint64_t order = 0;
        uint64_t passed = 0;
    };

    [[nodiscard]] static Instant deadline(const Direction& direction);
    void enter(Direction& direction, PacketBuffer frame, Instant now);
    void delay(Direction& direction, const PacketBuffer& frame, Instant now);
    void hold_back(Direction& direction, const PacketBuffer& frame, Instant now);
    void pass(Direction& direction, const PacketBuffer& frame);
    void overtaken(Direction& direction, Instant now);
    void advance(Direction& direction, Instant now);
    [[nodiscard]] bool copy_of(const PacketBuffer& frame, PacketBuffer& copy);
    void corrupt(Direction& direction, PacketBuffer& frame);
    void mark(PacketBuffer& frame);
    void flush(Instant now);
    void clear(Direction& direction);

    PacketPort* below_;
    Direction sending_;
    Direction receiving_;
    FaultCounters counters_;
    bool more_waits_ = false;  // below, although receive() gave nothing
};

}  // namespace vrdma::net
