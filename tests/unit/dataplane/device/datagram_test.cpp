// Unreliable datagrams: addressing by entry, the 40 bytes in front of a message, and what is
// dropped. Nothing that a peer sends may stop a datagram queue pair.
#include "pair.h"

namespace vrdma::test {
namespace {

class Datagrams : public Pair {
  protected:
    Datagrams() {
        make_datagram_pair();
        from = a.buffer(kPortMtu);
        from.fill(5);
        to = b.buffer(kPortMtu + kGrhBytes);
    }
    // One datagram of `bytes` from left to right; the receive has room for anything.
    void send(uint32_t bytes) {
        b.post_receive(right, 1, {to.sge()});
        a.post(left, datagram(2, {from.sge(0, bytes)}));
        world.settle();
    }
    void expect_dropped(Counter counter) {
        world.settle();
        EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
        EXPECT_NO_COMPLETION(b.cq);
        EXPECT_EQ(world.total(counter == Counter::UdDroppedNoQp ? blamed : b.vnic, counter), 1U);
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
    }
    [[nodiscard]] uint32_t byte(uint32_t at) const {
        return std::to_integer<uint32_t>(to.data[at]);
    }
    [[nodiscard]] uint32_t word(uint32_t at) const { return byte(at) << 8 | byte(at + 1); }

    Buffer from;
    Buffer to;
    uint32_t blamed = b.vnic;
};

TEST_P(Datagrams, datagram_arrives_behind_forty_bytes_with_its_source) {
    send(1000);
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 1, VRDMA_WC_RECV);
    EXPECT_EQ(received.byte_len, 1040U);
    EXPECT_EQ(received.flags, VRDMA_CQE_GRH | VRDMA_CQE_IPV4);
    EXPECT_EQ(received.src_qpn_or_index, left.qpn);
    EXPECT_EQ(to.text(kGrhBytes, 1000), from.text(0, 1000));
}

// RoCEv2 annex A17.4.5.1: 20 bytes that mean nothing, then the IPv4 header.
TEST_P(Datagrams, grh_area_of_an_ipv4_datagram_holds_the_ipv4_header) {
    b.post_receive(right, 1, {to.sge()});
    Send send = datagram(2, {from.sge(0, 1001)});
    send.traffic_class = 0x2e;
    send.hop_limit = 33;
    a.post(left, send);
    world.settle();
    EXPECT_EQ(next(b.cq).status, VRDMA_WC_SUCCESS);
    for (uint32_t i = 0; i < 20; ++i) {
        EXPECT_EQ(byte(i), 0U);
    }
    EXPECT_EQ(byte(20), 0x45U);
    EXPECT_EQ(byte(21), 0x2eU);
    EXPECT_EQ(word(22), 20U + 8 + 12 + 8 + 1004 + 4);  // IPv4, UDP, BTH, DETH, padded data, ICRC
    EXPECT_EQ(byte(28), 33U);
    EXPECT_EQ(byte(29), 17U);
    EXPECT_EQ(word(32) << 16 | word(34), kAddressA);
    EXPECT_EQ(word(36) << 16 | word(38), kAddressB);
    uint32_t sum = 0;
    for (uint32_t i = 20; i < 40; i += 2) {
        sum += word(i);
    }
    EXPECT_EQ((sum & 0xffff) + (sum >> 16), 0xffffU) << "header checksum (RFC 1071)";
}

TEST_P(Datagrams, grh_area_of_a_link_local_datagram_is_the_ipv6_header) {
    b.post_receive(right, 1, {to.sge()});
    Send send = datagram(2, {from.sge(0, 8)});
    send.gid = gid_of(b, 0);
    send.sgid_index = 0;
    send.traffic_class = 0xa5;
    send.flow_label = 0x12345;
    send.hop_limit = 9;
    a.post(left, send);
    world.settle();
    const vrdma_cqe received = next(b.cq);
    EXPECT_EQ(received.status, VRDMA_WC_SUCCESS);
    EXPECT_EQ(received.flags, VRDMA_CQE_GRH);
    EXPECT_EQ(word(0) << 16 | word(2), 0x6a512345U);
    EXPECT_EQ(word(4), 8U + 12 + 8 + 8 + 4);
    EXPECT_EQ(byte(6), 17U);
    EXPECT_EQ(byte(7), 9U);
    const vrdma_gid_entry source = gid_of(a, 0);
    const vrdma_gid_entry destination = gid_of(b, 0);
    EXPECT_EQ(std::memcmp(to.data + 8, source.gid, 16), 0);
    EXPECT_EQ(std::memcmp(to.data + 24, destination.gid, 16), 0);
}

// A receiver answers to what the header says: it must be the sender's own address, whatever entry
// of the table the sender names.
TEST_P(Datagrams, source_address_is_the_senders_own_whatever_sgid_index_says) {
    for (const uint8_t index : {uint8_t{0}, uint8_t{2}, uint8_t{3}, uint8_t{200}}) {
        b.post_receive(right, 1, {to.sge()});
        Send send = datagram(2, {from.sge(0, 8)});
        send.sgid_index = index;
        a.post(left, send);
        world.settle();
        EXPECT_EQ(next(b.cq).status, VRDMA_WC_SUCCESS);
        EXPECT_EQ(word(32) << 16 | word(34), kAddressA) << int{index};
    }
    b.post_receive(right, 1, {to.sge()});
    Send send = datagram(2, {from.sge(0, 8)});
    send.gid = gid_of(b, 0);
    a.post(left, send);
    world.settle();
    EXPECT_EQ(next(b.cq).status, VRDMA_WC_SUCCESS);
    const vrdma_gid_entry source = gid_of(a, 0);
    EXPECT_EQ(std::memcmp(to.data + 8, source.gid, 16), 0);
}

TEST_P(Datagrams, immediate_and_inline_and_empty_datagrams_arrive) {
    for (uint64_t i = 0; i < 3; ++i) {
        b.post_receive(right, i, {to.sge()});
    }
    Send imm = datagram(0, {from.sge(0, 4)});
    imm.opcode = VRDMA_WQE_SEND_WITH_IMM;
    imm.imm = 99;
    a.post(left, imm);
    Send in_line = datagram(1, {});
    in_line.flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE;
    in_line.inline_data = "datagram";
    a.post(left, in_line);
    a.post(left, datagram(2, {}));
    world.settle();
    const vrdma_cqe first = next(b.cq);
    EXPECT_EQ(first.flags, VRDMA_CQE_GRH | VRDMA_CQE_IPV4 | VRDMA_CQE_WITH_IMM);
    EXPECT_EQ(first.imm_data, 99U);
    EXPECT_EQ(next(b.cq).byte_len, 48U);
    EXPECT_EQ(to.text(40, 8), "datagram");
    EXPECT_EQ(next(b.cq).byte_len, 40U);
}

TEST_P(Datagrams, largest_datagram_is_one_mtu) {
    send(kPortMtu);
    EXPECT_EQ(next(b.cq).byte_len, kPortMtu + kGrhBytes);
    EXPECT_EQ(to.text(kGrhBytes, kPortMtu), from.text());
}

// Every entry may cross into another range of its MR: a datagram still is one message.
TEST_P(Datagrams, datagram_of_many_pieces_stays_one_message) {
    const QpOptions many{.type = VRDMA_QPT_UD, .max_send_sge = VRDMA_MAX_SGE};
    QueuePair sender = a.create_qp(many);
    connect(a, sender, {}, 0);
    std::byte* pages = a.allocate(4 * VRDMA_PAGE_BYTES);
    const uint32_t region = a.add_region(pages, 4 * VRDMA_PAGE_BYTES);
    // Two bytes at 4095 of the MR stand far apart.
    const Buffer split = a.register_ranges(
        {{region, 0, 0, VRDMA_PAGE_BYTES}, {region, 0, 2 * VRDMA_PAGE_BYTES, VRDMA_PAGE_BYTES}},
        0x10000, {});
    pages[4095] = std::byte{'x'};
    pages[8192] = std::byte{'y'};
    const std::vector<vrdma_sge> sges(VRDMA_MAX_SGE, {0x10000 + 4095, 2, split.key});
    b.post_receive(right, 1, {to.sge()});
    b.post_receive(right, 2, {to.sge()});
    a.post(sender, datagram(3, sges));
    world.settle();
    EXPECT_EQ(next(b.cq).byte_len, kGrhBytes + 2 * VRDMA_MAX_SGE);
    EXPECT_NO_COMPLETION(b.cq);
    std::string expected;
    for (int i = 0; i < VRDMA_MAX_SGE; ++i) {
        expected += "xy";
    }
    EXPECT_EQ(to.text(kGrhBytes, 2 * VRDMA_MAX_SGE), expected);
}

// IBA 10.2.5: the high bit of a remote Q_Key names the queue pair's own one.
TEST_P(Datagrams, high_bit_of_the_qkey_means_the_queue_pairs_own) {
    b.post_receive(right, 1, {to.sge()});
    Send send = datagram(2, {});
    send.qkey = 0x80000000;
    a.post(left, send);
    world.settle();
    EXPECT_EQ(next(b.cq).status, VRDMA_WC_SUCCESS);
}

TEST_P(Datagrams, wrong_qkey_is_dropped) {
    b.post_receive(right, 1, {to.sge()});
    Send send = datagram(2, {});
    send.qkey = kQkey + 1;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedQkey);
}

TEST_P(Datagrams, unknown_qpn_is_dropped) {
    Send send = datagram(2, {});
    send.qpn = right.qpn ^ 1;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedNoQp);
}

TEST_P(Datagrams, unknown_gid_is_dropped) {
    Send send = datagram(2, {});
    send.gid = World::ipv4_gid(0x0a0000ff);
    blamed = a.vnic;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedNoQp);
}

TEST_P(Datagrams, gid_of_another_network_is_dropped) {
    const uint32_t other = world.add_vnic(kNetwork + 1, 0x0a000009);
    Tenant c(world, other, 0);
    QueuePair target = c.create_qp({.type = VRDMA_QPT_UD});
    connect(c, target, {}, 0);
    c.post_receive(target, 1, {});
    Send send = datagram(2, {});
    send.gid = gid_of(c);
    send.qpn = target.qpn;
    blamed = a.vnic;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedNoQp);
    EXPECT_NO_COMPLETION(c.cq);
}

TEST_P(Datagrams, qpn_of_another_vnic_is_dropped) {
    const uint32_t other = world.add_vnic(kNetwork, 0x0a000009);
    Send send = datagram(2, {});
    send.gid = World::ipv4_gid(0x0a000009);
    blamed = other;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedNoQp);
}

TEST_P(Datagrams, connected_queue_pair_takes_no_datagrams) {
    QueuePair connected = b.create_qp();
    connect(b, connected, gid_of(a), left.qpn);
    b.post_receive(connected, 1, {});
    Send send = datagram(2, {});
    send.qpn = connected.qpn;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedNoQp);
}

TEST_P(Datagrams, queue_pair_before_rtr_takes_nothing) {
    QueuePair early = b.create_qp({.type = VRDMA_QPT_UD});
    to_init(b, early);
    b.post_receive(early, 1, {to.sge()});
    Send send = datagram(2, {});
    send.qpn = early.qpn;
    a.post(left, send);
    expect_dropped(Counter::UdDroppedNoQp);
}

TEST_P(Datagrams, down_vnic_gets_nothing) {
    world.set_up(b.vnic, false);
    blamed = a.vnic;
    b.post_receive(right, 1, {to.sge()});
    a.post(left, datagram(2, {}));
    expect_dropped(Counter::UdDroppedNoQp);
}

TEST_P(Datagrams, without_a_receive_it_is_dropped) {
    a.post(left, datagram(2, {}));
    expect_dropped(Counter::UdDroppedNoReceive);
}

// Dropped, and the receive waits for a datagram that fits: a peer must not be able to stop the
// queue pair.
TEST_P(Datagrams, too_long_for_the_receive_is_dropped_and_the_receive_kept) {
    b.post_receive(right, 1, {to.sge(0, 100)});
    a.post(left, datagram(2, {from.sge(0, 61)}));
    expect_dropped(Counter::UdDroppedLength);
    a.post(left, datagram(3, {from.sge(0, 60)}));
    world.settle();
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 1, VRDMA_WC_RECV);
    EXPECT_EQ(received.byte_len, 100U);
}

TEST_P(Datagrams, receive_kept_after_a_long_datagram_is_flushed_once) {
    b.post_receive(right, 1, {to.sge(0, 100)});
    b.post_receive(right, 2, {to.sge()});
    a.post(left, datagram(2, {from.sge(0, 61)}));
    expect_dropped(Counter::UdDroppedLength);
    Tenant::EXPECT_DONE(b.to_state(right, VRDMA_QPS_ERR));
    expect_flushed(next(b.cq), 1);
    expect_flushed(next(b.cq), 2);
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Datagrams, receive_with_a_wrong_lkey_fails_its_queue_pair) {
    b.post_receive(right, 1, {vrdma_sge{to.address(), to.length, to.key + 1}});
    a.post(left, datagram(2, {from.sge(0, 8)}));
    world.settle();
    EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
    expect_failure(next(b.cq), 1, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_RECV_LKEY);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_ERR);
    EXPECT_EQ(world.total(b.vnic, Counter::UdDroppedMemory), 1U);
}

// IBA 10.3.1.7: a send queue error of UD leaves the receive queue alive; RTS again goes on.
TEST_P(Datagrams, failed_send_stops_the_send_queue_until_rts) {
    a.post_quietly(left, datagram(1, {vrdma_sge{from.address(), 8, from.key + 1}}));
    a.post(left, datagram(2, {}));
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_LOC_PROT_ERR, VRDMA_REASON_LKEY_UNKNOWN);
    expect_flushed(next(a.cq), 2);
    EXPECT_EQ(a.state_of(left), VRDMA_QPS_SQE);
    EXPECT_EQ(left.header->in_error, 0U);
    a.post(left, datagram(3, {}));
    world.settle();
    expect_flushed(next(a.cq), 3);
    // It still receives.
    const Buffer room = a.buffer(64);
    a.post_receive(left, 9, {room.sge()});
    b.post(right, {.qpn = left.qpn, .qkey = kQkey, .gid = gid_of(a)});
    world.settle();
    expect_success(next(a.cq), 9, VRDMA_WC_RECV);
    EXPECT_EQ(next(b.cq).status, VRDMA_WC_SUCCESS);
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RTS));
    b.post_receive(right, 4, {to.sge()});
    a.post(left, datagram(5, {}));
    world.settle();
    expect_success(next(a.cq), 5, VRDMA_WC_SEND);
    expect_success(next(b.cq), 4, VRDMA_WC_RECV);
}

ON_ONE_AND_TWO_SHARDS(Datagrams);

}  // namespace
}  // namespace vrdma::test
