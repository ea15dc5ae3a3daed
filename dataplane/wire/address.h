// MAC and IP addresses as the wire has them.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace vrdma::wire {

struct Mac {
    std::array<uint8_t, 6> bytes{};

    [[nodiscard]] constexpr bool group() const { return (bytes[0] & 1) != 0; }
    [[nodiscard]] static constexpr Mac broadcast() {
        return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    }
    constexpr auto operator<=>(const Mac&) const = default;
};

// An IP address in the form of a GID: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
struct Address {
    std::array<uint8_t, 16> bytes{};

    [[nodiscard]] static constexpr Address v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
        return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}};
    }
    [[nodiscard]] static constexpr Address from_gid(const uint8_t (&gid)[16]) {
        Address address;
        std::copy(std::begin(gid), std::end(gid), address.bytes.begin());
        return address;
    }
    [[nodiscard]] constexpr bool is_v4() const {
        for (size_t i = 0; i < 10; ++i) {
            if (bytes[i] != 0) {
                return false;
            }
        }
        return bytes[10] == 0xff && bytes[11] == 0xff;
    }
    // :: or 0.0.0.0.
    [[nodiscard]] constexpr bool unspecified() const {
        return std::all_of(bytes.begin() + (is_v4() ? 12 : 0), bytes.end(),
                           [](uint8_t byte) { return byte == 0; });
    }
    // ff00::/8, 224.0.0.0/4 or 255.255.255.255.
    [[nodiscard]] constexpr bool multicast() const {
        return is_v4() ? (bytes[12] & 0xf0) == 0xe0 || limited_broadcast() : bytes[0] == 0xff;
    }
    [[nodiscard]] constexpr bool limited_broadcast() const {
        return is_v4() && bytes[12] == 0xff && bytes[13] == 0xff && bytes[14] == 0xff &&
               bytes[15] == 0xff;
    }
    constexpr auto operator<=>(const Address&) const = default;
};

// The ECN field of the IP header (RFC 3168).
enum class Ecn : uint8_t { NotCapable = 0, Capable1 = 1, Capable0 = 2, Experienced = 3 };

}  // namespace vrdma::wire
