// The headers are copied to the stack with the variable fields replaced by ones; 40 or 60 bytes are
// cheaper to copy than to feed to the CRC in pieces. The covered fields are the others: lengths,
// identification, addresses, ports, and all of the BTH but its byte 4 (FECN, BECN, reserved).
#include "dataplane/wire/icrc.h"

#include <array>
#include <cstring>

#include "dataplane/wire/crc32.h"
#include "dataplane/wire/opcode.h"

namespace vrdma::wire {
namespace {

constexpr std::byte kOnes{0xff};
constexpr size_t kUdpChecksum = 6;
constexpr size_t kBthVariable = 4;

}  // namespace

uint32_t icrc_of_headers(const std::byte* ip, bool v6) {
    std::array<std::byte, kIpv6Bytes + kUdpBytes + kBthBytes> masked;
    const size_t ip_bytes = v6 ? kIpv6Bytes : kIpv4Bytes;
    const size_t length = ip_bytes + kUdpBytes + kBthBytes;
    std::memcpy(masked.data(), ip, length);
    if (v6) {
        masked[0] |= std::byte{0x0f};  // traffic class
        masked[1] = kOnes;             // and flow label
        masked[2] = kOnes;
        masked[3] = kOnes;
        masked[7] = kOnes;  // hop limit
    } else {
        masked[1] = kOnes;   // type of service
        masked[8] = kOnes;   // time to live
        masked[10] = kOnes;  // header checksum
        masked[11] = kOnes;
    }
    masked[ip_bytes + kUdpChecksum] = kOnes;
    masked[ip_bytes + kUdpChecksum + 1] = kOnes;
    masked[ip_bytes + kUdpBytes + kBthVariable] = kOnes;
    return crc32_update(kIcrcSeed, std::span(masked).first(length));
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
