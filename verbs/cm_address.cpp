// A vNIC's address for rdma_cm is its IPv4 address. Programs that use AF_INET6 sockets for
// everything write it as ::ffff:a.b.c.d, and get it back so.
#include "verbs/cm_address.h"

#include <algorithm>
#include <cstring>

namespace vrdma::verbs {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::uint8_t kLoopbackNet = 127;

}  // namespace

std::optional<CmAddress> CmAddress::read(const void* bytes) {
    sockaddr_in v4{};
    std::memcpy(&v4, bytes, sizeof v4);
    CmAddress address;
    if (v4.sin_family == AF_INET) {
        std::ranges::copy(kMapped, address.gid.begin());
        std::memcpy(&address.gid[12], &v4.sin_addr, sizeof v4.sin_addr);
        address.port = ntohs(v4.sin_port);
        address.any = v4.sin_addr.s_addr == INADDR_ANY;
        address.loopback = address.gid[12] == kLoopbackNet;
        return address;
    }
    sockaddr_in6 v6{};
    std::memcpy(&v6, bytes, sizeof v6);
    if (v6.sin6_family != AF_INET6) {
        return std::nullopt;
    }
    std::memcpy(address.gid.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
    address.v6 = true;
    address.port = ntohs(v6.sin6_port);
    const bool mapped = std::equal(kMapped.begin(), kMapped.end(), address.gid.begin());
    address.any = IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr) ||
                  (mapped && std::all_of(address.gid.begin() + 12, address.gid.end(),
                                         [](std::uint8_t byte) { return byte == 0; }));
    address.loopback =
        IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || (mapped && address.gid[12] == kLoopbackNet);
    if (!mapped && !address.any && !address.loopback) {
        return std::nullopt;
    }
    return address;
}

sockaddr_in6 CmAddress::write() const {
    sockaddr_in6 bytes{};
    if (v6) {
        bytes.sin6_family = AF_INET6;
        bytes.sin6_port = htons(port);
        if (!any) {
            std::memcpy(&bytes.sin6_addr, gid.data(), gid.size());
        }
        return bytes;
    }
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    if (!any) {
        std::memcpy(&v4.sin_addr, &gid[12], sizeof v4.sin_addr);
    }
    std::memcpy(&bytes, &v4, sizeof v4);
    return bytes;
}

}  // namespace vrdma::verbs
