// Why a frame was dropped before anything looked at its meaning. Every check of the codecs has its
// own value, and every value its counter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vrdma::wire {

enum class DropReason : uint8_t {
    FrameTruncated,      // shorter than an Ethernet header with its tag
    NotIp,               // an EtherType other than IPv4 and IPv6
    Ipv4Truncated,       // shorter than an IPv4 header
    Ipv4Version,         // the version field is not 4
    Ipv4HeaderLength,    // options, or a header length below 20
    Ipv4TotalLength,     // total length beyond the frame, or too short for its own header
    Ipv4Fragment,        // a fragment: RoCE never fragments
    Ipv4Checksum,        // the header checksum is wrong
    Ipv6Truncated,       // shorter than an IPv6 header
    Ipv6Version,         // the version field is not 6
    Ipv6PayloadLength,   // payload length beyond the frame
    SourceAddress,       // the source address is a group, or unspecified
    NotUdp,              // another protocol, or an IPv6 extension header
    UdpTruncated,        // shorter than a UDP header
    NotRoce,             // another UDP port than 4791
    UdpLength,           // differs from what the IP header leaves
    BthTruncated,        // no room for BTH and ICRC
    Icrc,                // the invariant CRC is wrong
    BthVersion,          // TVer is not 0
    BthPkey,             // not the default partition
    OpcodeUnknown,       // not an opcode we speak
    ExtensionTruncated,  // no room for the extension headers of the opcode
    PadExceedsPayload,   // more pad than bytes
    PadOfFullPacket,     // first and middle packets have no pad
    PayloadUnaligned,    // payload and pad are not a multiple of 4
    PayloadUnexpected,   // payload or pad behind an opcode that carries none
    PayloadTooLong,      // more than the largest path MTU
    ProbeMalformed,      // not the probe's magic number, role or version
    NotArp,              // not for parse_arp()
    ArpTruncated,        // shorter than ARP for IPv4
    ArpFormat,           // other hardware, protocol, lengths or operation than Ethernet and IPv4
    ArpSender,           // the sender's address is a group, unspecified, or not the frame's MAC
    NotNeighbour,        // not for parse_neighbour()
    NeighbourHopLimit,   // not 255: it crossed a router (RFC 4861 7.1)
    NeighbourTruncated,  // shorter than the message
    NeighbourCode,       // not 0
    NeighbourTarget,     // the target is a group or unspecified
    NeighbourOption,     // an option of length zero or beyond the message
    NeighbourSource,     // unspecified source that is no duplicate address detection
    NeighbourSolicited,  // a solicited advertisement to a group
    Icmpv6Checksum,      // the checksum is wrong
    NotEcho,             // not for parse_echo()
    NotPathMtu,          // not for parse_path_mtu()
    IcmpTruncated,       // shorter than the message
    IcmpCode,            // not the code that the type has
    Icmpv4Checksum,      // the checksum is wrong
    QuotedPacket,        // the packet it quotes is not one that RoCE sends
    NotQuery,            // not for parse_membership_query()
    QueryTruncated,      // shorter than the message, or than its headers say
    QueryHopLimit,       // not 1: it crossed a router
    QuerySource,         // MLD: not a link-local address
    QueryChecksum,       // the checksum is wrong
    QueryGroup,          // asks about an address that is no group's
    MadLength,           // not the 256 bytes of a management datagram
    MadVersion,          // another base version than 1
    MadClass,            // another class than communication management
    MadClassVersion,     // another version of it than 2
    MadMethod,           // another method than Send
    CmAttribute,         // not a message that we speak
    CmMtu,               // a path MTU that does not exist
    CmAbout,             // about a message that does not exist
    CmInfoLength,        // additional information beyond its field
    CmIpVersion,         // another version of rdma_cm's header than 0
    CmIpFamily,          // neither IPv4 nor IPv6 in it
    kCount,
};

inline constexpr size_t kDropReasonCount = static_cast<size_t>(DropReason::kCount);

// The counter's name: "icrc", "bth_version", ...
[[nodiscard]] std::string_view drop_reason_name(DropReason reason);
// One line for people.
[[nodiscard]] std::string_view drop_reason_text(DropReason reason);

}  // namespace vrdma::wire
