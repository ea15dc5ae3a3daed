// Only headers and small control messages go through here (RoCE's payload is covered by the ICRC),
// so the sum is taken word by word.
#include "dataplane/wire/checksum.h"

#include "dataplane/wire/bytes.h"

namespace vrdma::wire {

uint32_t checksum_add(uint32_t sum, std::span<const std::byte> bytes) {
    size_t at = 0;
    for (; at + 2 <= bytes.size(); at += 2) {
        sum += load16(bytes.data() + at);
    }
    if (at < bytes.size()) {
        sum += uint32_t{load8(bytes.data() + at)} << 8;
    }
    return sum;
}

uint32_t checksum_pseudo_v6(const Address& source, const Address& destination, uint32_t length,
                            uint8_t next_header) {
    uint32_t sum = checksum_add(0, std::as_bytes(std::span(source.bytes)));
    sum = checksum_add(sum, std::as_bytes(std::span(destination.bytes)));
    return sum + (length >> 16) + (length & 0xffff) + next_header;
}

}  // namespace vrdma::wire
