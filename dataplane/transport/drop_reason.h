// Why a well-formed packet of the right queue pair changed nothing. Every check has its own value,
// and every value its counter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vrdma::transport {

enum class DropReason : uint8_t {
    None,                // not dropped
    WrongService,        // an opcode of another service than the queue pair's
    NotForRequester,     // a request arrived at a requester
    NotForResponder,     // a response arrived at a responder
    Failed,              // this side has failed and takes nothing any more
    PsnOutsideWindow,    // ahead of everything that can have been sent or may be held
    PsnAhead,            // out of order, and not held; the sender will repeat it
    Duplicate,           // known already; acknowledged again where the protocol asks for it
    StaleAcknowledge,    // acknowledges what was acknowledged before
    GhostAcknowledge,    // acknowledges what was never sent
    ReservedSyndrome,    // AETH syndrome or NAK code without a meaning
    RnrWait,             // a sequence-error NAK while the receiver's RNR time runs
    ResponseUnexpected,  // no READ or atomic waits at this PSN, or one of the other kind
    ResponseOpcode,      // first, middle, last or only does not fit the place in the READ
    ResponseLength,      // payload of the wrong length for its place in the READ
    AtomicForgotten,     // a duplicate atomic whose result is no longer kept
    ReplayFull,          // a duplicate READ while all responder resources are in use
    ReplayRange,         // a duplicate READ that reaches beyond what was requested before
    MessageDropped,      // UC: the rest of a message that lost a packet
    UcSequence,          // UC: a late packet or a duplicate
    UcOpcodeSequence,    // UC: middle or last without a first
    UcLength,            // UC: payload of the wrong length for its place in the message
    kCount,
};

inline constexpr size_t kDropReasonCount = static_cast<size_t>(DropReason::kCount);

// The counter's name: "psn_ahead", ...
[[nodiscard]] std::string_view drop_reason_name(DropReason reason);
// One line for people.
[[nodiscard]] std::string_view drop_reason_text(DropReason reason);

}  // namespace vrdma::transport
