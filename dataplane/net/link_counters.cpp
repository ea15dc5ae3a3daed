// The names are those of tools and metrics; docs/operations.md has a row for each. Frames that are
// malformed are counted under the reasons of dataplane/wire.
#include "dataplane/net/link_counters.h"

namespace vrdma::net {

LinkCounterText link_counter_text(LinkCounter counter) {
    switch (counter) {
        case LinkCounter::RocePackets:
            return {"roce_packets", "RoCEv2 packets for vNICs of this host"};
        case LinkCounter::ForeignDestination:
            return {"foreign_destination", "packets for an address that no vNIC of this host has"};
        case LinkCounter::OwnFrames:
            return {"own_frames",
                    "frames with the port's own source address, which the device returned"};
        case LinkCounter::OtherFrames:
            return {"other_frames", "frames of protocols that do not concern vNICs"};
        case LinkCounter::ArpAnswered:
            return {"arp_answered", "ARP requests for vNICs that were answered"};
        case LinkCounter::SolicitationsAnswered:
            return {"solicitations_answered", "IPv6 neighbour solicitations that were answered"};
        case LinkCounter::Solicited:
            return {"solicitations_sent",
                    "ARP requests and neighbour solicitations that were sent"};
        case LinkCounter::EchoAnswered:
            return {"echo_answered", "ICMP echo requests that were answered"};
        case LinkCounter::EchoUnanswered:
            return {"echo_unanswered", "ICMP echo requests that were too long for an answer"};
        case LinkCounter::PathMtuReports:
            return {"path_mtu_reports", "routers' reports that a packet was too long"};
        case LinkCounter::ForeignGroup:
            return {"foreign_group",
                    "packets for a multicast group that no queue pair of the worker belongs to"};
        case LinkCounter::GroupMisaddressed:
            return {"group_misaddressed",
                    "packets for a multicast group that are no datagrams to queue pair 0xffffff"};
        case LinkCounter::QueriesReceived:
            return {"group_queries", "routers' and switches' questions about multicast groups"};
        case LinkCounter::ReportsSent:
            return {"group_reports", "messages that a vNIC has joined or left a multicast group"};
        case LinkCounter::NoBuffer:
            return {"own_no_buffer", "answers and requests of the link that found no buffer"};
        case LinkCounter::SendDropped:
            return {"own_send_dropped",
                    "packets that the device did not take when their turn came"};
        case LinkCounter::Count:
            break;
    }
    return {"", ""};
}

}  // namespace vrdma::net
