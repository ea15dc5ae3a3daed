// Bytes of a frame, from the Ethernet header on, to a Packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/packet.h"

namespace vrdma::wire {

// Who says that the checksums are right.
enum class Verify : uint8_t {
    All,      // parse() computes IPv4 header checksum and ICRC
    NotIpv4,  // the port checked the IPv4 header checksum; parse() computes the ICRC
    Nothing,  // the port checked the IPv4 header checksum, and the peer sends no ICRC (the four
              // bytes are there, their value is not looked at)
};

// One whole RoCEv2 packet, or why it is none. Anything at all may be in `frame`; nothing outside it
// is read. Bytes behind the IP packet (Ethernet padding) are ignored. The result points into
// `frame`.
[[nodiscard]] tl::expected<Packet, DropReason> parse(std::span<const std::byte> frame,
                                                     Verify verify = Verify::All);
// The same into `packet`, which is as Packet{} is; when it fails, `packet` is anything.
[[nodiscard]] tl::expected<void, DropReason> parse(std::span<const std::byte> frame, Verify verify,
                                                   Packet& packet);

// Which codec a frame is for. A guess from a few bytes: the codec does the checking.
enum class FrameKind : uint8_t {
    Roce,       // parse()
    Arp,        // parse_arp()
    Neighbour,  // parse_neighbour()
    Echo,       // parse_echo()
    PathMtu,    // parse_path_mtu()
    Query,      // parse_membership_query()
    Other,
};
[[nodiscard]] FrameKind classify(std::span<const std::byte> frame);

}  // namespace vrdma::wire
