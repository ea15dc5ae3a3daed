// The BTH opcodes we speak, and what each of them says about its packet (IBA 9.2.1, table 38;
// annexes A16 and A17 for RoCE).
//
// An opcode that is not in the table is unknown and its packet is dropped. 0xC0-0xFF is
// manufacturer specific: Probe and Sack are ours, spoken only to a peer that answered a Probe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vrdma::wire {

enum class Opcode : uint8_t {
    RcSendFirst = 0x00,
    RcSendMiddle = 0x01,
    RcSendLast = 0x02,
    RcSendLastImm = 0x03,
    RcSendOnly = 0x04,
    RcSendOnlyImm = 0x05,
    RcWriteFirst = 0x06,
    RcWriteMiddle = 0x07,
    RcWriteLast = 0x08,
    RcWriteLastImm = 0x09,
    RcWriteOnly = 0x0a,
    RcWriteOnlyImm = 0x0b,
    RcReadRequest = 0x0c,
    RcReadResponseFirst = 0x0d,
    RcReadResponseMiddle = 0x0e,
    RcReadResponseLast = 0x0f,
    RcReadResponseOnly = 0x10,
    RcAcknowledge = 0x11,
    RcAtomicAcknowledge = 0x12,
    RcCompareSwap = 0x13,
    RcFetchAdd = 0x14,
    RcSendLastInvalidate = 0x16,
    RcSendOnlyInvalidate = 0x17,

    UcSendFirst = 0x20,
    UcSendMiddle = 0x21,
    UcSendLast = 0x22,
    UcSendLastImm = 0x23,
    UcSendOnly = 0x24,
    UcSendOnlyImm = 0x25,
    UcWriteFirst = 0x26,
    UcWriteMiddle = 0x27,
    UcWriteLast = 0x28,
    UcWriteLastImm = 0x29,
    UcWriteOnly = 0x2a,
    UcWriteOnlyImm = 0x2b,

    UdSendOnly = 0x64,
    UdSendOnlyImm = 0x65,

    Cnp = 0x81,

    // XRC (annex A14): what the RC opcode kXrc below says, for an SRQ of the responder's domain.
    XrcSendFirst = 0xa0,
    XrcSendMiddle = 0xa1,
    XrcSendLast = 0xa2,
    XrcSendLastImm = 0xa3,
    XrcSendOnly = 0xa4,
    XrcSendOnlyImm = 0xa5,
    XrcWriteFirst = 0xa6,
    XrcWriteMiddle = 0xa7,
    XrcWriteLast = 0xa8,
    XrcWriteLastImm = 0xa9,
    XrcWriteOnly = 0xaa,
    XrcWriteOnlyImm = 0xab,
    XrcReadRequest = 0xac,
    XrcReadResponseFirst = 0xad,
    XrcReadResponseMiddle = 0xae,
    XrcReadResponseLast = 0xaf,
    XrcReadResponseOnly = 0xb0,
    XrcAcknowledge = 0xb1,
    XrcAtomicAcknowledge = 0xb2,
    XrcCompareSwap = 0xb3,
    XrcFetchAdd = 0xb4,
    XrcSendLastInvalidate = 0xb6,
    XrcSendOnlyInvalidate = 0xb7,

    Probe = 0xc0,
    Sack = 0xc1,
};

enum class Service : uint8_t { Rc, Uc, Ud, Xrc, Other };

inline constexpr uint8_t kXrc = 0xa0;  // the upper three bits of XRC's opcodes
inline constexpr uint8_t kServiceBits = 0xe0;

enum class Position : uint8_t { Only, First, Middle, Last };

enum class Kind : uint8_t {
    Send,
    Write,
    ReadRequest,
    Atomic,  // compare-and-swap and fetch-and-add
    ReadResponse,
    Acknowledge,
    AtomicAcknowledge,
    Cnp,
    Probe,
    Sack,
};

// Extension headers, in the order in which they lie on the wire.
namespace extension {
inline constexpr uint16_t kDeth = 1 << 0;
inline constexpr uint16_t kReth = 1 << 1;
inline constexpr uint16_t kAtomicEth = 1 << 2;
inline constexpr uint16_t kAeth = 1 << 3;
inline constexpr uint16_t kAtomicAckEth = 1 << 4;
inline constexpr uint16_t kImm = 1 << 5;
inline constexpr uint16_t kIeth = 1 << 6;
inline constexpr uint16_t kCnpReserved = 1 << 7;
inline constexpr uint16_t kSackEth = 1 << 8;
inline constexpr uint16_t kProbeEth = 1 << 9;
inline constexpr uint16_t kXrcEth = 1 << 10;  // lies before all others
}  // namespace extension

inline constexpr size_t kEthernetBytes = 14;
inline constexpr size_t kVlanBytes = 4;
inline constexpr size_t kIpv4Bytes = 20;
inline constexpr size_t kIpv6Bytes = 40;
inline constexpr size_t kUdpBytes = 8;
inline constexpr size_t kBthBytes = 12;
inline constexpr size_t kDethBytes = 8;
inline constexpr size_t kRethBytes = 16;
inline constexpr size_t kAtomicEthBytes = 28;
inline constexpr size_t kAethBytes = 4;
inline constexpr size_t kAtomicAckEthBytes = 8;
inline constexpr size_t kImmBytes = 4;
inline constexpr size_t kIethBytes = 4;
inline constexpr size_t kCnpReservedBytes = 16;
inline constexpr size_t kSackEthBytes = 52;
inline constexpr size_t kProbeEthBytes = 32;
inline constexpr size_t kXrcEthBytes = 4;
inline constexpr size_t kIcrcBytes = 4;

inline constexpr size_t kMaxPayloadBytes = 4096;  // the largest path MTU of IBA
inline constexpr uint32_t kMask24 = 0xffffff;     // PSN, QPN, MSN
inline constexpr uint32_t kGroupQpn = 0xffffff;   // where datagrams to a group go (IBA 9.6.1.2)

[[nodiscard]] constexpr size_t extension_bytes(uint16_t extensions) {
    using namespace extension;
    return ((extensions & kDeth) != 0 ? kDethBytes : 0) +
           ((extensions & kReth) != 0 ? kRethBytes : 0) +
           ((extensions & kAtomicEth) != 0 ? kAtomicEthBytes : 0) +
           ((extensions & kAeth) != 0 ? kAethBytes : 0) +
           ((extensions & kAtomicAckEth) != 0 ? kAtomicAckEthBytes : 0) +
           ((extensions & kImm) != 0 ? kImmBytes : 0) +
           ((extensions & kIeth) != 0 ? kIethBytes : 0) +
           ((extensions & kCnpReserved) != 0 ? kCnpReservedBytes : 0) +
           ((extensions & kSackEth) != 0 ? kSackEthBytes : 0) +
           ((extensions & kProbeEth) != 0 ? kProbeEthBytes : 0) +
           ((extensions & kXrcEth) != 0 ? kXrcEthBytes : 0);
}

struct OpcodeInfo {
    uint16_t extensions = 0;  // bits of namespace extension
    Service service = Service::Other;
    Kind kind = Kind::Send;
    Position position = Position::Only;
    bool known = false;
    bool payload = false;        // carries payload (which may be empty only where IBA allows it)
    bool needs_receive = false;  // consumes a receive entry of the responder (at First/Only for
                                 // sends, at Last/Only for writes with immediate data)
    uint8_t extension_bytes = 0;

    // From a requester to a responder; the others answer or stand alone.
    [[nodiscard]] constexpr bool request() const {
        return kind == Kind::Send || kind == Kind::Write || kind == Kind::ReadRequest ||
               kind == Kind::Atomic;
    }
    [[nodiscard]] constexpr bool has(uint16_t wanted) const { return (extensions & wanted) != 0; }
    [[nodiscard]] constexpr bool begins() const {
        return position == Position::First || position == Position::Only;
    }
    [[nodiscard]] constexpr bool ends() const {
        return position == Position::Last || position == Position::Only;
    }
};

namespace detail {

struct OpcodeTable {
    std::array<OpcodeInfo, 256> entries{};

    constexpr void add(Opcode opcode, Service service, Kind kind, Position position,
                       uint16_t extensions, bool payload, bool needs_receive = false) {
        entries[static_cast<uint8_t>(opcode)] = {
            .extensions = extensions,
            .service = service,
            .kind = kind,
            .position = position,
            .known = true,
            .payload = payload,
            .needs_receive = needs_receive,
            .extension_bytes = static_cast<uint8_t>(extension_bytes(extensions)),
        };
    }
    // XRC from RC: every request names an SRQ (annex A14).
    constexpr void add_xrc() {
        for (uint8_t low = 0; low < 0x20; ++low) {
            const OpcodeInfo& rc = entries[low];
            if (rc.known) {
                const uint16_t more = rc.request() ? extension::kXrcEth : uint16_t{0};
                add(static_cast<Opcode>(kXrc | low), Service::Xrc, rc.kind, rc.position,
                    rc.extensions | more, rc.payload, rc.needs_receive);
            }
        }
    }
};

constexpr OpcodeTable make_opcode_table() {
    using namespace extension;
    using enum Position;
    constexpr bool kPayload = true;
    constexpr bool kNone = false;
    constexpr bool kReceive = true;
    OpcodeTable t;
    const Service rc = Service::Rc;
    t.add(Opcode::RcSendFirst, rc, Kind::Send, First, 0, kPayload, kReceive);
    t.add(Opcode::RcSendMiddle, rc, Kind::Send, Middle, 0, kPayload);
    t.add(Opcode::RcSendLast, rc, Kind::Send, Last, 0, kPayload);
    t.add(Opcode::RcSendLastImm, rc, Kind::Send, Last, kImm, kPayload);
    t.add(Opcode::RcSendOnly, rc, Kind::Send, Only, 0, kPayload, kReceive);
    t.add(Opcode::RcSendOnlyImm, rc, Kind::Send, Only, kImm, kPayload, kReceive);
    t.add(Opcode::RcWriteFirst, rc, Kind::Write, First, kReth, kPayload);
    t.add(Opcode::RcWriteMiddle, rc, Kind::Write, Middle, 0, kPayload);
    t.add(Opcode::RcWriteLast, rc, Kind::Write, Last, 0, kPayload);
    t.add(Opcode::RcWriteLastImm, rc, Kind::Write, Last, kImm, kPayload, kReceive);
    t.add(Opcode::RcWriteOnly, rc, Kind::Write, Only, kReth, kPayload);
    t.add(Opcode::RcWriteOnlyImm, rc, Kind::Write, Only, kReth | kImm, kPayload, kReceive);
    t.add(Opcode::RcReadRequest, rc, Kind::ReadRequest, Only, kReth, kNone);
    t.add(Opcode::RcReadResponseFirst, rc, Kind::ReadResponse, First, kAeth, kPayload);
    t.add(Opcode::RcReadResponseMiddle, rc, Kind::ReadResponse, Middle, 0, kPayload);
    t.add(Opcode::RcReadResponseLast, rc, Kind::ReadResponse, Last, kAeth, kPayload);
    t.add(Opcode::RcReadResponseOnly, rc, Kind::ReadResponse, Only, kAeth, kPayload);
    t.add(Opcode::RcAcknowledge, rc, Kind::Acknowledge, Only, kAeth, kNone);
    t.add(Opcode::RcAtomicAcknowledge, rc, Kind::AtomicAcknowledge, Only, kAeth | kAtomicAckEth,
          kNone);
    t.add(Opcode::RcCompareSwap, rc, Kind::Atomic, Only, kAtomicEth, kNone);
    t.add(Opcode::RcFetchAdd, rc, Kind::Atomic, Only, kAtomicEth, kNone);
    t.add(Opcode::RcSendLastInvalidate, rc, Kind::Send, Last, kIeth, kPayload);
    t.add(Opcode::RcSendOnlyInvalidate, rc, Kind::Send, Only, kIeth, kPayload, kReceive);

    t.add_xrc();

    const Service uc = Service::Uc;
    t.add(Opcode::UcSendFirst, uc, Kind::Send, First, 0, kPayload, kReceive);
    t.add(Opcode::UcSendMiddle, uc, Kind::Send, Middle, 0, kPayload);
    t.add(Opcode::UcSendLast, uc, Kind::Send, Last, 0, kPayload);
    t.add(Opcode::UcSendLastImm, uc, Kind::Send, Last, kImm, kPayload);
    t.add(Opcode::UcSendOnly, uc, Kind::Send, Only, 0, kPayload, kReceive);
    t.add(Opcode::UcSendOnlyImm, uc, Kind::Send, Only, kImm, kPayload, kReceive);
    t.add(Opcode::UcWriteFirst, uc, Kind::Write, First, kReth, kPayload);
    t.add(Opcode::UcWriteMiddle, uc, Kind::Write, Middle, 0, kPayload);
    t.add(Opcode::UcWriteLast, uc, Kind::Write, Last, 0, kPayload);
    t.add(Opcode::UcWriteLastImm, uc, Kind::Write, Last, kImm, kPayload, kReceive);
    t.add(Opcode::UcWriteOnly, uc, Kind::Write, Only, kReth, kPayload);
    t.add(Opcode::UcWriteOnlyImm, uc, Kind::Write, Only, kReth | kImm, kPayload, kReceive);

    const Service ud = Service::Ud;
    t.add(Opcode::UdSendOnly, ud, Kind::Send, Only, kDeth, kPayload, kReceive);
    t.add(Opcode::UdSendOnlyImm, ud, Kind::Send, Only, kDeth | kImm, kPayload, kReceive);

    const Service other = Service::Other;
    t.add(Opcode::Cnp, other, Kind::Cnp, Only, kCnpReserved, kNone);
    t.add(Opcode::Probe, other, Kind::Probe, Only, kProbeEth, kNone);
    t.add(Opcode::Sack, other, Kind::Sack, Only, kAeth | kSackEth, kNone);
    return t;
}

inline constexpr OpcodeTable kOpcodeTable = make_opcode_table();

}  // namespace detail

// What an opcode says; `known` is false for one that we do not speak.
[[nodiscard]] constexpr const OpcodeInfo& opcode_info(uint8_t opcode) {
    return detail::kOpcodeTable.entries[opcode];
}
[[nodiscard]] constexpr const OpcodeInfo& opcode_info(Opcode opcode) {
    return opcode_info(static_cast<uint8_t>(opcode));
}

// The RC opcode that says the same, and back. For opcodes of RC and XRC.
[[nodiscard]] constexpr Opcode rc_of(Opcode xrc) {
    return static_cast<Opcode>(static_cast<uint8_t>(xrc) & ~kServiceBits);
}
[[nodiscard]] constexpr Opcode xrc_of(Opcode rc) {
    return static_cast<Opcode>(static_cast<uint8_t>(rc) | kXrc);
}

}  // namespace vrdma::wire
