// Frames are made by the builder under test, which build_test.cpp and icrc_test.cpp check against
// captures of other devices.
#include "tests/unit/dataplane/wire/frames.h"

#include "dataplane/wire/bytes.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/crc32.h"
#include "dataplane/wire/icrc.h"
#include "dataplane/wire/network.h"

namespace vrdma::wire {
namespace {

int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

}  // namespace

Bytes from_hex(std::string_view digits) {
    Bytes bytes;
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(digit(digits[i]) << 4 | digit(digits[i + 1])));
    }
    return bytes;
}

Bytes pattern(size_t length) {
    Bytes bytes(length);
    for (size_t i = 0; i < length; ++i) {
        bytes[i] = static_cast<std::byte>(i * 7 + 1);
    }
    return bytes;
}

FlowTemplate flow_v4() {
    return FlowTemplate(Flow{.source_mac = kMacA,
                             .destination_mac = kMacB,
                             .source = kA4,
                             .destination = kB4,
                             .source_port = 0xc123,
                             .dscp = 26,
                             .ecn = Ecn::Capable0,
                             .hop_limit = 33});
}

FlowTemplate flow_v6() {
    return FlowTemplate(Flow{.source_mac = kMacA,
                             .destination_mac = kMacB,
                             .source = kA6,
                             .destination = kB6,
                             .source_port = 0xc123,
                             .dscp = 26,
                             .ecn = Ecn::Capable0,
                             .hop_limit = 33,
                             .flow_label = 0x12345});
}

Bytes roce(const HeaderFields& fields, size_t payload_length, bool v6) {
    Bytes frame(frame_bytes(fields.opcode, v6, payload_length));
    const size_t built =
        build_frame(frame, v6 ? flow_v6() : flow_v4(), fields, pattern(payload_length));
    frame.resize(built);
    return frame;
}

Bytes roce(Opcode opcode, size_t payload_length, bool v6) {
    return roce(HeaderFields{.opcode = opcode, .dqpn = 0x123456, .psn = 0x654321}, payload_length,
                v6);
}

void reseal_ipv4(Bytes& frame) {
    std::byte* ip = frame.data() + kIpAt;
    store16(ip + 10, 0);
    store16(ip + 10, checksum_finish(checksum_add(0, {ip, kIpv4Bytes})));
}

void reseal(Bytes& frame) {
    const bool v6 = load16(frame.data() + 12) == kEtherTypeIpv6;
    if (!v6) {
        reseal_ipv4(frame);
    }
    const std::byte* ip = frame.data() + kIpAt;
    const size_t ip_bytes = v6 ? kIpv6Bytes : kIpv4Bytes;
    const size_t behind = kIpAt + ip_bytes + kUdpBytes + kBthBytes;
    const size_t end = kIpAt + (v6 ? kIpv6Bytes + load16(ip + 4) : load16(ip + 2)) - kIcrcBytes;
    const uint32_t state =
        crc32_update(icrc_of_headers(ip, v6), {frame.data() + behind, end - behind});
    store_icrc(frame.data() + end, state);
}

void resize_content(Bytes& frame, int count) {
    const bool v6 = load16(frame.data() + 12) == kEtherTypeIpv6;
    std::byte* ip = frame.data() + kIpAt;
    std::byte* length = ip + (v6 ? 4 : 2);
    std::byte* udp = ip + (v6 ? kIpv6Bytes : kIpv4Bytes);
    store16(length, static_cast<uint16_t>(load16(length) + count));
    store16(udp + 4, static_cast<uint16_t>(load16(udp + 4) + count));
    frame.resize(frame.size() + static_cast<size_t>(count));
    reseal(frame);
}

}  // namespace vrdma::wire
