// Copies of frames on their way from a worker to the control thread, in memory that somebody else
// lends.
//
// The worker stages copies and publishes them when it knows that the frames were really sent; what
// it does not publish is forgotten. It never waits: a copy for which there is no room is refused.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/base/time.h"
#include "dataplane/wire/pcapng.h"

namespace vrdma::net {

struct CaptureRecord {
    Instant at;             // the core's clock
    uint64_t missed = 0;    // copies refused since the ring was made, before this one
    uint32_t captured = 0;  // bytes kept
    uint32_t original = 0;  // bytes of the frame
    wire::CaptureDirection direction = wire::CaptureDirection::Unknown;
};

class CaptureRing {
  public:
    // A power of two of bytes, which outlive the ring, and at least kLeastBytes.
    explicit CaptureRing(std::span<std::byte> memory);
    static constexpr size_t kLeastBytes = 16384;

    // Producer. `captured` bytes from `bytes`; false when they do not fit: nothing was staged.
    [[nodiscard]] bool stage(const CaptureRecord& record, const std::byte* bytes);
    [[nodiscard]] uint64_t staged() const { return staged_; }
    // Shows the consumer what was staged up to this position; forgets the rest.
    void publish(uint64_t position);

    // Consumer. False when there is none.
    [[nodiscard]] bool peek(CaptureRecord& record);
    // The bytes of the record that peek() gave, `captured` of them; it is gone then.
    void take(std::span<std::byte> bytes);

  private:
    void write(uint64_t position, const void* from, size_t bytes);
    void read(uint64_t position, void* into, size_t bytes) const;

    const std::span<std::byte> memory_;
    alignas(64) std::atomic<uint64_t> tail_{0};
    uint64_t staged_ = 0;
    uint64_t cached_head_ = 0;
    alignas(64) std::atomic<uint64_t> head_{0};
};

}  // namespace vrdma::net
