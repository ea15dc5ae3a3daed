// Neighbour solicitation and advertisement of IPv6 (RFC 4861 4.3, 4.4, 7.1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <tl/expected.hpp>

#include "dataplane/wire/drop_reason.h"
#include "dataplane/wire/packet.h"

namespace vrdma::wire {

struct Neighbour {
    enum class Kind : uint8_t { Solicitation = 135, Advertisement = 136 };

    Kind kind = Kind::Solicitation;
    Address source{};  // unspecified in a probe for a duplicate address
    Address destination{};
    Mac source_mac{};  // of the frame
    Mac destination_mac{};
    Address target{};
    // The source's link-layer address in a solicitation, the target's in an advertisement.
    std::optional<Mac> link_layer{};
    bool solicited = false;  // of an advertisement; `router` is never set by us
    bool override_entry = false;
};

// With the link-layer option: 14 + 40 + 32.
inline constexpr size_t kMaxNeighbourFrameBytes = 86;

// ff02::1:ffXX:XXXX, where a host listens for solicitations of its address.
[[nodiscard]] Address solicited_node(const Address& address);
// Where frames for a group go (RFC 1112 6.4, RFC 2464 7).
[[nodiscard]] Mac multicast_mac(const Address& group);

[[nodiscard]] tl::expected<Neighbour, DropReason> parse_neighbour(std::span<const std::byte> frame);

// `out` has room for kMaxNeighbourFrameBytes; returns the bytes of the frame.
[[nodiscard]] size_t build_neighbour(std::span<std::byte> out, const Neighbour& neighbour);

}  // namespace vrdma::wire
