// The UDP source port of a queue pair's packets: all of one queue pair take one path, different
// ones spread over the equal paths of a network (RoCEv2 annex A17.9.2.1). The mapping is the one
// that Linux gives queue pairs without a flow label, so that captures look familiar.
#pragma once

#include <cstdint>

namespace vrdma::transport {

inline constexpr uint16_t kFirstSourcePort = 0xc000;

[[nodiscard]] constexpr uint32_t flow_label(uint32_t local_qpn, uint32_t remote_qpn) {
    uint64_t v = uint64_t{local_qpn} * remote_qpn;
    v ^= v >> 20;
    v ^= v >> 40;
    return static_cast<uint32_t>(v) & 0xfffff;
}

// `label`: the address handle's, or flow_label() of the queue pairs when that is 0.
[[nodiscard]] constexpr uint16_t source_port(uint32_t label) {
    return static_cast<uint16_t>(kFirstSourcePort | ((label ^ (label >> 14)) & 0x3fff));
}

}  // namespace vrdma::transport
