// What a link counts. Written by its worker, read by jobs on it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/wire/drop_reason.h"

namespace vrdma::net {

enum class LinkCounter : uint8_t {
    RocePackets,
    ForeignDestination,
    OwnFrames,
    OtherFrames,
    ArpAnswered,
    SolicitationsAnswered,
    Solicited,
    EchoAnswered,
    EchoUnanswered,
    PathMtuReports,
    ForeignGroup,
    GroupMisaddressed,
    QueriesReceived,
    ReportsSent,
    NoBuffer,
    SendDropped,
    Count,
};
inline constexpr size_t kLinkCounterCount = static_cast<size_t>(LinkCounter::Count);

struct LinkCounterText {
    std::string_view name;
    std::string_view help;
};
[[nodiscard]] LinkCounterText link_counter_text(LinkCounter counter);

struct LinkCounters {
    std::array<uint64_t, kLinkCounterCount> value{};
    std::array<uint64_t, wire::kDropReasonCount> dropped{};  // by what was wrong with the frame

    void add(LinkCounter counter) { ++value[static_cast<size_t>(counter)]; }
    void drop(wire::DropReason reason) { ++dropped[static_cast<size_t>(reason)]; }
    [[nodiscard]] uint64_t operator[](LinkCounter counter) const {
        return value[static_cast<size_t>(counter)];
    }
};

}  // namespace vrdma::net
