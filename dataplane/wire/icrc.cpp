// The fields that may change on the way are replaced by ones: type of service or traffic class and
// flow label, time to live, both checksums, and byte 4 of the BTH (FECN, BECN, reserved). The
// others are covered: lengths, identification, addresses, ports, and the rest of the BTH.
#include "dataplane/wire/icrc.h"

#include <array>
#include <cstring>
#include <initializer_list>

#include "dataplane/wire/crc32.h"
#include "dataplane/wire/opcode.h"

namespace vrdma::wire {
namespace {

template <size_t kBytes>
using Mask = std::array<std::byte, kBytes>;

template <size_t kIpBytes>
constexpr Mask<kIpBytes + kUdpBytes + kBthBytes> mask_of(std::initializer_list<uint8_t> variable) {
    Mask<kIpBytes + kUdpBytes + kBthBytes> mask{};
    for (const uint8_t at : variable) {
        mask[at] = std::byte{0xff};
    }
    mask[kIpBytes + 6] = std::byte{0xff};  // UDP checksum
    mask[kIpBytes + 7] = std::byte{0xff};
    mask[kIpBytes + kUdpBytes + 4] = std::byte{0xff};
    return mask;
}

// Read in whole vectors.
alignas(16) constexpr auto kMaskV4 = mask_of<kIpv4Bytes>({1, 8, 10, 11});
alignas(16) constexpr auto kMaskV6 = [] {
    auto mask = mask_of<kIpv6Bytes>({1, 2, 3, 7});
    mask[0] = std::byte{0x0f};  // behind the version
    return mask;
}();

}  // namespace

uint32_t icrc_of_headers(const std::byte* ip, bool v6) {
    return v6 ? crc32_masked(kIcrcSeed, ip, kMaskV6.data(), kMaskV6.size())
              : crc32_masked(kIcrcSeed, ip, kMaskV4.data(), kMaskV4.size());
}

void store_icrc(std::byte* to, uint32_t state) {
    const uint32_t value = icrc_value(state);
    std::memcpy(to, &value, sizeof value);  // least significant byte first
}

uint32_t load_icrc(const std::byte* from) {
    uint32_t value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
}

}  // namespace vrdma::wire
