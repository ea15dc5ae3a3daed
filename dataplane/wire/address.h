// MAC and IP addresses as the wire has them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
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
    // Of the four bytes as they lie on the wire.
    [[nodiscard]] static constexpr Address v4(uint32_t raw) {
        return std::bit_cast<Address>(Words{0, kV4Prefix | uint64_t{raw} << 32});
    }
    [[nodiscard]] constexpr bool is_v4() const {
        const Words w = words();
        return w[0] == 0 && (w[1] & UINT32_MAX) == kV4Prefix;
    }
    // :: or 0.0.0.0.
    [[nodiscard]] constexpr bool unspecified() const {
        const Words w = words();
        return w[0] == 0 && (w[1] == 0 || w[1] == kV4Prefix);
    }
    // ff00::/8, 224.0.0.0/4 or 255.255.255.255.
    [[nodiscard]] constexpr bool multicast() const {
        return is_v4() ? (bytes[12] & 0xf0) == 0xe0 || limited_broadcast() : bytes[0] == 0xff;
    }
    [[nodiscard]] constexpr bool limited_broadcast() const { return *this == v4(UINT32_MAX); }
    // In the order of their bytes.
    constexpr std::strong_ordering operator<=>(const Address& other) const {
        const Words a = words();
        const Words b = other.words();
        return a[0] != b[0] ? __builtin_bswap64(a[0]) <=> __builtin_bswap64(b[0])
                            : __builtin_bswap64(a[1]) <=> __builtin_bswap64(b[1]);
    }
    constexpr bool operator==(const Address& other) const {
        const Words a = words();
        const Words b = other.words();
        return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
    }

  private:
    // Addresses are compared for every packet; in words, a handful of instructions.
    using Words = std::array<uint64_t, 2>;
    static constexpr uint64_t kV4Prefix = 0xffff0000;  // its bytes 0, 0, 0xff, 0xff, lowest first
    static_assert(std::endian::native == std::endian::little, "x86-64 and arm64 only");
    [[nodiscard]] constexpr Words words() const { return std::bit_cast<Words>(bytes); }
};

// The ECN field of the IP header (RFC 3168).
enum class Ecn : uint8_t { NotCapable = 0, Capable1 = 1, Capable0 = 2, Experienced = 3 };

}  // namespace vrdma::wire
