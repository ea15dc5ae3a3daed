// Addresses as an operator writes and reads them.
//
// Parsing is strict on purpose: inet_aton's "10.1" and octal "010.0.0.1" have both sent traffic to
// the wrong host, and a MAC with a missing digit must not become another valid MAC. Nothing here
// keeps state or depends on the operating system, so that the same text means the same address
// in a configuration file, in a request and in a test.
//
// A vNIC without a configured MAC gets one derived from its address instead of a random one: the
// link-local GID follows from the MAC, and peers keep GIDs across a restart of the service. The MAC
// need not differ between networks, which never meet; the GUID must, because programs that see
// several vNICs (the system view) tell devices apart by it.

#include "dataplane/control/address.h"

#include <charconv>
#include <cstddef>

#include <fmt/format.h>

namespace vrdma::control {
namespace {

std::optional<std::uint8_t> parse_octet(std::string_view text, int base) {
    std::uint8_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (text.empty() || error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

std::optional<Ipv4Address> parse_ipv4(std::string_view text) {
    Ipv4Address address;
    for (std::size_t i = 0; i < address.octets.size(); ++i) {
        const bool last = i + 1 == address.octets.size();
        const std::size_t end = last ? text.size() : text.find('.');
        if (end == std::string_view::npos) {
            return std::nullopt;
        }
        const std::string_view part = text.substr(0, end);
        const auto octet = parse_octet(part, 10);
        if (!octet || (part.size() > 1 && part.front() == '0')) {
            return std::nullopt;
        }
        address.octets[i] = *octet;
        text.remove_prefix(last ? end : end + 1);
    }
    return address;
}

std::optional<MacAddress> parse_mac(std::string_view text) {
    constexpr std::size_t kLength = 17;
    if (text.size() != kLength) {
        return std::nullopt;
    }
    MacAddress address;
    for (std::size_t i = 0; i < address.octets.size(); ++i) {
        const auto octet = parse_octet(text.substr(i * 3, 2), 16);
        if (!octet || (i > 0 && text[i * 3 - 1] != ':')) {
            return std::nullopt;
        }
        address.octets[i] = *octet;
    }
    return address;
}

std::string to_string(const Ipv4Address& address) {
    return fmt::format("{}", fmt::join(address.octets, "."));
}

std::string to_string(const MacAddress& address) {
    return fmt::format("{:02x}", fmt::join(address.octets, ":"));
}

std::string to_string(const Gid& gid) {
    std::string text;
    for (std::size_t i = 0; i < gid.octets.size(); i += 2) {
        text += fmt::format("{}{:02x}{:02x}", i == 0 ? "" : ":", gid.octets[i], gid.octets[i + 1]);
    }
    return text;
}

bool is_host_address(const Ipv4Address& address) {
    constexpr std::uint8_t kFirstMulticast = 224;  // RFC 5771; 240/4 is reserved by RFC 1112
    const std::uint8_t first = address.octets[0];
    return first != 0 && first != 127 && first < kFirstMulticast;
}

bool is_host_address(const MacAddress& address) {
    constexpr std::uint8_t kGroupBit = 1;
    return (address.octets[0] & kGroupBit) == 0 && address != MacAddress{};
}

MacAddress derived_mac(const Ipv4Address& address) {
    return {
        {0x02, 0x76, address.octets[0], address.octets[1], address.octets[2], address.octets[3]}};
}

Guid node_guid(std::uint32_t network_id, const Ipv4Address& address) {
    constexpr std::uint8_t kLocal = 0x02;  // locally administered, not a manufacturer's
    const auto byte = [network_id](unsigned shift) {
        return static_cast<std::uint8_t>(network_id >> shift);
    };
    const auto& o = address.octets;
    return {{kLocal, byte(16), byte(8), byte(0), o[0], o[1], o[2], o[3]}};
}

}  // namespace vrdma::control
