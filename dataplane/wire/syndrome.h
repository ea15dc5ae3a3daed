// The syndrome of the AETH (IBA 9.7.5.2.1, tables 45 and 46) and the RNR timer codes in it.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/base/time.h"

namespace vrdma::wire {

enum class AethKind : uint8_t { Ack = 0, RnrNak = 1, Reserved = 2, Nak = 3 };

enum class NakCode : uint8_t {
    PsnSequenceError = 0,
    InvalidRequest = 1,
    RemoteAccessError = 2,
    RemoteOperationalError = 3,
    InvalidRdRequest = 4,
};

// The credit code that means: no end-to-end flow control. We always send it and ignore what comes.
inline constexpr uint8_t kNoCreditLimit = 0x1f;

[[nodiscard]] constexpr AethKind aeth_kind(uint8_t syndrome) {
    return static_cast<AethKind>((syndrome >> 5) & 3);
}
// Credit code, RNR timer code or NAK code.
[[nodiscard]] constexpr uint8_t aeth_value(uint8_t syndrome) {
    return syndrome & 0x1f;
}

inline constexpr uint8_t kAckSyndrome = kNoCreditLimit;
[[nodiscard]] constexpr uint8_t nak_syndrome(NakCode code) {
    return static_cast<uint8_t>(0x60 | static_cast<uint8_t>(code));
}
[[nodiscard]] constexpr uint8_t rnr_syndrome(uint8_t timer_code) {
    return static_cast<uint8_t>(0x20 | (timer_code & 0x1f));
}

namespace detail {
inline constexpr std::array<int32_t, 32> kRnrMicroseconds = {
    655360, 10,    20,    30,    40,    60,     80,     120,    160,    240,   320,
    480,    640,   960,   1280,  1920,  2560,   3840,   5120,   7680,   10240, 15360,
    20480,  30720, 40960, 61440, 81920, 122880, 163840, 245760, 327680, 491520};
}  // namespace detail

// How long the requester waits after an RNR NAK with this code (IBA table 46).
[[nodiscard]] constexpr Duration rnr_delay(uint8_t timer_code) {
    return Duration::microseconds(detail::kRnrMicroseconds[timer_code & 0x1f]);
}

}  // namespace vrdma::wire
