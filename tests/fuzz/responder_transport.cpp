// transport::RcResponder and UcReceiver before a model of what they may say: it keeps its own count
// of the PSN that is due, of the message in progress and of the messages done, and compares each
// verdict and each answer with it.
#include <map>
#include <optional>
#include <vector>

#include "dataplane/base/check.h"
#include "dataplane/transport/rc_responder.h"
#include "dataplane/transport/uc_receiver.h"
#include "dataplane/wire/parse.h"
#include "tests/fuzz/request_maker.h"
#include "tests/fuzz/responder.h"

namespace vrdma::fuzz {

namespace {

using transport::ExecuteStatus;
using transport::Inbound;
using transport::Operation;
using transport::Psn;
using Action = Inbound::Action;

constexpr uint32_t kKey = 0x4711;
constexpr uint64_t kAddress = 0x7f0000001000;
constexpr uint32_t kBytes = 20000;

Peer peer_of(Tape& tape, bool uc) {
    wire::Flow flow;
    flow.source = wire::Address::v4(10, 0, 0, 1);
    flow.destination = wire::Address::v4(10, 0, 0, 2);
    flow.ecn = (tape.byte() & 1) != 0 ? wire::Ecn::Experienced : wire::Ecn::Capable0;
    return {.uc = uc,
            .path_mtu = 256U << tape.below(5),
            .dqpn = 17,
            .flow = wire::FlowTemplate(flow),
            .targets = {{kAddress, kKey, kBytes}}};
}

bool is_send(const Inbound& in) {
    return in.operation == Operation::Send || in.operation == Operation::SendImm ||
           in.operation == Operation::SendInvalidate;
}

// What the owner of the memory does with a verdict. The place of each packet in its message is
// checked here: from the offset it gets its address.
class Memory {
  public:
    ExecuteStatus execute(const Inbound& in, std::span<const std::byte> payload, Tape& tape) {
        if (in.first) {
            VR_CHECK(in.offset == 0);
        } else {
            VR_CHECK(open_ && in.offset == next_ && is_send(in) == is_send(*open_));
            if (!is_send(in)) {
                VR_CHECK(in.remote_address == open_->remote_address && in.rkey == open_->rkey &&
                         in.total == open_->total);
            }
        }
        if (in.operation != Operation::Read && !transport::is_atomic(in.operation)) {
            VR_CHECK(in.length == payload.size() && in.total <= transport::kMaxMessageBytes);
            VR_CHECK(in.offset <= in.total && in.length <= in.total - in.offset);
            VR_CHECK(!in.last || in.offset + in.length == in.total);
        } else {
            VR_CHECK(in.first && in.last && payload.empty());
            VR_CHECK(in.operation == Operation::Read || in.remote_address % 8 == 0);
        }
        const ExecuteStatus status = judge(in, tape.byte());
        open_.reset();
        if (status == ExecuteStatus::Ok && !in.last) {
            open_ = in;
            next_ = in.offset + in.length;
        }
        return status;
    }
    void give_up() { open_.reset(); }
    // Refused with RNR: nothing has changed.
    void keep(std::optional<Inbound> open) { open_ = open; }
    [[nodiscard]] const std::optional<Inbound>& open() const { return open_; }

  private:
    static ExecuteStatus judge(const Inbound& in, uint8_t chance) {
        const bool takes =
            (is_send(in) && in.first) || (in.operation == Operation::WriteImm && in.last);
        if (takes && (chance & 7) == 7) {
            return ExecuteStatus::ReceiverNotReady;
        }
        if (is_send(in) || in.total == 0) {
            return (chance & 0xf8) == 0xf8 ? ExecuteStatus::NakRemoteOperational
                                           : ExecuteStatus::Ok;
        }
        const bool inside = in.rkey == kKey && in.remote_address >= kAddress &&
                            in.remote_address - kAddress <= kBytes &&
                            in.total <= kBytes - (in.remote_address - kAddress);
        return inside ? ExecuteStatus::Ok : ExecuteStatus::NakRemoteAccess;
    }

    std::optional<Inbound> open_;
    uint32_t next_ = 0;
};

class RcModel {
  public:
    RcModel(Tape& tape, const Peer& peer)
        : tape_(tape), peer_(peer), vrdma_((tape.byte() & 1) != 0) {
        expected_ = (0U - tape.byte()) & transport::kPsnMask;
        responder_.reset(
            {.peer = vrdma_ ? transport::PeerKind::Vrdma : transport::PeerKind::Standard,
             .destination_qpn = 99,
             .initial_psn = Psn::of(expected_),
             .path_mtu = peer.path_mtu,
             .max_dest_rd_atomic = static_cast<uint8_t>(tape.below(17))});
    }

    void run() {
        RequestMaker maker(peer_);
        for (int i = 0; i < 400 && !tape_.at_end(); ++i) {
            const std::span<const std::byte> bytes = maker.make(tape_, expected_);
            const std::vector<std::byte> frame(bytes.begin(), bytes.end());
            const auto packet = wire::parse(frame);
            if (!packet) {
                continue;
            }
            receive(*packet, frame);
            while (const auto handle = responder_.next_held()) {
                const auto held = held_.find(*handle);
                VR_CHECK(held != held_.end());  // it was held, and is given back once
                const std::vector<std::byte> again = std::move(held->second);
                held_.erase(held);
                const auto parsed = wire::parse(again);
                VR_CHECK(parsed && parsed->bth.psn == expected_);
                receive(*parsed, again);
            }
            now_ = now_ + Duration::microseconds(tape_.byte());
            if ((tape_.byte() & 3) != 3) {
                answer();
            }
        }
        answer();
        while (const auto handle = responder_.discard_held()) {
            VR_CHECK(held_.erase(*handle) == 1);
        }
        VR_CHECK(held_.empty());
    }

  private:
    [[nodiscard]] uint32_t ahead(uint32_t psn) const { return (psn - expected_) & wire::kMask24; }

    void receive(const wire::Packet& packet, const std::vector<std::byte>& frame) {
        const bool failed = responder_.failed();
        const Inbound in = responder_.receive(packet, now_);
        VR_CHECK((in.action == Action::Drop) == (in.reason != transport::DropReason::None));
        const uint32_t distance = ahead(packet.bth.psn);
        switch (in.action) {
            case Action::Nothing:
                VR_CHECK(responder_.failed() && !failed);
                break;
            case Action::Drop:
                break;
            case Action::Hold:
                VR_CHECK(!failed && distance > 0 && distance < transport::kWindowPackets);
                held_[++handle_] = frame;
                responder_.hold(in.sequence, handle_);
                break;
            case Action::Reexecute:
                VR_CHECK(!failed && distance >= 1U << 23 && in.operation == Operation::Read);
                responder_.executed({.status = Memory().execute(in, packet.payload, tape_)});
                break;
            case Action::Execute:
                VR_CHECK(!failed && distance == 0);
                execute(in, packet.payload);
                break;
        }
    }

    void execute(const Inbound& in, std::span<const std::byte> payload) {
        const std::optional<Inbound> before = memory_.open();
        VR_CHECK(in.first == !before.has_value());
        const ExecuteStatus status = memory_.execute(in, payload, tape_);
        responder_.executed({.status = status, .rnr_timer = 1, .original = 5});
        if (status == ExecuteStatus::ReceiverNotReady) {
            memory_.keep(before);
            return;
        }
        VR_CHECK(responder_.failed() == (status != ExecuteStatus::Ok));
        if (status != ExecuteStatus::Ok) {
            return;
        }
        const uint32_t packets = in.operation == Operation::Read && in.length > 0
                                     ? (in.length - 1) / peer_.path_mtu + 1
                                     : 1;
        expected_ = (expected_ + packets) & wire::kMask24;
        done_ = (done_ + (in.last ? 1 : 0)) & wire::kMask24;
    }

    void answer() {
        for (int i = 0; i < 64; ++i) {
            const auto plan = responder_.poll_transmit(now_);
            if (!plan) {
                return;
            }
            const wire::OpcodeInfo& info = wire::opcode_info(plan->fields.opcode);
            VR_CHECK(!info.request() && plan->fields.dqpn == 99);
            if (info.has(wire::extension::kAeth) && info.kind != wire::Kind::ReadResponse &&
                info.kind != wire::Kind::AtomicAcknowledge) {
                VR_CHECK(plan->fields.aeth.msn == done_);
                const bool ack = wire::aeth_kind(plan->fields.aeth.syndrome) == wire::AethKind::Ack;
                VR_CHECK(!ack || ahead(plan->fields.psn) == wire::kMask24);
            }
            if (info.kind == wire::Kind::Sack) {
                VR_CHECK(vrdma_ && plan->fields.sack.base_psn == expected_);
            }
            if (plan->source == transport::PayloadSource::Memory) {
                VR_CHECK(plan->rkey == kKey && plan->length <= peer_.path_mtu);
                VR_CHECK(plan->address >= kAddress && plan->address - kAddress <= kBytes &&
                         plan->length <= kBytes - (plan->address - kAddress));
                if ((tape_.byte() & 0x3f) == 0x3f) {
                    responder_.response_failed(ExecuteStatus::NakRemoteAccess);
                    VR_CHECK(responder_.failed());
                }
            }
        }
    }

    Tape& tape_;
    const Peer& peer_;
    bool vrdma_;
    transport::RcResponder responder_;
    Memory memory_;
    Instant now_{1'000'000};
    uint32_t expected_ = 0;
    uint32_t done_ = 0;
    uint32_t handle_ = 0;
    std::map<uint32_t, std::vector<std::byte>> held_;
};

void run_uc(Tape& tape, const Peer& peer) {
    transport::UcReceiver receiver;
    uint32_t expected = (0U - tape.byte()) & transport::kPsnMask;
    receiver.reset({.initial_psn = Psn::of(expected), .path_mtu = peer.path_mtu});
    RequestMaker maker(peer);
    Memory memory;
    for (int i = 0; i < 400 && !tape.at_end(); ++i) {
        const auto packet = wire::parse(maker.make(tape, expected));
        if (!packet) {
            continue;
        }
        const Inbound in = receiver.receive(*packet);
        VR_CHECK(in.action == Action::Execute || in.action == Action::Drop);
        VR_CHECK((in.action == Action::Drop) == (in.reason != transport::DropReason::None));
        const uint32_t behind = (expected - packet->bth.psn) & wire::kMask24;
        if (in.action == Action::Drop) {
            if (in.reason != transport::DropReason::UcSequence &&
                in.reason != transport::DropReason::WrongService) {
                expected = (packet->bth.psn + 1) & wire::kMask24;
                VR_CHECK(behind == 0 || behind > transport::kUcLatePackets);
            }
            continue;
        }
        VR_CHECK(behind == 0 || behind > transport::kUcLatePackets);
        VR_CHECK(in.first || (behind == 0 && memory.open()));
        VR_CHECK(!in.restarted || in.first);
        expected = (packet->bth.psn + 1) & wire::kMask24;
        receiver.executed({.status = memory.execute(in, packet->payload, tape)});
    }
}

}  // namespace

void fuzz_transport(Tape& tape, bool uc) {
    const Peer peer = peer_of(tape, uc);
    if (uc) {
        run_uc(tape, peer);
    } else {
        RcModel(tape, peer).run();
    }
}

}  // namespace vrdma::fuzz
