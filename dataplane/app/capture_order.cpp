// A packet says for which queue pair it is, not from which. What a connected queue pair sends is
// known by its peer, so the filter can only be made once there is one; a datagram names its sender.
#include "dataplane/app/capture_order.h"

#include <fmt/format.h>

#include "driver/abi/command.h"

namespace vrdma::app {
namespace {

using control::ModelError;
using control::Refusal;

wire::Address to_wire(const control::Gid& gid) {
    return {gid.octets};
}

}  // namespace

CaptureOrder make_order(const control::CaptureRequest& request) {
    CaptureOrder order;
    order.snap_length = request.snap_length;
    order.count = request.count;
    if (request.peer) {
        order.filter.peer = to_wire(*request.peer);
    }
    return order;
}

tl::expected<net::CaptureFilter, ModelError> queue_pair_filter(
    const control::Configuration& configuration, std::string_view port,
    const control::QpInfo& queue_pair) {
    const control::VnicConfig* const vnic = configuration.find_vnic(queue_pair.vnic);
    const control::PortConfig* const carrier = configuration.find_port(port);
    if (vnic == nullptr || vnic->network != carrier->network) {
        return tl::unexpected(
            ModelError{Refusal::kInvalid,
                       fmt::format("queue pair {} is of network {}, port {} carries network {}",
                                   queue_pair.qpn, vnic == nullptr ? "-" : vnic->network, port,
                                   carrier->network),
                       "a queue pair of the port's network", "choose the port of its network"});
    }
    net::CaptureFilter filter;
    filter.queue_pair = {.own = queue_pair.qpn};
    if (queue_pair.attributes.type == VRDMA_QPT_UD) {
        return filter;
    }
    switch (queue_pair.path) {
        case control::PathKind::kVrdmaPeer:
        case control::PathKind::kStandardPeer:
            filter.queue_pair->connected_to = queue_pair.attributes.dest_qpn;
            filter.peer = to_wire(queue_pair.attributes.dest_gid);
            return filter;
        case control::PathKind::kNone:
            return tl::unexpected(
                ModelError{Refusal::kInvalid,
                           fmt::format("queue pair {} is not connected yet", queue_pair.qpn),
                           "a queue pair with a peer",
                           "capture by the address of its peer, or begin when it is in RTR"});
        case control::PathKind::kSameWorker:
        case control::PathKind::kOtherWorker:
            return tl::unexpected(
                ModelError{Refusal::kInvalid,
                           fmt::format("the peer of queue pair {} is on this host", queue_pair.qpn),
                           "a queue pair with a peer on another host",
                           "what stays on a host passes by no port: look at vrdmactl qp show"});
    }
    return filter;
}

}  // namespace vrdma::app
