// Messages of InfiniBand's communication management (IBA 12.6) in management datagrams (13.4), and
// the header with which rdma_cm carries IP addresses in them (annex A11).
//
// One struct for all: a field has a meaning only for the attributes that its comment names, and is
// zero in others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/wire/address.h"
#include "dataplane/wire/drop_reason.h"

namespace vrdma::wire {

inline constexpr size_t kMadBytes = 256;
inline constexpr uint32_t kGsiQpn = 1;
inline constexpr uint32_t kGsiQkey = 0x80010000;  // IBA 10.2.4.3

enum class CmAttribute : uint16_t {
    Req = 0x10,
    Mra = 0x11,
    Rej = 0x12,
    Rep = 0x13,
    Rtu = 0x14,
    Dreq = 0x15,
    Drep = 0x16,
    SidrReq = 0x17,
    SidrRep = 0x18,
};

// The message that an MRA or a REJ is about (IBA 12.6.6, 12.6.7).
enum class CmAbout : uint8_t { Req = 0, Rep = 1, Other = 2 };

// Reasons of a REJ (IBA 12.6.7.2) that somebody here tells or looks at.
enum class CmReason : uint16_t {
    NoResources = 3,
    Timeout = 4,
    Unsupported = 5,
    InvalidCommId = 6,
    InvalidServiceId = 8,
    InvalidTransport = 9,
    StaleConnection = 10,
    InvalidGid = 12,
    InvalidMtu = 26,
    Consumer = 28,
};

// Of a SIDR_REP (IBA 12.11.2).
enum class SidrStatus : uint8_t { Valid = 0, Unsupported = 1, Rejected = 2 };

inline constexpr uint8_t kCmTransportRc = 0;
inline constexpr size_t kMostCmPrivateBytes = 224;
inline constexpr size_t kMostCmInfoBytes = 72;

struct CmMessage {
    CmAttribute attribute = CmAttribute::Req;
    uint64_t transaction = 0;
    uint32_t local_id = 0;                 // the sender's communication id; SIDR: the request id
    uint32_t remote_id = 0;                // the receiver's; not REQ, SIDR
    uint64_t service_id = 0;               // REQ, SIDR
    uint64_t ca_guid = 0;                  // REQ, REP
    uint32_t qkey = 0;                     // REQ, REP, SIDR_REP
    uint32_t qpn = 0;                      // REQ, REP, SIDR_REP: the sender's; DREQ: the receiver's
    uint32_t psn = 0;                      // REQ, REP: the first that the receiver of it shall send
    uint8_t responder_resources = 0;       // REQ, REP
    uint8_t initiator_depth = 0;           // REQ, REP
    uint8_t remote_response_timeout = 0;   // REQ; this and all timeouts: 4.096 us << n
    uint8_t local_response_timeout = 0;    // REQ
    uint8_t max_retries = 0;               // REQ
    uint8_t transport = kCmTransportRc;    // REQ
    bool flow_control = false;             // REQ, REP
    bool srq = false;                      // REQ, REP
    uint8_t retry_count = 0;               // REQ
    uint8_t rnr_retry_count = 0;           // REQ, REP
    uint8_t mtu = 0;                       // REQ; as enum ibv_mtu
    uint16_t pkey = 0;                     // REQ, SIDR_REQ
    Address sender_gid;                    // REQ; primary path
    Address receiver_gid;                  // REQ; primary path
    uint32_t flow_label = 0;               // REQ
    uint8_t traffic_class = 0;             // REQ
    uint8_t hop_limit = 0;                 // REQ
    uint8_t ack_timeout = 0;               // REQ
    uint8_t target_ack_delay = 0;          // REP
    CmAbout about = CmAbout::Req;          // MRA, REJ
    uint8_t service_timeout = 0;           // MRA
    CmReason reason = CmReason::Consumer;  // REJ; any number
    SidrStatus status = SidrStatus::Valid;  // SIDR_REP; any number
    uint8_t info_bytes = 0;                 // REJ, SIDR_REP
    std::array<uint8_t, kMostCmInfoBytes> info{};
    std::array<uint8_t, kMostCmPrivateBytes> private_data{};  // what the attribute has room for
};

// The private data of a message; it has no length of its own.
[[nodiscard]] size_t cm_private_bytes(CmAttribute attribute);

// `mad` may hold anything. What only a connection can judge is not looked at.
[[nodiscard]] tl::expected<CmMessage, DropReason> parse_cm(std::span<const std::byte> mad);

void build_cm(const CmMessage& message, std::span<std::byte, kMadBytes> mad);

// The service id of a port (annex A11.3.2.1): the port space is an RDMA_PS_*.
[[nodiscard]] constexpr uint64_t ip_service_id(uint16_t port_space, uint16_t port) {
    return uint64_t{port_space} << 16 | port;
}

// At the beginning of the private data of REQ and SIDR_REQ (annex A11.3.2).
struct CmIpHeader {
    static constexpr size_t kBytes = 36;

    uint16_t port = 0;  // the sender's
    Address source;
    Address destination;
};
[[nodiscard]] tl::expected<CmIpHeader, DropReason> parse_cm_ip(std::span<const uint8_t> data);
void build_cm_ip(const CmIpHeader& header, std::span<uint8_t> data);

}  // namespace vrdma::wire
