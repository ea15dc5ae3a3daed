// The names are those of tools and metrics; docs/operations.md has a row for each.
#include "dataplane/app/cm_counters.h"

namespace vrdma::app {

CmCounterText cm_counter_text(CmCounter counter) {
    switch (counter) {
        case CmCounter::Received:
            return {"cm_received", "messages of connection management from other hosts"};
        case CmCounter::Sent:
            return {"cm_sent", "messages of connection management to other hosts"};
        case CmCounter::Repeated:
            return {"cm_repeated", "of these, repeated because no answer came"};
        case CmCounter::TimedOut:
            return {"cm_timed_out", "connections given up because no answer came"};
        case CmCounter::Duplicates:
            return {"cm_duplicates", "messages that came again and were answered again"};
        case CmCounter::DroppedVnic:
            return {"cm_dropped_vnic", "messages for a vNIC that is going away"};
        case CmCounter::DroppedOwnAddress:
            return {"cm_dropped_own_address", "messages from the address of a vNIC of this host"};
        case CmCounter::DroppedUnknown:
            return {"cm_dropped_unknown", "messages about a connection that does not exist"};
        case CmCounter::DroppedNotPeer:
            return {"cm_dropped_not_peer",
                    "messages about a connection that are not from its other end"};
        case CmCounter::DroppedState:
            return {"cm_dropped_state", "messages that do not fit the connection's state"};
        case CmCounter::RefusedTransport:
            return {"cm_refused_transport", "requests for another transport than RC"};
        case CmCounter::RefusedGid:
            return {"cm_refused_gid", "requests whose path is not that of their packet"};
        case CmCounter::RefusedService:
            return {"cm_refused_service", "requests for a service that nobody offers"};
        case CmCounter::RefusedHeader:
            return {"cm_refused_header",
                    "requests whose IP addresses are missing or not those of their packet"};
        case CmCounter::RefusedMtu:
            return {"cm_refused_mtu", "requests with a path MTU that the port does not carry"};
        case CmCounter::RefusedQpn:
            return {"cm_refused_qpn", "requests and replies without a queue pair"};
        case CmCounter::RefusedStale:
            return {"cm_refused_stale", "requests and replies of a queue pair connected here"};
        case CmCounter::RefusedFull:
            return {"cm_refused_full", "requests beyond a backlog or a quota"};
        case CmCounter::Count:
            break;
    }
    return {"", ""};
}

}  // namespace vrdma::app
