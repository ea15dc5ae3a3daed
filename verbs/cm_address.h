// Socket addresses of rdma_cm programs. Threading: plain functions.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <optional>

namespace vrdma::verbs {

struct CmAddress {
    std::array<std::uint8_t, 16> gid{};  // IPv4 as ::ffff:a.b.c.d
    std::uint16_t port = 0;              // host byte order
    bool v6 = false;                     // the program wrote it as AF_INET6
    bool any = false;
    bool loopback = false;  // 127.0.0.0/8 or ::1: the program's own vNIC

    // 224.0.0.0/4
    [[nodiscard]] bool multicast() const { return !any && !loopback && (gid[12] & 0xf0U) == 0xe0; }

    // `bytes` are a sockaddr_in or a sockaddr_in6; nothing for another family, and for IPv6
    // addresses that are not IPv4's: a vNIC has none that rdma_cm could name.
    [[nodiscard]] static std::optional<CmAddress> read(const void* bytes);
    // As a sockaddr_in in the first bytes, or a sockaddr_in6.
    [[nodiscard]] sockaddr_in6 write() const;
};

}  // namespace vrdma::verbs
