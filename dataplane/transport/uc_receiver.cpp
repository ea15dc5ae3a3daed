// UC has no answers, so the receiver only decides which packets belong to a whole message (IBA
// 9.8.2.2): a gap drops the message it is in, and a first packet always begins a new one. Packets
// that are a little late are dropped, so that nothing is delivered twice; far behind means that so
// many were lost that the count wrapped, and the receiver follows the sender.
#include "dataplane/transport/uc_receiver.h"

#include <bit>

#include "dataplane/base/check.h"

namespace vrdma::transport {
namespace {

Inbound drop(DropReason reason) {
    return {.action = Inbound::Action::Drop, .reason = reason};
}

}  // namespace

void UcReceiver::reset(const UcReceiverConfig& config) {
    VR_CHECK(std::has_single_bit(config.path_mtu) && config.path_mtu >= kMinPathMtu &&
             config.path_mtu <= kMaxPathMtu);
    *this = UcReceiver{};
    config_ = config;
    expected_ = first_sequence(config.initial_psn);
}

void UcReceiver::give_up() {
    abandoned_ = abandoned_ || progress_ == Progress::InSend || progress_ == Progress::InWrite;
}

Inbound UcReceiver::drop_message(DropReason reason) {
    give_up();
    progress_ = Progress::Dropping;
    return drop(reason);
}

Inbound UcReceiver::receive(const wire::Packet& packet) {
    const wire::OpcodeInfo& info = packet.info();
    if (info.service != wire::Service::Uc) {
        return drop(DropReason::WrongService);
    }
    Sequence sequence = expand(Psn::of(packet.bth.psn), expected_);
    if (sequence < expected_) {
        if (expected_ - sequence <= kUcLatePackets) {
            return drop(DropReason::UcSequence);
        }
        sequence += uint64_t{1} << kPsnBits;
    }
    const bool gap = sequence != expected_;
    expected_ = sequence + 1;
    const bool write = info.kind == wire::Kind::Write;
    if (info.begins()) {
        give_up();
        progress_ = Progress::Between;
        offset_ = 0;
        total_ = packet.reth.length;
        address_ = packet.reth.address;
        rkey_ = packet.reth.rkey;
    } else if (gap || progress_ == Progress::Dropping) {
        return drop_message(DropReason::MessageDropped);
    } else if (progress_ != (write ? Progress::InWrite : Progress::InSend)) {
        return drop_message(DropReason::UcOpcodeSequence);
    }
    const auto length = static_cast<uint32_t>(packet.payload.size());
    const bool whole =
        info.position == wire::Position::First || info.position == wire::Position::Middle;
    const bool fits = whole ? length == config_.path_mtu
                            : length <= config_.path_mtu && (info.begins() || length > 0);
    const uint64_t end = uint64_t{offset_} + length;
    const bool announced =
        !write || (total_ <= kMaxMessageBytes && (info.ends() ? end == total_ : end < total_));
    if (!fits || !announced || end > kMaxMessageBytes) {
        return drop_message(DropReason::UcLength);
    }
    Inbound inbound{.action = Inbound::Action::Execute};
    const bool imm = info.has(wire::extension::kImm);
    inbound.operation = write ? (imm ? Operation::WriteImm : Operation::Write)
                              : (imm ? Operation::SendImm : Operation::Send);
    inbound.first = info.begins();
    inbound.last = info.ends();
    inbound.solicited = packet.bth.solicited;
    inbound.restarted = abandoned_;
    inbound.imm = packet.imm;
    inbound.offset = offset_;
    inbound.length = length;
    inbound.total = write ? total_ : static_cast<uint32_t>(end);
    inbound.remote_address = write ? address_ : 0;
    inbound.rkey = write ? rkey_ : 0;
    abandoned_ = false;
    progress_ = inbound.last ? Progress::Between : write ? Progress::InWrite : Progress::InSend;
    offset_ = static_cast<uint32_t>(end);
    return inbound;
}

void UcReceiver::executed(const ExecuteResult& result) {
    if (result.status != ExecuteStatus::Ok && progress_ != Progress::Between) {
        progress_ = Progress::Dropping;
    }
}

}  // namespace vrdma::transport
