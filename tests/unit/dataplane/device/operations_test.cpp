// What every operation does when nothing is wrong, on one shard and across two.
#include "pair.h"

namespace vrdma::test {
namespace {

using Operations = Pair;

constexpr uint32_t kBytes = 1000;

// IBA 9.4.1, 9.9.2.
TEST_P(Operations, send_fills_the_receive_and_completes_both_sides) {
    connect_pair();
    const Buffer from = a.buffer(kBytes);
    const Buffer to = b.buffer(2 * kBytes);
    from.fill(3);
    b.post_receive(right, 20, {to.sge()});
    a.post(left, {.wr_id = 10, .sges = {from.sge()}});
    world.settle();
    const vrdma_cqe sent = next(a.cq);
    expect_success(sent, 10, VRDMA_WC_SEND);
    EXPECT_EQ(sent.qpn, left.qpn);
    EXPECT_EQ(sent.src_qpn_or_index, 0U);
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 20, VRDMA_WC_RECV);
    EXPECT_EQ(received.qpn, right.qpn);
    EXPECT_EQ(received.byte_len, kBytes);
    EXPECT_EQ(received.flags, 0);
    EXPECT_EQ(to.text(0, kBytes), from.text());
    EXPECT_EQ(to.text(kBytes, kBytes), std::string(kBytes, '\0'));
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Operations, send_with_immediate_carries_it_unchanged) {
    connect_pair();
    const Buffer from = a.buffer(8);
    const Buffer to = b.buffer(8);
    b.post_receive(right, 1, {to.sge()});
    a.post(left, {.opcode = VRDMA_WQE_SEND_WITH_IMM, .sges = {from.sge()}, .imm = 0xa1b2c3d4});
    world.settle();
    const vrdma_cqe received = next(b.cq);
    EXPECT_EQ(received.flags, VRDMA_CQE_WITH_IMM);
    EXPECT_EQ(received.imm_data, 0xa1b2c3d4U);
    EXPECT_EQ(received.opcode, VRDMA_WC_RECV);
}

// IBA 9.4.3: a WRITE takes no receive.
TEST_P(Operations, write_places_bytes_and_leaves_receives_alone) {
    connect_pair();
    const Buffer from = a.buffer(kBytes);
    const Buffer to = b.buffer(kBytes);
    from.fill(9);
    b.post_receive(right, 1, {});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .wr_id = 4,
                  .sges = {from.sge()},
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.settle();
    expect_success(next(a.cq), 4, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(to.text(), from.text());
    EXPECT_NO_COMPLETION(b.cq);
}

TEST_P(Operations, write_with_immediate_takes_a_receive_and_reports_the_written_length) {
    connect_pair();
    const Buffer from = a.buffer(kBytes);
    const Buffer to = b.buffer(kBytes);
    from.fill(1);
    b.post_receive(right, 6, {});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM,
                  .wr_id = 5,
                  .sges = {from.sge()},
                  .imm = 77,
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.settle();
    expect_success(next(a.cq), 5, VRDMA_WC_RDMA_WRITE);
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 6, VRDMA_WC_RECV_RDMA_WITH_IMM);
    EXPECT_EQ(received.byte_len, kBytes);
    EXPECT_EQ(received.imm_data, 77U);
    EXPECT_EQ(received.flags, VRDMA_CQE_WITH_IMM);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Operations, read_fetches_the_remote_bytes) {
    connect_pair();
    const Buffer to = a.buffer(kBytes);
    const Buffer from = b.buffer(kBytes);
    from.fill(5);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                  .wr_id = 8,
                  .sges = {to.sge()},
                  .remote_address = from.address(),
                  .rkey = from.key});
    world.settle();
    const vrdma_cqe done = next(a.cq);
    expect_success(done, 8, VRDMA_WC_RDMA_READ);
    EXPECT_EQ(done.byte_len, kBytes);
    EXPECT_EQ(to.text(), from.text());
    EXPECT_NO_COMPLETION(b.cq);
}

// IBA 9.4.5.
TEST_P(Operations, fetch_and_add_returns_the_original_value) {
    connect_pair();
    const Buffer result = a.buffer(8);
    const Buffer word = b.buffer(8);
    const uint64_t start = 40;
    std::memcpy(word.data, &start, 8);
    a.post(left, {.opcode = VRDMA_WQE_ATOMIC_FETCH_AND_ADD,
                  .wr_id = 2,
                  .sges = {result.sge()},
                  .remote_address = word.address(),
                  .rkey = word.key,
                  .compare_add = 2});
    world.settle();
    const vrdma_cqe done = next(a.cq);
    expect_success(done, 2, VRDMA_WC_FETCH_ADD);
    EXPECT_EQ(done.byte_len, 8U);
    uint64_t value = 0;
    std::memcpy(&value, result.data, 8);
    EXPECT_EQ(value, 40U);
    std::memcpy(&value, word.data, 8);
    EXPECT_EQ(value, 42U);
}

TEST_P(Operations, compare_and_swap_stores_only_when_the_value_matches) {
    connect_pair();
    const Buffer result = a.buffer(8);
    const Buffer word = b.buffer(8);
    const uint64_t start = 40;
    std::memcpy(word.data, &start, 8);
    Send swap{.opcode = VRDMA_WQE_ATOMIC_CMP_AND_SWP,
              .wr_id = 1,
              .sges = {result.sge()},
              .remote_address = word.address(),
              .rkey = word.key,
              .compare_add = 41,
              .swap = 99};
    a.post(left, swap);
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_COMP_SWAP);
    uint64_t value = 0;
    std::memcpy(&value, word.data, 8);
    EXPECT_EQ(value, 40U);
    swap.compare_add = 40;
    a.post(left, swap);
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_COMP_SWAP);
    std::memcpy(&value, word.data, 8);
    EXPECT_EQ(value, 99U);
    std::memcpy(&value, result.data, 8);
    EXPECT_EQ(value, 40U);
}

TEST_P(Operations, inline_data_is_taken_when_posted) {
    connect_pair();
    const Buffer to = b.buffer(64);
    b.post_receive(right, 1, {to.sge()});
    a.post(left, {.flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE, .inline_data = "hello inline"});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE,
                  .inline_data = "and written",
                  .remote_address = to.address() + 32,
                  .rkey = to.key});
    world.settle();
    EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
    EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
    EXPECT_EQ(next(b.cq).byte_len, 12U);
    EXPECT_EQ(to.text(0, 12), "hello inline");
    EXPECT_EQ(to.text(32, 11), "and written");
}

TEST_P(Operations, longest_inline_data_arrives_whole) {
    connect_pair({.max_inline = VRDMA_MAX_INLINE});
    const Buffer to = b.buffer(VRDMA_MAX_INLINE);
    b.post_receive(right, 1, {to.sge()});
    std::string text(VRDMA_MAX_INLINE, ' ');
    for (size_t i = 0; i < text.size(); ++i) {
        text[i] = static_cast<char>(i * 3);
    }
    a.post(left, {.flags = VRDMA_WQE_SIGNALED | VRDMA_WQE_INLINE, .inline_data = text});
    world.settle();
    EXPECT_EQ(next(a.cq).status, VRDMA_WC_SUCCESS);
    EXPECT_EQ(to.text(), text);
}

// IBA 9.4.1.1: a message of no bytes is a message.
TEST_P(Operations, empty_send_takes_a_receive) {
    connect_pair();
    b.post_receive(right, 3, {});
    a.post(left, {.wr_id = 2});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 3, VRDMA_WC_RECV);
    EXPECT_EQ(received.byte_len, 0U);
}

// IBA 9.7.4.1.5: the R_Key of a request of no bytes is not validated.
TEST_P(Operations, empty_write_and_read_do_not_look_at_the_rkey) {
    connect_pair();
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE, .wr_id = 1, .remote_address = 1, .rkey = 0});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_READ, .wr_id = 2, .remote_address = 1, .rkey = 0});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
    expect_success(next(a.cq), 2, VRDMA_WC_RDMA_READ);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Operations, empty_write_with_immediate_and_no_rkey_takes_a_receive) {
    connect_pair();
    b.post_receive(right, 9, {});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM, .wr_id = 1, .imm = 5});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
    expect_success(next(b.cq), 9, VRDMA_WC_RECV_RDMA_WITH_IMM);
}

class BigMessages : public Pair {
  protected:
    // Lengths around the slice and far beyond it.
    static constexpr uint32_t kLengths[] = {kSliceBytes - 1, kSliceBytes, kSliceBytes + 1,
                                            3 * kSliceBytes + 17, (5U << 20) + 3};
};

TEST_P(BigMessages, send_arrives_whole_at_any_length) {
    connect_pair();
    const Buffer from = a.buffer(6U << 20);
    const Buffer to = b.buffer(6U << 20);
    from.fill(7);
    for (const uint32_t length : kLengths) {
        std::memset(to.data, 0, to.length);
        b.post_receive(right, 1, {to.sge()});
        a.post(left, {.wr_id = length, .sges = {from.sge(1, length)}});
        world.settle();
        expect_success(next(a.cq), length, VRDMA_WC_SEND);
        EXPECT_EQ(next(b.cq).byte_len, length);
        EXPECT_EQ(std::memcmp(to.data, from.data + 1, length), 0);
        EXPECT_EQ(to.data[length], std::byte{0});
    }
}

TEST_P(BigMessages, write_arrives_whole_at_any_length) {
    connect_pair();
    const Buffer from = a.buffer(6U << 20);
    const Buffer to = b.buffer(6U << 20);
    from.fill(7);
    for (const uint32_t length : kLengths) {
        std::memset(to.data, 0, to.length);
        a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                      .wr_id = length,
                      .sges = {from.sge(0, length)},
                      .remote_address = to.address() + 3,
                      .rkey = to.key});
        world.settle();
        expect_success(next(a.cq), length, VRDMA_WC_RDMA_WRITE);
        EXPECT_EQ(std::memcmp(to.data + 3, from.data, length), 0);
        EXPECT_EQ(to.data[length + 3], std::byte{0});
        EXPECT_EQ(to.data[2], std::byte{0});
    }
}

TEST_P(BigMessages, read_arrives_whole_at_any_length) {
    connect_pair();
    const Buffer to = a.buffer(6U << 20);
    const Buffer from = b.buffer(6U << 20);
    from.fill(7);
    for (const uint32_t length : kLengths) {
        std::memset(to.data, 0, to.length);
        a.post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                      .wr_id = length,
                      .sges = {to.sge(5, length)},
                      .remote_address = from.address(),
                      .rkey = from.key});
        world.settle();
        expect_success(next(a.cq), length, VRDMA_WC_RDMA_READ);
        EXPECT_EQ(std::memcmp(to.data + 5, from.data, length), 0);
        EXPECT_EQ(to.data[length + 5], std::byte{0});
    }
}

class Scattering : public Pair {
  protected:
    // Cuts a buffer into entries of these lengths, one after the other.
    static std::vector<vrdma_sge> cut(const Buffer& buffer, const std::vector<uint32_t>& lengths) {
        std::vector<vrdma_sge> sges;
        uint32_t at = 0;
        for (const uint32_t length : lengths) {
            sges.push_back(buffer.sge(at, length));
            at += length;
        }
        return sges;
    }
};

TEST_P(Scattering, entries_of_both_sides_need_not_match) {
    connect_pair();
    const Buffer from = a.buffer(200'000);
    const Buffer to = b.buffer(200'000);
    from.fill(4);
    b.post_receive(right, 1, cut(to, {1, 70'000, 0, 129'999}));
    a.post(left, {.wr_id = 1, .sges = cut(from, {100'000, 0, 3, 99'997})});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(next(b.cq).byte_len, 200'000U);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Scattering, read_scatters_into_its_entries_in_order) {
    connect_pair();
    const Buffer to = a.buffer(200'000);
    const Buffer from = b.buffer(200'000);
    from.fill(4);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                  .wr_id = 1,
                  .sges = cut(to, {65'536, 1, 100'000, 34'463}),
                  .remote_address = from.address(),
                  .rkey = from.key});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_READ);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Scattering, full_list_of_entries_on_both_sides_works) {
    connect_pair({.max_send_sge = VRDMA_MAX_SGE, .max_recv_sge = VRDMA_MAX_SGE});
    const Buffer from = a.buffer(VRDMA_MAX_SGE * 100);
    const Buffer to = b.buffer(VRDMA_MAX_SGE * 100);
    from.fill(4);
    const std::vector<uint32_t> lengths(VRDMA_MAX_SGE, 100);
    b.post_receive(right, 1, cut(to, lengths));
    a.post(left, {.wr_id = 1, .sges = cut(from, lengths)});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(to.text(), from.text());
}

// Memory that is contiguous for the program but not for us: pieces in reversed order.
TEST_P(Scattering, message_crosses_the_ranges_of_an_mr) {
    connect_pair();
    constexpr uint32_t kPieces = 20;
    constexpr uint32_t kPiece = VRDMA_PAGE_BYTES;
    std::byte* pieces = b.allocate(kPieces * kPiece);
    const uint32_t region = b.add_region(pieces, kPieces * kPiece);
    std::vector<vrdma_mr_range> ranges;
    for (uint32_t i = 0; i < kPieces; ++i) {
        ranges.push_back({region, 0, (kPieces - 1 - i) * kPiece, kPiece});
    }
    constexpr uint64_t kIova = 0x7000'0000'0000;
    const Buffer to = b.register_ranges(ranges, kIova, {});
    const Buffer from = a.buffer(kPieces * kPiece);
    from.fill(2);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .wr_id = 1,
                  .sges = {from.sge()},
                  .remote_address = kIova,
                  .rkey = to.key});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
    for (uint32_t i = 0; i < kPieces; ++i) {
        EXPECT_EQ(std::memcmp(pieces + (kPieces - 1 - i) * kPiece, from.data + i * kPiece, kPiece),
                  0)
            << i;
    }
    const Buffer back = a.buffer(kPieces * kPiece);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_READ,
                  .wr_id = 2,
                  .sges = {back.sge(0, kPieces * kPiece - 100)},
                  .remote_address = kIova + 100,
                  .rkey = to.key});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_RDMA_READ);
    EXPECT_EQ(std::memcmp(back.data, from.data + 100, kPieces * kPiece - 100), 0);
}

TEST_P(Scattering, process_memory_on_both_sides_works) {
    connect_pair();
    constexpr uint32_t kLength = 200'000;
    const int file_a = world.new_file();
    const int file_b = world.new_file();
    std::byte* memory_a = a.allocate(kLength);
    std::byte* memory_b = b.allocate(kLength);
    const uint64_t length = (kLength + 4095) / 4096 * 4096;
    const uint32_t region_a = a.add_process_region(memory_a, length, file_a);
    const uint32_t region_b = b.add_process_region(memory_b, length, file_b);
    const auto address_a = reinterpret_cast<uint64_t>(memory_a);
    const auto address_b = reinterpret_cast<uint64_t>(memory_b);
    Buffer from = a.register_ranges({{region_a, 0, 0, kLength}}, address_a, {});
    Buffer to = b.register_ranges({{region_b, 0, 0, kLength}}, address_b, {});
    from.data = memory_a;
    to.data = memory_b;
    from.fill(8);
    b.post_receive(right, 1, {to.sge()});
    a.post(left, {.wr_id = 1, .sges = {from.sge()}});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(Operations, unsignaled_sends_complete_in_silence) {
    connect_pair();
    for (uint64_t i = 0; i < 3; ++i) {
        b.post_receive(right, i, {});
        a.post(left, {.wr_id = i, .flags = i == 2 ? uint8_t{VRDMA_WQE_SIGNALED} : uint8_t{0}});
    }
    world.settle();
    const vrdma_cqe last = next(a.cq);
    expect_success(last, 2, VRDMA_WC_SEND);
    EXPECT_EQ(last.src_qpn_or_index, 2U);
    EXPECT_NO_COMPLETION(a.cq);
    EXPECT_EQ(b.cq.poll_all().size(), 3U);
}

TEST_P(Operations, signal_all_completes_every_send) {
    connect_pair({.signal_all = true});
    b.post_receive(right, 1, {});
    a.post(left, {.wr_id = 5, .flags = 0});
    world.settle();
    expect_success(next(a.cq), 5, VRDMA_WC_SEND);
}

TEST_P(Operations, ring_wraps_and_order_is_kept) {
    connect_pair({.sq_entries = 8, .rq_entries = 8});
    const Buffer from = a.buffer(8);
    const Buffer to = b.buffer(8);
    for (uint64_t round = 0; round < 100; ++round) {
        for (uint64_t i = 0; i < 8; ++i) {
            b.post_receive(right, round * 8 + i, {to.sge()});
            a.post_quietly(left, {.wr_id = round * 8 + i, .sges = {from.sge()}});
        }
        a.ring(left);
        world.settle();
        for (uint64_t i = 0; i < 8; ++i) {
            ASSERT_EQ(next(a.cq).wr_id, round * 8 + i);
            ASSERT_EQ(next(b.cq).wr_id, round * 8 + i);
        }
    }
    EXPECT_EQ(left.header->sq_consumer, 800U);
    EXPECT_EQ(right.header->rq_consumer, 800U);
}

TEST_P(Operations, both_directions_run_at_once) {
    connect_pair();
    const Buffer in_a = a.buffer(300'000);
    const Buffer in_b = b.buffer(300'000);
    const Buffer out_a = a.buffer(300'000);
    const Buffer out_b = b.buffer(300'000);
    out_a.fill(1);
    out_b.fill(2);
    a.post_receive(left, 1, {in_a.sge()});
    b.post_receive(right, 2, {in_b.sge()});
    a.post(left, {.wr_id = 3, .sges = {out_a.sge()}});
    b.post(right, {.wr_id = 4, .sges = {out_b.sge()}});
    world.settle();
    EXPECT_EQ(a.cq.poll_all().size(), 2U);
    EXPECT_EQ(b.cq.poll_all().size(), 2U);
    EXPECT_EQ(in_a.text(), out_b.text());
    EXPECT_EQ(in_b.text(), out_a.text());
}

TEST_P(Operations, queue_pair_connected_to_itself_talks_to_itself) {
    QueuePair self = a.create_qp();
    connect(a, self, gid_of(a), self.qpn);
    const Buffer from = a.buffer(100'000);
    const Buffer to = a.buffer(100'000);
    from.fill(6);
    a.post_receive(self, 1, {to.sge()});
    a.post(self, {.wr_id = 2, .sges = {from.sge()}});
    a.post(self, {.opcode = VRDMA_WQE_RDMA_READ,
                  .wr_id = 3,
                  .sges = {to.sge(0, 10)},
                  .remote_address = from.address() + 10,
                  .rkey = from.key});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RECV);
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    expect_success(next(a.cq), 3, VRDMA_WC_RDMA_READ);
    EXPECT_EQ(to.text(10, 99'990), from.text(10, 99'990));
    EXPECT_EQ(to.text(0, 10), from.text(10, 10));
}

TEST_P(Operations, shared_receive_queue_serves_several_queue_pairs) {
    SharedRing srq = b.create_srq();
    const QpOptions shared{.srq = srq.handle};
    connect_pair({}, shared, {}, {});
    QueuePair left2 = a.create_qp();
    QueuePair right2 = b.create_qp(shared);
    connect(a, left2, gid_of(b), right2.qpn);
    connect(b, right2, gid_of(a), left2.qpn);
    const Buffer from = a.buffer(32);
    const Buffer to = b.buffer(64);
    from.fill(3);
    b.post_receive(srq, 1, {to.sge(0, 32)});
    b.post_receive(srq, 2, {to.sge(32, 32)});
    a.post(left2, {.sges = {from.sge()}});
    world.settle();
    a.post(left, {.sges = {from.sge()}});
    world.settle();
    const vrdma_cqe first = next(b.cq);
    EXPECT_EQ(first.wr_id, 1U);
    EXPECT_EQ(first.qpn, right2.qpn);
    EXPECT_EQ(first.flags, VRDMA_CQE_SRQ);
    const vrdma_cqe second = next(b.cq);
    EXPECT_EQ(second.wr_id, 2U);
    EXPECT_EQ(second.qpn, right.qpn);
    EXPECT_EQ(srq.header->consumer, 2U);
    EXPECT_EQ(to.text(0, 32), to.text(32, 32));
}

// IBA 10.2.9.1: the L_Keys of receives on an SRQ belong to the SRQ's protection domain.
TEST_P(Operations, shared_receives_use_the_protection_domain_of_the_srq) {
    const uint32_t domain = b.create_pd();
    SharedRing srq = b.create_srq(64, 0, domain);
    connect_pair({}, {.srq = srq.handle}, {}, {});
    const Buffer to = b.buffer(32, {.pd = domain});
    const Buffer from = a.buffer(32);
    from.fill(3);
    b.post_receive(srq, 1, {to.sge()});
    a.post(left, {.wr_id = 2, .sges = {from.sge()}});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    expect_success(next(b.cq), 1, VRDMA_WC_RECV);
    EXPECT_EQ(to.text(), from.text());
}

class Unreliable : public Pair {};

TEST_P(Unreliable, uc_send_and_write_arrive) {
    connect_pair({.type = VRDMA_QPT_UC});
    const Buffer from = a.buffer(150'000);
    const Buffer to = b.buffer(300'000);
    from.fill(2);
    b.post_receive(right, 1, {to.sge(0, 150'000)});
    b.post_receive(right, 2, {});
    a.post(left, {.opcode = VRDMA_WQE_SEND_WITH_IMM, .wr_id = 1, .sges = {from.sge()}, .imm = 3});
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM,
                  .wr_id = 2,
                  .sges = {from.sge()},
                  .imm = 4,
                  .remote_address = to.address() + 150'000,
                  .rkey = to.key});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(a.cq), 2, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(next(b.cq).imm_data, 3U);
    EXPECT_EQ(next(b.cq).imm_data, 4U);
    EXPECT_EQ(to.text(0, 150'000), from.text());
    EXPECT_EQ(to.text(150'000, 150'000), from.text());
}

// IBA 9.8.2.2: nobody tells a UC requester that its message was dropped; the next one arrives.
TEST_P(Unreliable, uc_message_without_a_receive_is_dropped_and_counted) {
    connect_pair({.type = VRDMA_QPT_UC});
    const Buffer from = a.buffer(100'000);
    a.post(left, {.wr_id = 1, .sges = {from.sge()}});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_GE(world.total(b.vnic, Counter::UcDroppedNoReceive), 1U);
    const Buffer to = b.buffer(16);
    b.post_receive(right, 7, {to.sge()});
    a.post(left, {.wr_id = 2, .sges = {from.sge(0, 16)}});
    world.settle();
    expect_success(next(b.cq), 7, VRDMA_WC_RECV);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

// IBA 9.8.2.2.7: too long for the receive: dropped, the receive waits for the next message.
TEST_P(Unreliable, uc_message_longer_than_the_receive_is_dropped_and_the_receive_kept) {
    connect_pair({.type = VRDMA_QPT_UC});
    const Buffer from = a.buffer(100'000);
    const Buffer to = b.buffer(16);
    b.post_receive(right, 7, {to.sge()});
    a.post(left, {.wr_id = 1, .sges = {from.sge()}});
    a.post(left, {.wr_id = 2, .sges = {from.sge(0, 16)}});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
    const vrdma_cqe received = next(b.cq);
    expect_success(received, 7, VRDMA_WC_RECV);
    EXPECT_EQ(received.byte_len, 16U);
    EXPECT_GE(world.total(b.vnic, Counter::UcDroppedLength), 1U);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Unreliable, uc_write_with_a_wrong_key_is_dropped_and_counted) {
    connect_pair({.type = VRDMA_QPT_UC});
    const Buffer from = a.buffer(8);
    const Buffer to = b.buffer(8);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE,
                  .wr_id = 1,
                  .sges = {from.sge()},
                  .remote_address = to.address(),
                  .rkey = to.key + 1});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(world.total(b.vnic, Counter::UcDroppedAccess), 1U);
    EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
}

TEST_P(Unreliable, uc_message_to_an_absent_peer_completes) {
    connect_pair({.type = VRDMA_QPT_UC});
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, right.handle));
    a.post(left, {.wr_id = 1});
    world.settle();
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    EXPECT_EQ(world.total(b.vnic, Counter::UcDroppedNoQp), 1U);
}

ON_ONE_AND_TWO_SHARDS(Operations);
ON_ONE_AND_TWO_SHARDS(BigMessages);
ON_ONE_AND_TWO_SHARDS(Scattering);
ON_ONE_AND_TWO_SHARDS(Unreliable);

}  // namespace
}  // namespace vrdma::test
