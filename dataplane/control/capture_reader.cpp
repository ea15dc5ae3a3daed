// The rules for what a capture is asked to record. Everything has a default: all packets, whole,
// until the client ends it.

#include "dataplane/control/capture_reader.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>
#include <string>

#include "dataplane/control/document.h"
#include "dataplane/control/table_reader.h"

namespace vrdma::control {
namespace {

constexpr std::uint32_t kMostQpn = (1U << 24) - 1;
constexpr char kExample[] = "send {} for everything, or {\"peer\": \"10.0.0.2\"}";

/// IPv4 as ::ffff:a.b.c.d, as in a GID.
std::optional<Gid> parse_ip(const std::string& text) {
    Gid gid;
    if (const auto v4 = parse_ipv4(text)) {
        constexpr std::size_t kAt = 12;
        gid.octets[kAt - 2] = gid.octets[kAt - 1] = 0xff;
        std::copy(v4->octets.begin(), v4->octets.end(), gid.octets.begin() + kAt);
        return gid;
    }
    return inet_pton(AF_INET6, text.c_str(), gid.octets.data()) == 1 ? std::optional(gid)
                                                                     : std::nullopt;
}

void read_peer(TableReader& reader, std::optional<Gid>& peer) {
    constexpr char kExpected[] = "an IPv4 or IPv6 address, such as \"10.0.0.2\"";
    const auto text = reader.text("peer", kExpected);
    if (!text) {
        return;
    }
    peer = parse_ip(*text);
    if (!peer) {
        reader.reject(Fault::kMalformed, "peer", describe(*reader.raw("peer")), kExpected,
                      "write the address that `vrdmactl port show` has for the neighbour");
    }
}

}  // namespace

tl::expected<CaptureRequest, ConfigurationErrors> parse_capture_request(std::string_view json) {
    ErrorSink errors{"request"};
    const auto document = parse_json(json, "request");
    if (!document) {
        const ConfigurationError& first = document.error().front();
        errors.add(first.fault, 0, first.key, first.found, first.expected, kExample);
        return tl::unexpected(errors.take());
    }
    CaptureRequest request;
    TableReader reader(*document, "", errors);
    reader.number("snaplen", request.snap_length, kLeastSnapLength, kMostSnapLength);
    std::uint64_t count = 0;
    if (reader.number<std::uint64_t>("count", count, 1, INT64_MAX)) {
        request.count = count;
    }
    std::uint32_t qpn = 0;
    if (reader.number("qp", qpn, 0U, kMostQpn)) {
        request.qpn = qpn;
    }
    read_peer(reader, request.peer);
    if (request.qpn && request.peer) {
        reader.reject(Fault::kInconsistent, "peer", "given with qp", "qp or peer",
                      "leave one of them out: a connected queue pair has one peer");
    }
    reader.finish();
    if (!errors.empty()) {
        return tl::unexpected(errors.take());
    }
    return request;
}

}  // namespace vrdma::control
