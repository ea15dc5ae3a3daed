// A frame is made in three steps: what an honest peer might send now (a message begins, or the one
// before goes on), then lies (another PSN, key, address, length, opcode), then flipped bits in the
// built frame. Most bytes at zero are an honest peer, so a fuzzer finds the way into the middle of
// a message, and each of its changes is one lie.
#include "tests/fuzz/request_maker.h"

#include <algorithm>

#include "dataplane/wire/crc32.h"
#include "dataplane/wire/icrc.h"

namespace vrdma::fuzz {

namespace {

using wire::Opcode;

constexpr uint8_t kUcBase = 0x20;

enum Lie : uint8_t {
    kPsnNear = 1 << 0,
    kPsnFar = 1 << 1,
    kAddress = 1 << 2,
    kKey = 1 << 3,
    kLength = 1 << 4,   // of the RETH
    kPayload = 1 << 5,  // bytes of this packet
    kOpcode = 1 << 6,
    kFlip = 1 << 7,
};

}  // namespace

void RequestMaker::go_on(wire::HeaderFields& fields, size_t& payload, bool last) {
    last = last || left_ <= peer_.path_mtu;
    payload = std::min(left_, peer_.path_mtu);
    left_ -= static_cast<uint32_t>(payload);
    const Opcode end = invalidate_ ? Opcode::RcSendLastInvalidate : Opcode::RcSendLast;
    fields.opcode = write_ ? (last ? Opcode::RcWriteLast : Opcode::RcWriteMiddle)
                           : (last ? end : Opcode::RcSendMiddle);
    if (last) {
        left_ = 0;
    }
}

void RequestMaker::begin(Tape& tape, wire::HeaderFields& fields, size_t& payload) {
    const uint32_t operation = tape.below(peer_.ud ? 2 : peer_.uc ? 4 : 8);
    const uint32_t length = std::min<uint32_t>(tape.word() % 9000, 8 * peer_.path_mtu);
    const Target& target = peer_.targets[tape.below(static_cast<uint32_t>(peer_.targets.size()))];
    const uint32_t room = target.length - std::min(length, target.length);
    const uint64_t address = target.address + (room == 0 ? 0 : tape.word() % room & ~7U);
    fields.reth = {address, target.key, length};
    fields.atomic_eth = {address, target.key, tape.byte(), tape.byte()};
    fields.imm = operation;
    invalidate_ = operation == 7;
    fields.invalidate_rkey = target.key;
    if (peer_.ud) {
        payload = std::min(length, peer_.path_mtu);
        fields.deth = {peer_.qkey, 1};
        fields.opcode = operation == 1 ? Opcode::UdSendOnlyImm : Opcode::UdSendOnly;
        return;
    }
    if (operation >= 4 && !invalidate_) {
        fields.opcode = operation == 4   ? Opcode::RcReadRequest
                        : operation == 5 ? Opcode::RcCompareSwap
                                         : Opcode::RcFetchAdd;
        return;
    }
    const bool imm = (operation & 1) != 0;
    write_ = operation >= 2 && !invalidate_;
    payload = std::min(length, peer_.path_mtu);
    left_ = length - static_cast<uint32_t>(payload);
    if (left_ > 0) {
        fields.opcode = write_ ? Opcode::RcWriteFirst : Opcode::RcSendFirst;
    } else {
        fields.opcode = write_        ? (imm ? Opcode::RcWriteOnlyImm : Opcode::RcWriteOnly)
                        : invalidate_ ? Opcode::RcSendOnlyInvalidate
                                      : (imm ? Opcode::RcSendOnlyImm : Opcode::RcSendOnly);
    }
}

void RequestMaker::flip(Tape& tape, size_t size) {
    const size_t ip = wire::kEthernetBytes;
    const size_t bth = ip + peer_.flow.bytes() - wire::kEthernetBytes;
    const size_t end = size - wire::kIcrcBytes;
    frame_[bth + tape.byte() % (end - bth)] ^= std::byte{tape.byte()};
    const size_t behind = bth + wire::kBthBytes;
    const uint32_t headers = wire::icrc_of_headers(frame_.data() + ip, peer_.flow.v6());
    wire::store_icrc(frame_.data() + end,
                     wire::crc32_update(headers, std::span(frame_).subspan(behind, end - behind)));
}

std::span<const std::byte> RequestMaker::make(Tape& tape, uint32_t expected) {
    const uint8_t lies = tape.byte();
    const uint8_t flags = tape.byte();
    wire::HeaderFields fields;
    size_t payload = 0;
    if (left_ > 0 && (flags & 1) == 0) {
        go_on(fields, payload, (flags & 2) != 0);
    } else {
        begin(tape, fields, payload);
    }
    fields.dqpn = peer_.dqpn;
    fields.psn = expected;
    fields.ack_request = (flags & 4) != 0;
    fields.solicited = (flags & 8) != 0;
    if ((lies & kPsnNear) != 0) {
        fields.psn += static_cast<uint32_t>(static_cast<int8_t>(tape.byte()));
    }
    if ((lies & kPsnFar) != 0) {
        fields.psn += uint32_t{tape.word()} << 8;
    }
    fields.psn &= wire::kMask24;
    if ((lies & kAddress) != 0) {
        const uint64_t by = uint64_t{tape.byte()} << tape.below(64);
        fields.reth.address += by;
        fields.atomic_eth.address += by;
    }
    if ((lies & kKey) != 0) {
        const uint32_t by = uint32_t{tape.byte()} << tape.below(32);
        fields.reth.rkey ^= by;
        fields.atomic_eth.rkey ^= by;
        fields.invalidate_rkey ^= by;
        fields.deth.qkey ^= by;
    }
    if ((lies & kLength) != 0) {
        fields.reth.length ^= uint32_t{tape.byte()} << tape.below(32);
    }
    if ((lies & kPayload) != 0) {
        payload = tape.word() % (wire::kMaxPayloadBytes + 1);
    }
    if (peer_.uc) {
        fields.opcode = static_cast<Opcode>(static_cast<uint8_t>(fields.opcode) + kUcBase);
    }
    if ((lies & kOpcode) != 0) {
        const auto opcode = static_cast<Opcode>(tape.byte());
        fields.opcode = wire::opcode_info(opcode).known ? opcode : fields.opcode;
    }
    if (!wire::opcode_info(fields.opcode).payload) {
        payload = 0;
    }
    const auto filling = static_cast<std::byte>(tape.byte() & 0x7f);
    std::ranges::fill(std::span(payload_).first(payload), filling);
    const size_t size =
        wire::build_frame(frame_, peer_.flow, fields, std::span(payload_).first(payload));
    if ((lies & kFlip) != 0) {
        flip(tape, size);
    }
    return std::span(frame_).first(size);
}

}  // namespace vrdma::fuzz
