// The names are part of the metrics and of `vrdmactl counters`; docs/operations.md explains them.
#include "dataplane/wire/drop_reason.h"

namespace vrdma::wire {
namespace {

struct Text {
    std::string_view name;
    std::string_view text;
};

constexpr Text text_of(DropReason reason) {
    switch (reason) {
        case DropReason::FrameTruncated:
            return {"frame_truncated", "shorter than an Ethernet header with its tag"};
        case DropReason::NotIp:
            return {"not_ip", "an EtherType other than IPv4 and IPv6"};
        case DropReason::Ipv4Truncated:
            return {"ipv4_truncated", "shorter than an IPv4 header"};
        case DropReason::Ipv4Version:
            return {"ipv4_version", "the version field is not 4"};
        case DropReason::Ipv4HeaderLength:
            return {"ipv4_header_length", "options, or a header length below 20"};
        case DropReason::Ipv4TotalLength:
            return {"ipv4_total_length",
                    "total length beyond the frame, or too short for its own header"};
        case DropReason::Ipv4Fragment:
            return {"ipv4_fragment", "a fragment: RoCE never fragments"};
        case DropReason::Ipv4Checksum:
            return {"ipv4_checksum", "the header checksum is wrong"};
        case DropReason::Ipv6Truncated:
            return {"ipv6_truncated", "shorter than an IPv6 header"};
        case DropReason::Ipv6Version:
            return {"ipv6_version", "the version field is not 6"};
        case DropReason::Ipv6PayloadLength:
            return {"ipv6_payload_length", "payload length beyond the frame"};
        case DropReason::SourceAddress:
            return {"source_address", "the source address is a group, or unspecified"};
        case DropReason::NotUdp:
            return {"not_udp", "another protocol, or an IPv6 extension header"};
        case DropReason::UdpTruncated:
            return {"udp_truncated", "shorter than a UDP header"};
        case DropReason::NotRoce:
            return {"not_roce", "another UDP port than 4791"};
        case DropReason::UdpLength:
            return {"udp_length", "differs from what the IP header leaves"};
        case DropReason::BthTruncated:
            return {"bth_truncated", "no room for BTH and ICRC"};
        case DropReason::Icrc:
            return {"icrc", "the invariant CRC is wrong"};
        case DropReason::BthVersion:
            return {"bth_version", "TVer is not 0"};
        case DropReason::BthPkey:
            return {"bth_pkey", "not the default partition"};
        case DropReason::OpcodeUnknown:
            return {"opcode_unknown", "not an opcode we speak"};
        case DropReason::ExtensionTruncated:
            return {"extension_truncated", "no room for the extension headers of the opcode"};
        case DropReason::PadExceedsPayload:
            return {"pad_exceeds_payload", "more pad than bytes"};
        case DropReason::PadOfFullPacket:
            return {"pad_of_full_packet", "first and middle packets have no pad"};
        case DropReason::PayloadUnaligned:
            return {"payload_unaligned", "payload and pad are not a multiple of 4"};
        case DropReason::PayloadUnexpected:
            return {"payload_unexpected", "payload or pad behind an opcode that carries none"};
        case DropReason::PayloadTooLong:
            return {"payload_too_long", "more than the largest path MTU"};
        case DropReason::ProbeMalformed:
            return {"probe_malformed", "not the probe's magic number, role or version"};
        case DropReason::NotArp:
            return {"not_arp", "not for parse_arp()"};
        case DropReason::ArpTruncated:
            return {"arp_truncated", "shorter than ARP for IPv4"};
        case DropReason::ArpFormat:
            return {"arp_format",
                    "other hardware, protocol, lengths or operation than Ethernet and IPv4"};
        case DropReason::ArpSender:
            return {"arp_sender",
                    "the sender's address is a group, unspecified, or not the frame's MAC"};
        case DropReason::NotNeighbour:
            return {"not_neighbour", "not for parse_neighbour()"};
        case DropReason::NeighbourHopLimit:
            return {"neighbour_hop_limit", "not 255: it crossed a router (RFC 4861 7.1)"};
        case DropReason::NeighbourTruncated:
            return {"neighbour_truncated", "shorter than the message"};
        case DropReason::NeighbourCode:
            return {"neighbour_code", "not 0"};
        case DropReason::NeighbourTarget:
            return {"neighbour_target", "the target is a group or unspecified"};
        case DropReason::NeighbourOption:
            return {"neighbour_option", "an option of length zero or beyond the message"};
        case DropReason::NeighbourSource:
            return {"neighbour_source",
                    "unspecified source that is no duplicate address detection"};
        case DropReason::NeighbourSolicited:
            return {"neighbour_solicited", "a solicited advertisement to a group"};
        case DropReason::Icmpv6Checksum:
            return {"icmpv6_checksum", "the checksum is wrong"};
        case DropReason::NotEcho:
            return {"not_echo", "not for parse_echo()"};
        case DropReason::NotPathMtu:
            return {"not_path_mtu", "not for parse_path_mtu()"};
        case DropReason::IcmpTruncated:
            return {"icmp_truncated", "shorter than the message"};
        case DropReason::IcmpCode:
            return {"icmp_code", "not the code that the type has"};
        case DropReason::Icmpv4Checksum:
            return {"icmpv4_checksum", "the checksum is wrong"};
        case DropReason::QuotedPacket:
            return {"quoted_packet", "the packet it quotes is not one that RoCE sends"};
        case DropReason::NotQuery:
            return {"not_query", "not for parse_membership_query()"};
        case DropReason::QueryTruncated:
            return {"query_truncated", "shorter than the message, or than its headers say"};
        case DropReason::QueryHopLimit:
            return {"query_hop_limit", "not 1: it crossed a router"};
        case DropReason::QuerySource:
            return {"query_source", "MLD: not a link-local address"};
        case DropReason::QueryChecksum:
            return {"query_checksum", "the checksum is wrong"};
        case DropReason::QueryGroup:
            return {"query_group", "asks about an address that is no group's"};
        case DropReason::MadLength:
            return {"mad_length", "not the 256 bytes of a management datagram"};
        case DropReason::MadVersion:
            return {"mad_version", "another base version than 1"};
        case DropReason::MadClass:
            return {"mad_class", "another class than communication management"};
        case DropReason::MadClassVersion:
            return {"mad_class_version", "another version of communication management than 2"};
        case DropReason::MadMethod:
            return {"mad_method", "another method than Send"};
        case DropReason::CmAttribute:
            return {"cm_attribute", "not a message of communication management that we speak"};
        case DropReason::CmMtu:
            return {"cm_mtu", "a path MTU that does not exist"};
        case DropReason::CmAbout:
            return {"cm_about", "about a message that does not exist"};
        case DropReason::CmInfoLength:
            return {"cm_info_length", "additional information beyond its field"};
        case DropReason::CmIpVersion:
            return {"cm_ip_version", "another version of rdma_cm's header than 0"};
        case DropReason::CmIpFamily:
            return {"cm_ip_family", "neither IPv4 nor IPv6 in rdma_cm's header"};
        case DropReason::kCount:
            break;
    }
    return {"unknown", "unknown"};
}

}  // namespace

std::string_view drop_reason_name(DropReason reason) {
    return text_of(reason).name;
}

std::string_view drop_reason_text(DropReason reason) {
    return text_of(reason).text;
}

}  // namespace vrdma::wire
