// Offsets are those of the tables of IBA 12.6, from the end of the datagram's header. Several
// fields share a word with a few bits each, so every word is taken apart where it is read.
//
// Reserved fields are not looked at, as IBA 13.4 asks; so is the alternate path, because nobody
// here migrates. What cannot be right whoever sent it is refused here: another class or version, a
// length beyond its field, an MTU that does not exist.
#include "dataplane/wire/cm_message.h"

#include <algorithm>

#include "dataplane/wire/bytes.h"

namespace vrdma::wire {
namespace {

using Checked = tl::expected<void, DropReason>;

constexpr size_t kHeaderBytes = 24;
constexpr uint8_t kBaseVersion = 1;
constexpr uint8_t kClass = 7;         // communication management
constexpr uint8_t kClassVersion = 2;  // IBA 16.7.1
constexpr uint8_t kMethodSend = 3;
constexpr uint16_t kPermissiveLid = 0xffff;  // RoCE has none (annex A17.4.1)
constexpr uint8_t kMtuCount = 5;             // 256 to 4096
constexpr uint8_t kAnyRate = 2;              // 2.5 Gbit/s, which every port has

constexpr uint8_t kIpCmVersion = 0;
constexpr uint8_t kIpv4 = 4;
constexpr uint8_t kIpv6 = 6;

// Where the private data begins, from the end of the header.
constexpr size_t private_offset(CmAttribute attribute) {
    switch (attribute) {
        case CmAttribute::Req:
            return 140;
        case CmAttribute::Mra:
            return 10;
        case CmAttribute::Rej:
            return 84;
        case CmAttribute::Rep:
            return 36;
        case CmAttribute::Rtu:
        case CmAttribute::Drep:
            return 8;
        case CmAttribute::Dreq:
            return 12;
        case CmAttribute::SidrReq:
            return 16;
        case CmAttribute::SidrRep:
            return 96;
    }
    return 0;
}
static_assert(kMadBytes - kHeaderBytes - private_offset(CmAttribute::Rtu) == kMostCmPrivateBytes);

void load_bytes(const std::byte* from, std::span<uint8_t> to) {
    std::transform(from, from + to.size(), to.begin(),
                   [](std::byte b) { return std::to_integer<uint8_t>(b); });
}

void store_bytes(std::byte* to, std::span<const uint8_t> from) {
    std::transform(from.begin(), from.end(), to, [](uint8_t b) { return std::byte{b}; });
}

uint8_t bits(uint8_t byte, unsigned shift, unsigned count) {
    return static_cast<uint8_t>(unsigned{byte} >> shift & ((1U << count) - 1));
}

void store24(std::byte* at, uint32_t value, uint8_t low) {
    store32(at, value << 8 | low);
}

// Fields of 24 bits stand in the high bits of their word.
uint32_t load_high24(const std::byte* at) {
    return load32(at) >> 8;
}

Checked parse_req(const std::byte* at, CmMessage& m) {
    m.service_id = load64(at + 8);
    m.ca_guid = load64(at + 16);
    m.qkey = load32(at + 28);
    m.qpn = load_high24(at + 32);
    m.responder_resources = load8(at + 35);
    m.initiator_depth = load8(at + 39);
    m.remote_response_timeout = bits(load8(at + 43), 3, 5);
    m.transport = bits(load8(at + 43), 1, 2);
    m.flow_control = bits(load8(at + 43), 0, 1) != 0;
    m.psn = load_high24(at + 44);
    m.local_response_timeout = bits(load8(at + 47), 3, 5);
    m.retry_count = bits(load8(at + 47), 0, 3);
    m.pkey = load16(at + 48);
    m.mtu = bits(load8(at + 50), 4, 4);
    m.rnr_retry_count = bits(load8(at + 50), 0, 3);
    m.max_retries = bits(load8(at + 51), 4, 4);
    m.srq = bits(load8(at + 51), 3, 1) != 0;
    if (bits(load8(at + 51), 0, 3) != 0) {
        m.transport = kCmTransportRc + 3;  // an extended type, such as XRC
    }
    load_bytes(at + 56, m.sender_gid.bytes);
    load_bytes(at + 72, m.receiver_gid.bytes);
    m.flow_label = load32(at + 88) >> 12;
    m.traffic_class = load8(at + 92);
    m.hop_limit = load8(at + 93);
    m.ack_timeout = bits(load8(at + 95), 3, 5);
    if (m.mtu == 0 || m.mtu > kMtuCount) {
        return tl::unexpected(DropReason::CmMtu);
    }
    return {};
}

void build_req(const CmMessage& m, std::byte* at) {
    store64(at + 8, m.service_id);
    store64(at + 16, m.ca_guid);
    store32(at + 28, m.qkey);
    store24(at + 32, m.qpn, m.responder_resources);
    store8(at + 39, m.initiator_depth);
    store8(at + 43, static_cast<uint8_t>(m.remote_response_timeout << 3 | m.transport << 1 |
                                         (m.flow_control ? 1 : 0)));
    store24(at + 44, m.psn, static_cast<uint8_t>(m.local_response_timeout << 3 | m.retry_count));
    store16(at + 48, m.pkey);
    store8(at + 50, static_cast<uint8_t>(m.mtu << 4 | m.rnr_retry_count));
    store8(at + 51, static_cast<uint8_t>(m.max_retries << 4 | (m.srq ? 8 : 0)));
    store16(at + 52, kPermissiveLid);
    store16(at + 54, kPermissiveLid);
    store_bytes(at + 56, m.sender_gid.bytes);
    store_bytes(at + 72, m.receiver_gid.bytes);
    store32(at + 88, m.flow_label << 12 | kAnyRate);
    store8(at + 92, m.traffic_class);
    store8(at + 93, m.hop_limit);
    store8(at + 95, static_cast<uint8_t>(m.ack_timeout << 3));
}

Checked parse_about(const std::byte* at, uint8_t most, CmMessage& m) {
    const uint8_t about = bits(load8(at + 8), 6, 2);
    if (about > most) {
        return tl::unexpected(DropReason::CmAbout);
    }
    m.about = static_cast<CmAbout>(about);
    return {};
}

Checked parse_info(uint8_t length, const std::byte* at, CmMessage& m) {
    if (length > kMostCmInfoBytes) {
        return tl::unexpected(DropReason::CmInfoLength);
    }
    m.info_bytes = length;
    load_bytes(at, std::span(m.info).first(length));
    return {};
}

void parse_rep(const std::byte* at, CmMessage& m) {
    m.qkey = load32(at + 8);
    m.qpn = load_high24(at + 12);
    m.psn = load_high24(at + 20);
    m.responder_resources = load8(at + 24);
    m.initiator_depth = load8(at + 25);
    m.target_ack_delay = bits(load8(at + 26), 3, 5);
    m.flow_control = bits(load8(at + 26), 0, 1) != 0;
    m.rnr_retry_count = bits(load8(at + 27), 5, 3);
    m.srq = bits(load8(at + 27), 4, 1) != 0;
    m.ca_guid = load64(at + 28);
}

void build_rep(const CmMessage& m, std::byte* at) {
    store32(at + 8, m.qkey);
    store24(at + 12, m.qpn, 0);
    store24(at + 20, m.psn, 0);
    store8(at + 24, m.responder_resources);
    store8(at + 25, m.initiator_depth);
    // Failover: there is no alternate path that could be accepted.
    store8(at + 26, static_cast<uint8_t>(m.target_ack_delay << 3 | (m.flow_control ? 1 : 0)));
    store8(at + 27, static_cast<uint8_t>(m.rnr_retry_count << 5 | (m.srq ? 0x10 : 0)));
    store64(at + 28, m.ca_guid);
}

Checked parse_attribute(const std::byte* at, CmMessage& m) {
    m.local_id = load32(at);
    if (m.attribute != CmAttribute::Req && m.attribute != CmAttribute::SidrReq &&
        m.attribute != CmAttribute::SidrRep) {
        m.remote_id = load32(at + 4);
    }
    switch (m.attribute) {
        case CmAttribute::Req:
            return parse_req(at, m);
        case CmAttribute::Mra:
            m.service_timeout = bits(load8(at + 9), 3, 5);
            return parse_about(at, static_cast<uint8_t>(CmAbout::Other), m);
        case CmAttribute::Rej:
            m.reason = static_cast<CmReason>(load16(at + 10));
            if (const Checked about = parse_about(at, static_cast<uint8_t>(CmAbout::Other), m);
                !about) {
                return about;
            }
            return parse_info(bits(load8(at + 9), 1, 7), at + 12, m);
        case CmAttribute::Rep:
            parse_rep(at, m);
            return {};
        case CmAttribute::Rtu:
        case CmAttribute::Drep:
            return {};
        case CmAttribute::Dreq:
            m.qpn = load_high24(at + 8);
            return {};
        case CmAttribute::SidrReq:
            m.pkey = load16(at + 4);
            m.service_id = load64(at + 8);
            return {};
        case CmAttribute::SidrRep:
            m.status = static_cast<SidrStatus>(load8(at + 4));
            m.qpn = load_high24(at + 8);
            m.service_id = load64(at + 12);
            m.qkey = load32(at + 20);
            return parse_info(load8(at + 5), at + 24, m);
    }
    return tl::unexpected(DropReason::CmAttribute);
}

}  // namespace

size_t cm_private_bytes(CmAttribute attribute) {
    return kMadBytes - kHeaderBytes - private_offset(attribute);
}

tl::expected<CmMessage, DropReason> parse_cm(std::span<const std::byte> mad) {
    if (mad.size() != kMadBytes) {
        return tl::unexpected(DropReason::MadLength);
    }
    const std::byte* at = mad.data();
    if (load8(at) != kBaseVersion) {
        return tl::unexpected(DropReason::MadVersion);
    }
    if (load8(at + 1) != kClass) {
        return tl::unexpected(DropReason::MadClass);
    }
    if (load8(at + 2) != kClassVersion) {
        return tl::unexpected(DropReason::MadClassVersion);
    }
    if (load8(at + 3) != kMethodSend) {
        return tl::unexpected(DropReason::MadMethod);
    }
    const uint16_t attribute = load16(at + 16);
    if (attribute < static_cast<uint16_t>(CmAttribute::Req) ||
        attribute > static_cast<uint16_t>(CmAttribute::SidrRep)) {
        return tl::unexpected(DropReason::CmAttribute);
    }
    tl::expected<CmMessage, DropReason> message;
    message->attribute = static_cast<CmAttribute>(attribute);
    message->transaction = load64(at + 8);
    if (const Checked checked = parse_attribute(at + kHeaderBytes, *message); !checked) {
        return tl::unexpected(checked.error());
    }
    load_bytes(at + kHeaderBytes + private_offset(message->attribute),
               std::span(message->private_data).first(cm_private_bytes(message->attribute)));
    return message;
}

void build_cm(const CmMessage& m, std::span<std::byte, kMadBytes> mad) {
    std::fill(mad.begin(), mad.end(), std::byte{0});
    std::byte* at = mad.data();
    store8(at, kBaseVersion);
    store8(at + 1, kClass);
    store8(at + 2, kClassVersion);
    store8(at + 3, kMethodSend);
    store64(at + 8, m.transaction);
    store16(at + 16, static_cast<uint16_t>(m.attribute));
    at += kHeaderBytes;
    store32(at, m.local_id);
    if (m.attribute != CmAttribute::Req && m.attribute != CmAttribute::SidrReq &&
        m.attribute != CmAttribute::SidrRep) {
        store32(at + 4, m.remote_id);
    }
    const auto about = static_cast<uint8_t>(static_cast<uint8_t>(m.about) << 6);
    const std::span<const uint8_t> info = std::span(m.info).first(m.info_bytes);
    switch (m.attribute) {
        case CmAttribute::Req:
            build_req(m, at);
            break;
        case CmAttribute::Mra:
            store8(at + 8, about);
            store8(at + 9, static_cast<uint8_t>(m.service_timeout << 3));
            break;
        case CmAttribute::Rej:
            store8(at + 8, about);
            store8(at + 9, static_cast<uint8_t>(m.info_bytes << 1));
            store16(at + 10, static_cast<uint16_t>(m.reason));
            store_bytes(at + 12, info);
            break;
        case CmAttribute::Rep:
            build_rep(m, at);
            break;
        case CmAttribute::Rtu:
        case CmAttribute::Drep:
            break;
        case CmAttribute::Dreq:
            store24(at + 8, m.qpn, 0);
            break;
        case CmAttribute::SidrReq:
            store16(at + 4, m.pkey);
            store64(at + 8, m.service_id);
            break;
        case CmAttribute::SidrRep:
            store8(at + 4, static_cast<uint8_t>(m.status));
            store8(at + 5, m.info_bytes);
            store24(at + 8, m.qpn, 0);
            store64(at + 12, m.service_id);
            store32(at + 20, m.qkey);
            store_bytes(at + 24, info);
            break;
    }
    store_bytes(at + private_offset(m.attribute),
                std::span(m.private_data).first(cm_private_bytes(m.attribute)));
}

tl::expected<CmIpHeader, DropReason> parse_cm_ip(std::span<const uint8_t> data) {
    if (data.size() < CmIpHeader::kBytes || data[0] != kIpCmVersion) {
        return tl::unexpected(DropReason::CmIpVersion);
    }
    const uint8_t version = data[1] >> 4;
    if (version != kIpv4 && version != kIpv6) {
        return tl::unexpected(DropReason::CmIpFamily);
    }
    CmIpHeader header;
    header.port = static_cast<uint16_t>(data[2] << 8 | data[3]);
    const auto address = [&](size_t at) {
        Address found;
        if (version == kIpv4) {
            return Address::v4(data[at + 12], data[at + 13], data[at + 14], data[at + 15]);
        }
        std::copy_n(data.begin() + static_cast<ptrdiff_t>(at), found.bytes.size(),
                    found.bytes.begin());
        return found;
    };
    header.source = address(4);
    header.destination = address(20);
    return header;
}

void build_cm_ip(const CmIpHeader& header, std::span<uint8_t> data) {
    std::fill_n(data.begin(), CmIpHeader::kBytes, uint8_t{0});
    const bool v4 = header.source.is_v4();
    data[0] = kIpCmVersion;
    data[1] = static_cast<uint8_t>((v4 ? kIpv4 : kIpv6) << 4);
    data[2] = static_cast<uint8_t>(header.port >> 8);
    data[3] = static_cast<uint8_t>(header.port);
    const auto put = [&](const Address& address, size_t at) {
        const size_t skip = v4 ? 12 : 0;  // three words of zeros before an IPv4 address
        std::copy(address.bytes.begin() + static_cast<ptrdiff_t>(skip), address.bytes.end(),
                  data.begin() + static_cast<ptrdiff_t>(at + skip));
    };
    put(header.source, 4);
    put(header.destination, 20);
}

}  // namespace vrdma::wire
