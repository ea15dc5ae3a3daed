#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vrdma::control {

/// An IPv4 address, first octet first.
struct Ipv4Address {
    std::array<std::uint8_t, 4> octets{};
    friend auto operator<=>(const Ipv4Address&, const Ipv4Address&) = default;
};

/// An Ethernet address, first octet on the wire first.
struct MacAddress {
    std::array<std::uint8_t, 6> octets{};
    friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

/// One entry of a port's GID table, first byte first.
struct Gid {
    std::array<std::uint8_t, 16> octets{};
    friend auto operator<=>(const Gid&, const Gid&) = default;
};

/// An EUI-64 that names a device, first byte first.
struct Guid {
    std::array<std::uint8_t, 8> octets{};
    friend auto operator<=>(const Guid&, const Guid&) = default;
};

/// Dotted decimal, four numbers, nothing before or after; no leading zeros.
[[nodiscard]] std::optional<Ipv4Address> parse_ipv4(std::string_view text);

/// Six pairs of hexadecimal digits separated by ':'.
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text);

[[nodiscard]] std::string to_string(const Ipv4Address& address);
[[nodiscard]] std::string to_string(const MacAddress& address);

/// Eight groups of four hexadecimal digits, as the RDMA tools print a GID.
[[nodiscard]] std::string to_string(const Gid& gid);

/// May a vNIC have this address? Not 0.0.0.0/8, 127.0.0.0/8, multicast, reserved or broadcast.
[[nodiscard]] bool is_host_address(const Ipv4Address& address);

/// May a vNIC have this address? Unicast and not zero.
[[nodiscard]] bool is_host_address(const MacAddress& address);

/// The MAC of a vNIC whose configuration gives none: locally administered, a function of the IPv4
/// address, hence unique within a network and the same after every restart.
[[nodiscard]] MacAddress derived_mac(const Ipv4Address& address);

/// The node GUID of a vNIC: locally administered, a function of the network's id (24 bits) and the
/// address, hence no other vNIC's on any host of these networks, and the same after every restart.
[[nodiscard]] Guid node_guid(std::uint32_t network_id, const Ipv4Address& address);

}  // namespace vrdma::control
