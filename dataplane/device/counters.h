// What a shard counts, by vNIC. Written by the worker, read by anybody.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "dataplane/transport/drop_reason.h"
#include "driver/abi/status.h"

namespace vrdma {

enum class Counter : uint16_t {
    SendOperations,
    SendBytes,
    ReceiveOperations,
    ReceiveBytes,
    WriteOperations,
    WriteBytes,
    ReadOperations,
    ReadBytes,
    AtomicOperations,
    CompletionsWritten,
    CompletionEvents,
    CompletionEventsDelayed,
    AsyncEvents,
    AsyncEventsLost,
    Flushed,
    RnrSent,
    RnrRetries,
    TransportRetries,
    CqOverflows,
    QpErrors,
    PeersLost,
    UdDroppedNoQp,
    UdDroppedQkey,
    UdDroppedNoReceive,
    UdDroppedLength,
    UdDroppedMemory,
    UcDroppedNoQp,
    UcDroppedNoReceive,
    UcDroppedAccess,
    UcDroppedLength,
    UcDroppedMemory,
    RcDroppedNotConnected,
    XrcSrqRefused,
    WireDroppedNoQp,
    WireDroppedNotPeer,
    WireDroppedService,
    WireDroppedState,
    WireProbesIgnored,
    Kicks,
    CommandsExecuted,
    CommandsRejected,
    MadsReceived,
    MadsSent,
    MadsUnsent,
    MadDroppedOpcode,
    MadDroppedQkey,
    MadDroppedSource,
    MadDroppedLength,
    MadDroppedFull,
    MadDroppedTenant,
    Count,
};

inline constexpr size_t kCounterCount = static_cast<size_t>(Counter::Count);

struct CounterText {
    std::string_view name;
    std::string_view help;
};

// Name (as tools and metrics print it) and meaning of a counter, and of the failures by reason.
[[nodiscard]] CounterText counter_text(Counter counter);
[[nodiscard]] CounterText reason_text(vrdma_reason reason);

// The counters of one vNIC in one shard. Not arena state.
struct Counters {
    std::array<uint64_t, kCounterCount> value{};
    std::array<uint64_t, VRDMA_REASON_COUNT> failures{};  // work requests failed, by reason
    // Packets from other hosts that changed nothing, by reason.
    std::array<uint64_t, transport::kDropReasonCount> wire_drops{};

    void add(Counter counter, uint64_t n = 1) { value[static_cast<size_t>(counter)] += n; }
    void fail(vrdma_reason reason) { ++failures[reason]; }
};

}  // namespace vrdma
