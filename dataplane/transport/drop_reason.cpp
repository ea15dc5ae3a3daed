// Names and texts of the reasons, in one table beside the enumeration: metrics and `vrdmactl
// counters` take both from here, so that a new reason cannot be without them.
#include "dataplane/transport/drop_reason.h"

#include <array>

namespace vrdma::transport {
namespace {

struct Text {
    DropReason reason;
    std::string_view name;
    std::string_view text;
};

constexpr std::array<Text, kDropReasonCount> kTexts = {{
    {DropReason::None, "none", "not dropped"},
    {DropReason::WrongService, "wrong_service", "opcode of another service than the queue pair's"},
    {DropReason::NotForRequester, "not_for_requester", "request where a response was expected"},
    {DropReason::NotForResponder, "not_for_responder", "response where a request was expected"},
    {DropReason::Failed, "failed", "the queue pair has failed"},
    {DropReason::PsnOutsideWindow, "psn_outside_window", "PSN beyond what can have been sent"},
    {DropReason::PsnAhead, "psn_ahead", "out of order, and not held"},
    {DropReason::Duplicate, "duplicate", "known already"},
    {DropReason::StaleAcknowledge, "stale_acknowledge", "acknowledges what was acknowledged"},
    {DropReason::GhostAcknowledge, "ghost_acknowledge", "acknowledges what was never sent"},
    {DropReason::ReservedSyndrome, "reserved_syndrome", "AETH syndrome without a meaning"},
    {DropReason::RnrWait, "rnr_wait", "sequence-error NAK while the receiver's RNR time runs"},
    {DropReason::ResponseUnexpected, "response_unexpected",
     "response at a PSN where none, or another kind, is due"},
    {DropReason::ResponseOpcode, "response_opcode",
     "READ response opcode that does not fit its place"},
    {DropReason::ResponseLength, "response_length",
     "READ response payload that does not fit its place"},
    {DropReason::AtomicForgotten, "atomic_forgotten",
     "duplicate atomic whose result is no longer kept"},
    {DropReason::ReplayFull, "replay_full", "duplicate READ while all resources are in use"},
    {DropReason::ReplayRange, "replay_range", "duplicate READ beyond what was requested before"},
    {DropReason::MessageDropped, "message_dropped", "UC: rest of a message that lost a packet"},
    {DropReason::UcSequence, "uc_sequence", "UC: late packet or duplicate"},
    {DropReason::UcOpcodeSequence, "uc_opcode_sequence", "UC: middle or last without a first"},
    {DropReason::UcLength, "uc_length", "UC: payload that does not fit its place in the message"},
}};

constexpr bool in_order() {
    for (size_t i = 0; i < kTexts.size(); ++i) {
        if (static_cast<size_t>(kTexts[i].reason) != i || kTexts[i].name.empty()) {
            return false;
        }
    }
    return true;
}
static_assert(in_order(), "one line for each reason, in the order of the enumeration");

}  // namespace

std::string_view drop_reason_name(DropReason reason) {
    return kTexts[static_cast<size_t>(reason)].name;
}

std::string_view drop_reason_text(DropReason reason) {
    return kTexts[static_cast<size_t>(reason)].text;
}

}  // namespace vrdma::transport
