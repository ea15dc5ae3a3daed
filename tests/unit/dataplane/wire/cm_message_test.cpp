// Offsets and widths are those of the tables of IBA 12.6; a test writes them down once more,
// because a codec that agrees with itself proves nothing.
#include "dataplane/wire/cm_message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <string>

#include "dataplane/wire/bytes.h"

namespace vrdma::wire {
namespace {

using Mad = std::array<std::byte, kMadBytes>;

constexpr size_t kData = 24;  // behind the header of the datagram
const Address kA = Address::v4(10, 0, 0, 1);
const Address kB = Address::v4(10, 0, 0, 2);

CmMessage message(CmAttribute attribute) {
    CmMessage m;
    m.attribute = attribute;
    m.transaction = 0x0102030405060708;
    m.local_id = 0xa1a2a3a4;
    const size_t bytes = cm_private_bytes(attribute);
    std::iota(m.private_data.begin(), m.private_data.begin() + static_cast<ptrdiff_t>(bytes),
              uint8_t{1});
    return m;
}

CmMessage request() {
    CmMessage m = message(CmAttribute::Req);
    m.service_id = 0x0000000001061b0f;
    m.ca_guid = 0x1112131415161718;
    m.qkey = 0x21222324;
    m.qpn = 0x313233;
    m.responder_resources = 0x34;
    m.initiator_depth = 0x35;
    m.remote_response_timeout = 20;
    m.local_response_timeout = 19;
    m.max_retries = 15;
    m.flow_control = true;
    m.srq = true;
    m.retry_count = 6;
    m.rnr_retry_count = 5;
    m.mtu = 4;
    m.pkey = 0xffff;
    m.psn = 0x414243;
    m.sender_gid = kA;
    m.receiver_gid = kB;
    m.flow_label = 0x54321;
    m.traffic_class = 0x62;
    m.hop_limit = 64;
    m.ack_timeout = 18;
    return m;
}

Mad build(const CmMessage& m) {
    Mad mad;
    mad.fill(std::byte{0xee});  // every byte has to be written
    build_cm(m, mad);
    return mad;
}

CmMessage parsed(const Mad& mad) {
    const auto m = parse_cm(mad);
    EXPECT_TRUE(m) << (m ? "" : drop_reason_name(m.error()));
    return m.value_or(CmMessage{});
}

uint32_t bits(const Mad& mad, size_t byte, unsigned shift, unsigned count) {
    return load8(&mad[kData + byte]) >> shift & ((1U << count) - 1);
}

TEST(CmMessage, header_is_that_of_a_send_of_communication_management) {
    const Mad mad = build(message(CmAttribute::Rtu));
    EXPECT_EQ(load8(&mad[0]), 1);  // IBA 13.4.3
    EXPECT_EQ(load8(&mad[1]), 7);
    EXPECT_EQ(load8(&mad[2]), 2);
    EXPECT_EQ(load8(&mad[3]), 3);
    EXPECT_EQ(load32(&mad[4]), 0U);
    EXPECT_EQ(load64(&mad[8]), 0x0102030405060708U);
    EXPECT_EQ(load16(&mad[16]), 0x14);
    EXPECT_EQ(load16(&mad[18]), 0);
    EXPECT_EQ(load32(&mad[20]), 0U);
}

TEST(CmMessage, req_has_every_field_at_its_place_12_6_5) {
    const Mad mad = build(request());
    EXPECT_EQ(load16(&mad[16]), 0x10);
    EXPECT_EQ(load32(&mad[kData]), 0xa1a2a3a4U);
    EXPECT_EQ(load32(&mad[kData + 4]), 0U);
    EXPECT_EQ(load64(&mad[kData + 8]), 0x0000000001061b0fU);
    EXPECT_EQ(load64(&mad[kData + 16]), 0x1112131415161718U);
    EXPECT_EQ(load32(&mad[kData + 24]), 0U);
    EXPECT_EQ(load32(&mad[kData + 28]), 0x21222324U);
    EXPECT_EQ(load32(&mad[kData + 32]), 0x31323334U);
    EXPECT_EQ(load32(&mad[kData + 36]), 0x35U);
    EXPECT_EQ(load24(&mad[kData + 39]), 0U);  // no remote EE context
    EXPECT_EQ(bits(mad, 43, 3, 5), 20U);      // remote CM response timeout
    EXPECT_EQ(bits(mad, 43, 1, 2), 0U);       // RC
    EXPECT_EQ(bits(mad, 43, 0, 1), 1U);       // end-to-end flow control
    EXPECT_EQ(load32(&mad[kData + 44]) >> 8, 0x414243U);
    EXPECT_EQ(bits(mad, 47, 3, 5), 19U);  // local CM response timeout
    EXPECT_EQ(bits(mad, 47, 0, 3), 6U);   // retry count
    EXPECT_EQ(load16(&mad[kData + 48]), 0xffff);
    EXPECT_EQ(bits(mad, 50, 4, 4), 4U);   // path MTU
    EXPECT_EQ(bits(mad, 50, 3, 1), 0U);   // RDC exists
    EXPECT_EQ(bits(mad, 50, 0, 3), 5U);   // RNR retry count
    EXPECT_EQ(bits(mad, 51, 4, 4), 15U);  // max CM retries
    EXPECT_EQ(bits(mad, 51, 3, 1), 1U);   // SRQ
    EXPECT_EQ(bits(mad, 51, 0, 3), 0U);   // extended transport type
    EXPECT_EQ(load32(&mad[kData + 52]), 0xffffffffU);
    EXPECT_EQ(load64(&mad[kData + 64]), 0x0000ffff0a000001U);
    EXPECT_EQ(load64(&mad[kData + 80]), 0x0000ffff0a000002U);
    EXPECT_EQ(load32(&mad[kData + 88]) >> 12, 0x54321U);
    EXPECT_EQ(load8(&mad[kData + 92]), 0x62);
    EXPECT_EQ(load8(&mad[kData + 93]), 64);
    EXPECT_EQ(bits(mad, 94, 0, 8), 0U);  // SL 0, not subnet local
    EXPECT_EQ(bits(mad, 95, 3, 5), 18U);
    EXPECT_TRUE(std::all_of(&mad[kData + 96], &mad[kData + 140],
                            [](std::byte b) { return b == std::byte{0}; }));  // no alternate path
    EXPECT_EQ(load8(&mad[kData + 140]), 1);
    EXPECT_EQ(load8(&mad[255]), 92);
}

TEST(CmMessage, mra_has_every_field_at_its_place_12_6_6) {
    CmMessage m = message(CmAttribute::Mra);
    m.remote_id = 0xb1b2b3b4;
    m.about = CmAbout::Rep;
    m.service_timeout = 21;
    const Mad mad = build(m);
    EXPECT_EQ(load64(&mad[kData]), 0xa1a2a3a4b1b2b3b4U);
    EXPECT_EQ(bits(mad, 8, 6, 2), 1U);
    EXPECT_EQ(bits(mad, 9, 3, 5), 21U);
    EXPECT_EQ(load8(&mad[kData + 10]), 1);
    EXPECT_EQ(load8(&mad[255]), 222);
}

TEST(CmMessage, rej_has_every_field_at_its_place_12_6_7) {
    CmMessage m = message(CmAttribute::Rej);
    m.remote_id = 0xb1b2b3b4;
    m.about = CmAbout::Other;
    m.reason = CmReason::InvalidMtu;
    m.info_bytes = 3;
    m.info = {7, 8, 9};
    const Mad mad = build(m);
    EXPECT_EQ(load64(&mad[kData]), 0xa1a2a3a4b1b2b3b4U);
    EXPECT_EQ(bits(mad, 8, 6, 2), 2U);
    EXPECT_EQ(bits(mad, 9, 1, 7), 3U);
    EXPECT_EQ(load16(&mad[kData + 10]), 26);
    EXPECT_EQ(load32(&mad[kData + 12]), 0x07080900U);
    EXPECT_EQ(load8(&mad[kData + 84]), 1);
    EXPECT_EQ(load8(&mad[255]), 148);
}

TEST(CmMessage, rep_has_every_field_at_its_place_12_6_8) {
    CmMessage m = request();
    m.private_data = message(CmAttribute::Rep).private_data;
    m.attribute = CmAttribute::Rep;
    m.remote_id = 0xb1b2b3b4;
    m.target_ack_delay = 15;
    const Mad mad = build(m);
    EXPECT_EQ(load64(&mad[kData]), 0xa1a2a3a4b1b2b3b4U);
    EXPECT_EQ(load32(&mad[kData + 8]), 0x21222324U);
    EXPECT_EQ(load32(&mad[kData + 12]), 0x31323300U);
    EXPECT_EQ(load32(&mad[kData + 16]), 0U);
    EXPECT_EQ(load32(&mad[kData + 20]), 0x41424300U);
    EXPECT_EQ(load8(&mad[kData + 24]), 0x34);
    EXPECT_EQ(load8(&mad[kData + 25]), 0x35);
    EXPECT_EQ(bits(mad, 26, 3, 5), 15U);
    EXPECT_EQ(bits(mad, 26, 1, 2), 0U);  // failover accepted
    EXPECT_EQ(bits(mad, 26, 0, 1), 1U);
    EXPECT_EQ(bits(mad, 27, 5, 3), 5U);
    EXPECT_EQ(bits(mad, 27, 4, 1), 1U);
    EXPECT_EQ(load64(&mad[kData + 28]), 0x1112131415161718U);
    EXPECT_EQ(load8(&mad[kData + 36]), 1);
    EXPECT_EQ(load8(&mad[255]), 196);
}

TEST(CmMessage, dreq_has_every_field_at_its_place_12_6_10) {
    CmMessage m = message(CmAttribute::Dreq);
    m.remote_id = 0xb1b2b3b4;
    m.qpn = 0x515253;
    const Mad mad = build(m);
    EXPECT_EQ(load64(&mad[kData]), 0xa1a2a3a4b1b2b3b4U);
    EXPECT_EQ(load32(&mad[kData + 8]), 0x51525300U);
    EXPECT_EQ(load8(&mad[255]), 220);
}

TEST(CmMessage, rtu_and_drep_have_their_ids_and_nothing_else_12_6_9) {
    for (const CmAttribute attribute : {CmAttribute::Rtu, CmAttribute::Drep}) {
        CmMessage m = message(attribute);
        m.remote_id = 0xb1b2b3b4;
        const Mad mad = build(m);
        EXPECT_EQ(load64(&mad[kData]), 0xa1a2a3a4b1b2b3b4U);
        EXPECT_EQ(load8(&mad[kData + 8]), 1);
        EXPECT_EQ(load8(&mad[255]), 224);
    }
}

TEST(CmMessage, sidr_req_has_every_field_at_its_place_12_11_1) {
    CmMessage m = message(CmAttribute::SidrReq);
    m.pkey = 0xffff;
    m.service_id = 0x0000000001111b0f;
    const Mad mad = build(m);
    EXPECT_EQ(load32(&mad[kData]), 0xa1a2a3a4U);
    EXPECT_EQ(load32(&mad[kData + 4]), 0xffff0000U);
    EXPECT_EQ(load64(&mad[kData + 8]), 0x0000000001111b0fU);
    EXPECT_EQ(load8(&mad[kData + 16]), 1);
    EXPECT_EQ(load8(&mad[255]), 216);
}

TEST(CmMessage, sidr_rep_has_every_field_at_its_place_12_11_2) {
    CmMessage m = message(CmAttribute::SidrRep);
    m.status = SidrStatus::Rejected;
    m.info_bytes = 1;
    m.info = {9};
    m.qpn = 0x515253;
    m.service_id = 0x0000000001111b0f;
    m.qkey = 0x01234567;
    const Mad mad = build(m);
    EXPECT_EQ(load32(&mad[kData]), 0xa1a2a3a4U);
    EXPECT_EQ(load32(&mad[kData + 4]), 0x02010000U);
    EXPECT_EQ(load32(&mad[kData + 8]), 0x51525300U);
    EXPECT_EQ(load64(&mad[kData + 12]), 0x0000000001111b0fU);
    EXPECT_EQ(load32(&mad[kData + 20]), 0x01234567U);
    EXPECT_EQ(load8(&mad[kData + 24]), 9);
    EXPECT_EQ(load8(&mad[kData + 96]), 1);
    EXPECT_EQ(load8(&mad[255]), 136);
}

TEST(CmMessage, every_message_is_read_as_it_was_written) {
    for (uint16_t attribute = 0x10; attribute <= 0x18; ++attribute) {
        CmMessage m = request();
        m.attribute = static_cast<CmAttribute>(attribute);
        m.remote_id = 0xb1b2b3b4;
        m.about = CmAbout::Rep;
        m.service_timeout = 21;
        m.reason = CmReason::StaleConnection;
        m.status = SidrStatus::Unsupported;
        m.info_bytes = 72;
        m.info.fill(5);
        m.target_ack_delay = 15;
        const Mad mad = build(m);
        const CmMessage read = parsed(mad);
        EXPECT_EQ(read.attribute, m.attribute);
        EXPECT_EQ(read.transaction, m.transaction);
        EXPECT_EQ(read.local_id, m.local_id);
        EXPECT_EQ(build(read), mad) << "attribute " << attribute;
    }
}

TEST(CmMessage, req_is_read_field_by_field) {
    const CmMessage m = parsed(build(request()));
    EXPECT_EQ(m.qpn, 0x313233U);
    EXPECT_EQ(m.psn, 0x414243U);
    EXPECT_EQ(m.responder_resources, 0x34);
    EXPECT_EQ(m.initiator_depth, 0x35);
    EXPECT_EQ(m.remote_response_timeout, 20);
    EXPECT_EQ(m.local_response_timeout, 19);
    EXPECT_EQ(m.max_retries, 15);
    EXPECT_EQ(m.transport, kCmTransportRc);
    EXPECT_TRUE(m.flow_control);
    EXPECT_TRUE(m.srq);
    EXPECT_EQ(m.retry_count, 6);
    EXPECT_EQ(m.rnr_retry_count, 5);
    EXPECT_EQ(m.mtu, 4);
    EXPECT_EQ(m.sender_gid, kA);
    EXPECT_EQ(m.receiver_gid, kB);
    EXPECT_EQ(m.flow_label, 0x54321U);
    EXPECT_EQ(m.traffic_class, 0x62);
    EXPECT_EQ(m.hop_limit, 64);
    EXPECT_EQ(m.ack_timeout, 18);
    EXPECT_EQ(m.service_id, ip_service_id(0x0106, 0x1b0f));
    EXPECT_EQ(m.private_data[91], 92);
}

TEST(CmMessage, other_transport_is_told_from_rc) {
    Mad mad = build(request());
    mad[kData + 43] |= std::byte{2};  // UC
    EXPECT_NE(parsed(mad).transport, kCmTransportRc);
    mad = build(request());
    mad[kData + 51] |= std::byte{1};  // XRC
    EXPECT_NE(parsed(mad).transport, kCmTransportRc);
}

TEST(CmMessage, reserved_fields_are_not_looked_at_13_4_2) {
    Mad mad = build(message(CmAttribute::Rtu));
    mad[18] = mad[20] = std::byte{0xff};
    EXPECT_EQ(parsed(mad).local_id, 0xa1a2a3a4U);
}

// -- what is refused ------------------------------------------------------------------------------

void is_refused(CmAttribute attribute, DropReason reason, const std::function<void(Mad&)>& spoil) {
    CmMessage m = request();
    m.attribute = attribute;
    Mad mad = build(m);
    ASSERT_TRUE(parse_cm(mad));
    spoil(mad);
    const auto result = parse_cm(mad);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), reason) << drop_reason_name(result.error());
}

TEST(CmMessage, other_length_is_refused) {
    const Mad mad = build(request());
    for (const size_t bytes : {size_t{0}, size_t{24}, kMadBytes - 1}) {
        EXPECT_EQ(parse_cm(std::span(mad).first(bytes)).error(), DropReason::MadLength);
    }
    std::array<std::byte, kMadBytes + 4> longer{};
    std::copy(mad.begin(), mad.end(), longer.begin());
    EXPECT_EQ(parse_cm(longer).error(), DropReason::MadLength);
}

TEST(CmMessage, other_base_version_is_refused) {
    is_refused(CmAttribute::Req, DropReason::MadVersion, [](Mad& mad) { mad[0] = std::byte{2}; });
}

TEST(CmMessage, other_class_is_refused) {
    is_refused(CmAttribute::Req, DropReason::MadClass, [](Mad& mad) { mad[1] = std::byte{3}; });
}

TEST(CmMessage, other_class_version_is_refused) {
    is_refused(CmAttribute::Req, DropReason::MadClassVersion,
               [](Mad& mad) { mad[2] = std::byte{1}; });
}

TEST(CmMessage, other_method_is_refused) {
    is_refused(CmAttribute::Req, DropReason::MadMethod, [](Mad& mad) { mad[3] = std::byte{1}; });
}

TEST(CmMessage, unknown_attributes_are_refused) {
    for (const uint8_t attribute : std::array<uint8_t, 4>{0x0f, 0x19, 0x1a, 0x1b}) {
        is_refused(CmAttribute::Req, DropReason::CmAttribute,
                   [&](Mad& mad) { mad[17] = std::byte{attribute}; });
    }
    is_refused(CmAttribute::Req, DropReason::CmAttribute, [](Mad& mad) { mad[16] = std::byte{1}; });
}

TEST(CmMessage, path_mtu_that_does_not_exist_is_refused) {
    for (const uint8_t mtu : std::array<uint8_t, 3>{0, 6, 15}) {
        is_refused(CmAttribute::Req, DropReason::CmMtu,
                   [&](Mad& mad) { mad[kData + 50] = std::byte{static_cast<uint8_t>(mtu << 4)}; });
    }
}

TEST(CmMessage, message_about_one_that_does_not_exist_is_refused) {
    for (const CmAttribute attribute : {CmAttribute::Mra, CmAttribute::Rej}) {
        is_refused(attribute, DropReason::CmAbout,
                   [](Mad& mad) { mad[kData + 8] = std::byte{0xc0}; });
    }
}

TEST(CmMessage, information_beyond_its_field_is_refused) {
    is_refused(CmAttribute::Rej, DropReason::CmInfoLength,
               [](Mad& mad) { mad[kData + 9] = std::byte{73 << 1}; });
    is_refused(CmAttribute::SidrRep, DropReason::CmInfoLength,
               [](Mad& mad) { mad[kData + 5] = std::byte{73}; });
}

// -- IP addresses in private data -----------------------------------------------------------------

TEST(CmIpHeader, ipv4_has_every_field_at_its_place_a11_3_2) {
    std::array<uint8_t, 92> data{};
    data.fill(0xee);
    build_cm_ip({.port = 0x1234, .source = kA, .destination = kB}, data);
    EXPECT_EQ(data[0], 0);     // version
    EXPECT_EQ(data[1], 0x40);  // IPv4
    EXPECT_EQ(data[2], 0x12);
    EXPECT_EQ(data[3], 0x34);
    EXPECT_TRUE(std::all_of(&data[4], &data[16], [](uint8_t b) { return b == 0; }));
    EXPECT_EQ((std::array{data[16], data[17], data[18], data[19]}),
              (std::array<uint8_t, 4>{10, 0, 0, 1}));
    EXPECT_EQ((std::array{data[32], data[33], data[34], data[35]}),
              (std::array<uint8_t, 4>{10, 0, 0, 2}));
    EXPECT_EQ(data[36], 0xee);  // the program's
}

TEST(CmIpHeader, both_families_are_read_as_they_were_written) {
    Address v6_a{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}};
    Address v6_b{{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};
    for (const auto& [source, destination] : {std::pair{kA, kB}, std::pair{v6_a, v6_b}}) {
        std::array<uint8_t, 92> data{};
        build_cm_ip({.port = 7174, .source = source, .destination = destination}, data);
        const auto header = parse_cm_ip(data);
        ASSERT_TRUE(header);
        EXPECT_EQ(header->port, 7174);
        EXPECT_EQ(header->source, source);
        EXPECT_EQ(header->destination, destination);
    }
}

TEST(CmIpHeader, other_version_is_refused) {
    std::array<uint8_t, 92> data{};
    build_cm_ip({.port = 1, .source = kA, .destination = kB}, data);
    data[0] = 1;
    EXPECT_EQ(parse_cm_ip(data).error(), DropReason::CmIpVersion);
    data[0] = 0;
    EXPECT_EQ(parse_cm_ip(std::span(data).first(35)).error(), DropReason::CmIpVersion);
    EXPECT_TRUE(parse_cm_ip(std::span(data).first(36)));
}

TEST(CmIpHeader, other_family_is_refused) {
    std::array<uint8_t, 92> data{};
    build_cm_ip({.port = 1, .source = kA, .destination = kB}, data);
    for (const uint8_t family : std::array<uint8_t, 3>{0, 5, 15}) {
        data[1] = static_cast<uint8_t>(family << 4);
        EXPECT_EQ(parse_cm_ip(data).error(), DropReason::CmIpFamily);
    }
}

}  // namespace
}  // namespace vrdma::wire
