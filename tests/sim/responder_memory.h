// What the responder's host has for one direction: memory under keys and receive entries. It does
// what the transport says, and says no where a device would.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "dataplane/base/time.h"
#include "dataplane/transport/inbound.h"
#include "tests/sim/ledger.h"
#include "tests/sim/random.h"
#include "tests/sim/scenario.h"

namespace vrdma::sim {

// Keys and places, as the requester's program was told them.
struct RemoteMemory {
    uint32_t target_key = 0;  // WRITE, and READ of what was written
    uint32_t source_key = 0;  // READ
    uint32_t gone_key = 0;    // READ: it is there at the request and gone at the response
    uint32_t word_key = 0;    // atomics
    uint32_t window_key = 0;  // SEND with invalidate: of the first window
    uint64_t target = 0;
    uint64_t source = 0;
    uint64_t words = 0;
    uint32_t target_bytes = 0;

    // Every message ends another window, in the order in which they are posted.
    [[nodiscard]] uint32_t window(uint32_t number) const { return window_key + 8 * number; }
};
inline constexpr uint32_t kAtomicWords = 4;

class ResponderMemory {
  public:
    ResponderMemory(const ConnectionConfig& config, const OperationMix& mix, uint32_t ring_bytes,
                    Ledger& ledger, Random random);

    [[nodiscard]] const RemoteMemory& keys() const { return keys_; }
    [[nodiscard]] transport::ExecuteResult execute(const transport::Inbound& in,
                                                   std::span<const std::byte> payload, Instant now);
    [[nodiscard]] transport::ExecuteResult reexecute(const transport::Inbound& in);
    // The payload of a READ response; null: it is gone.
    [[nodiscard]] const std::byte* gather(uint32_t rkey, uint64_t address, uint32_t length) const;

    // When the next receive entry comes back.
    [[nodiscard]] Instant next_receive() const {
        return late_.empty() ? Instant::never() : late_.front();
    }
    void post_receives(Instant now);
    // All receive entries are there again.
    void restart();

    [[nodiscard]] std::span<const std::byte> target() const { return target_; }
    [[nodiscard]] uint64_t word(uint32_t index) const { return words_[index]; }
    [[nodiscard]] uint32_t windows_ended() const { return windows_ended_; }

  private:
    [[nodiscard]] transport::ExecuteStatus check(const transport::Inbound& in) const;
    [[nodiscard]] bool take_entry(const transport::Inbound& in);
    void finish_entry(Instant now);
    [[nodiscard]] transport::ExecuteResult execute_atomic(const transport::Inbound& in);
    void store(const transport::Inbound& in, std::span<const std::byte> payload);
    void end_window(const transport::Inbound& in);

    const ConnectionConfig& config_;
    Ledger& ledger_;
    Random random_;
    RemoteMemory keys_;
    std::vector<std::byte> target_;
    std::vector<std::byte> entry_;  // the receive entry being filled
    std::array<uint64_t, kAtomicWords> words_{};
    uint32_t windows_ended_ = 0;
    uint32_t available_ = 0;  // receive entries
    bool taken_ = false;      // one is being filled
    std::deque<Instant> late_;
};

}  // namespace vrdma::sim
