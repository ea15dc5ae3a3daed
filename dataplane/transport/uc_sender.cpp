// One message at a time is cut into packets; nobody will ask for any of them again, so the message
// is complete with its last packet. A message that fails half-way leaves its numbers unused: the
// receiver sees a middle packet and then a first one, and drops the message as UC does with every
// message that lost a packet.
#include "dataplane/transport/uc_sender.h"

#include <algorithm>
#include <bit>

#include "dataplane/base/check.h"

namespace vrdma::transport {
namespace {

constexpr wire::Opcode opcode(Operation operation, bool first, bool last) {
    using wire::Opcode;
    if (is_write(operation)) {
        if (last) {
            return has_imm(operation) ? (first ? Opcode::UcWriteOnlyImm : Opcode::UcWriteLastImm)
                                      : (first ? Opcode::UcWriteOnly : Opcode::UcWriteLast);
        }
        return first ? Opcode::UcWriteFirst : Opcode::UcWriteMiddle;
    }
    if (last) {
        return has_imm(operation) ? (first ? Opcode::UcSendOnlyImm : Opcode::UcSendLastImm)
                                  : (first ? Opcode::UcSendOnly : Opcode::UcSendLast);
    }
    return first ? Opcode::UcSendFirst : Opcode::UcSendMiddle;
}

}  // namespace

void UcSender::reset(const UcSenderConfig& config) {
    VR_CHECK(std::has_single_bit(config.path_mtu) && config.path_mtu >= kMinPathMtu &&
             config.path_mtu <= kMaxPathMtu);
    *this = UcSender{};
    config_ = config;
    next_ = first_sequence(config.initial_psn);
}

void UcSender::post(const Message& message) {
    VR_CHECK(can_post() && !has_response(message.operation) && message.length <= kMaxMessageBytes);
    message_ = message;
    offset_ = 0;
    posted_ = true;
}

bool UcSender::poll_transmit(PacketPlan& plan) {
    if (!posted_) {
        return false;
    }
    const bool first = offset_ == 0;
    plan.length = std::min(message_.length - offset_, config_.path_mtu);
    const bool last = offset_ + plan.length == message_.length;
    plan.message_id = message_.id;
    plan.offset = offset_;
    plan.source = plan.length > 0 ? PayloadSource::Message : PayloadSource::None;
    plan.fields.opcode = opcode(message_.operation, first, last);
    plan.fields.dqpn = config_.destination_qpn;
    plan.fields.psn = psn_of(next_).value;
    if (first && is_write(message_.operation)) {
        plan.fields.reth = {message_.remote_address, message_.rkey, message_.length};
    }
    if (last) {
        plan.fields.imm = message_.imm;
        plan.fields.solicited = message_.solicited;
    }
    ++next_;
    offset_ += plan.length;
    if (last) {
        posted_ = false;
        completed_ = true;
        completion_ = {message_.id, CompletionStatus::Success};
    }
    return true;
}

void UcSender::fail_message(uint32_t id, CompletionStatus status) {
    if ((posted_ || completed_) && message_.id == id) {
        posted_ = false;
        completed_ = true;
        completion_ = {id, status};
    }
}

std::optional<Completion> UcSender::poll_completion() {
    if (!completed_) {
        return std::nullopt;
    }
    completed_ = false;
    return completion_;
}

}  // namespace vrdma::transport
