// The program at the requester: what it posts next, and the memory its READs land in.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tests/sim/ledger.h"
#include "tests/sim/random.h"
#include "tests/sim/responder_memory.h"

namespace vrdma::sim {

class Workload {
  public:
    Workload(const OperationMix& mix, uint32_t path_mtu, wire::Service service, uint32_t ring_bytes,
             Random random);

    // The next message, in the ledger; or null: there is no room until one completes.
    Posted* compose(Ledger& ledger, const ResponderMemory& remote);
    // Until the next one is composed; for the one composed last.
    [[nodiscard]] Duration pause() const { return pause_; }
    // After an accident: what the words are now.
    void learn_words(const ResponderMemory& remote);
    [[nodiscard]] std::byte* landing(const Posted& posted) { return ring_.data() + posted.offset; }

    // A ring that holds a few of the longest messages.
    [[nodiscard]] static uint32_t ring_bytes(const OperationMix& mix);

  private:
    [[nodiscard]] transport::Operation draw_operation();
    [[nodiscard]] uint32_t draw_length(transport::Operation operation);
    [[nodiscard]] Fate draw_fate(transport::Operation operation, uint32_t length, bool failing);
    void prepare();
    [[nodiscard]] bool reserve(Posted& posted, const Ledger& ledger);
    void aim(Posted& posted, const RemoteMemory& keys);
    void aim_atomic(Posted& posted, const RemoteMemory& keys);
    void spoil(Posted& posted, const RemoteMemory& keys) const;

    const OperationMix& mix_;
    uint32_t path_mtu_;
    wire::Service service_;
    Random random_;
    uint32_t total_weight_ = 0;
    std::vector<std::byte> ring_;
    uint64_t head_ = 0;
    size_t scripted_ = 0;  // messages of the script that were taken
    Duration pause_{};
    std::array<uint64_t, kAtomicWords> words_{};
    uint32_t windows_ = 0;            // that were ended, when everything posted is executed
    std::optional<Posted> before_;    // the message before, if it was a WRITE
    std::optional<Posted> prepared_;  // waits for room
};

}  // namespace vrdma::sim
