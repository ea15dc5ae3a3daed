// What connection management with other hosts counts, for each port.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/wire/drop_reason.h"

namespace vrdma::app {

enum class CmCounter : uint8_t {
    Received,
    Sent,
    Repeated,
    TimedOut,
    Duplicates,
    DroppedVnic,
    DroppedOwnAddress,
    DroppedUnknown,
    DroppedNotPeer,
    DroppedState,
    RefusedTransport,
    RefusedGid,
    RefusedService,
    RefusedHeader,
    RefusedMtu,
    RefusedQpn,
    RefusedStale,
    RefusedFull,
    Count,
};
inline constexpr size_t kCmCounterCount = static_cast<size_t>(CmCounter::Count);

struct CmCounterText {
    std::string_view name;
    std::string_view help;
};
[[nodiscard]] CmCounterText cm_counter_text(CmCounter counter);

struct CmCounters {
    std::array<uint64_t, kCmCounterCount> value{};
    std::array<uint64_t, wire::kDropReasonCount> dropped{};  // malformed messages

    void add(CmCounter counter) { ++value[static_cast<size_t>(counter)]; }
    void drop(wire::DropReason reason) { ++dropped[static_cast<size_t>(reason)]; }
    [[nodiscard]] uint64_t operator[](CmCounter counter) const {
        return value[static_cast<size_t>(counter)];
    }
};

}  // namespace vrdma::app
