// Receivers that are not ready and peers that do not answer: timers, counts, recovery, giving up.
#include "dataplane/device/requester.h"
#include "pair.h"

namespace vrdma::test {
namespace {

// IBA 9.7.5.2.8, table 45.
TEST(RnrTimer, codes_mean_the_times_of_the_specification) {
    constexpr int64_t kMicroseconds[32] = {
        655360, 10,    20,    30,    40,    60,     80,     120,    160,    240,   320,
        480,    640,   960,   1280,  1920,  2560,   3840,   5120,   7680,   10240, 15360,
        20480,  30720, 40960, 61440, 81920, 122880, 163840, 245760, 327680, 491520};
    for (uint8_t code = 0; code < 32; ++code) {
        EXPECT_EQ(wire::rnr_delay(code), Duration::microseconds(kMicroseconds[code])) << int{code};
    }
}

class NotReady : public Pair {
  protected:
    // How long a send without a receive takes until it fails; nullopt: it does not within a minute.
    std::optional<Duration> time_to_fail() {
        const Instant start = world.now();
        a.post(left, {.wr_id = 1});
        world.settle();
        for (int i = 0; i < 1000; ++i) {
            if (const auto entry = a.cq.poll()) {
                expect_failure(*entry, 1, VRDMA_WC_RNR_RETRY_EXC_ERR, VRDMA_REASON_RNR);
                return world.now() - start;
            }
            if (world.next_deadline() == Instant::never()) {
                break;
            }
            world.advance(world.next_deadline() - world.now());
        }
        return std::nullopt;
    }
};

// IBA 9.7.5.2.8: rnr_retry counts the retries, each after the responder's time.
TEST_P(NotReady, send_fails_after_exactly_rnr_retry_retries) {
    for (uint8_t retries = 0; retries < 7; ++retries) {
        connect_pair({}, {.rnr_retry = retries, .min_rnr_timer = 14});
        const std::optional<Duration> time = time_to_fail();
        ASSERT_TRUE(time.has_value());
        EXPECT_EQ(*time, Duration::microseconds(1280) * retries) << int{retries};
        EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
    }
    EXPECT_EQ(world.total(a.vnic, Counter::RnrRetries), 0U + 1 + 2 + 3 + 4 + 5 + 6);
    EXPECT_EQ(world.total(b.vnic, Counter::RnrSent), 1U + 2 + 3 + 4 + 5 + 6 + 7);
}

TEST_P(NotReady, rnr_retry_seven_never_gives_up) {
    connect_pair({}, {.rnr_retry = 7, .min_rnr_timer = 31});
    EXPECT_FALSE(time_to_fail().has_value());
    b.post_receive(right, 5, {});
    world.advance(Duration::milliseconds(500));
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(b.cq), 5, VRDMA_WC_RECV);
}

TEST_P(NotReady, receive_posted_in_time_lets_the_send_go_on) {
    connect_pair({}, {.rnr_retry = 1, .min_rnr_timer = 12});
    a.post_quietly(left, {.wr_id = 1});
    a.post(left, {.wr_id = 2});
    world.settle();
    b.post_receive(right, 5, {});
    world.advance(Duration::microseconds(639));
    EXPECT_NO_COMPLETION(a.cq);
    world.advance(Duration::microseconds(1));
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    // Progress gives the retries back.
    b.post_receive(right, 6, {});
    world.advance(Duration::microseconds(640));
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
}

TEST_P(NotReady, write_with_immediate_waits_for_its_receive_and_its_data_is_right) {
    connect_pair();
    const Buffer from = a.buffer(200'000);
    const Buffer to = b.buffer(200'000);
    from.fill(3);
    a.post(left, {.opcode = VRDMA_WQE_RDMA_WRITE_WITH_IMM,
                  .wr_id = 1,
                  .sges = {from.sge()},
                  .remote_address = to.address(),
                  .rkey = to.key});
    world.settle();
    EXPECT_NO_COMPLETION(a.cq);
    b.post_receive(right, 2, {});
    world.advance(Duration::milliseconds(1));
    expect_success(next(a.cq), 1, VRDMA_WC_RDMA_WRITE);
    EXPECT_EQ(next(b.cq).byte_len, 200'000U);
    EXPECT_EQ(to.text(), from.text());
}

TEST_P(NotReady, empty_shared_receive_queue_is_not_ready) {
    SharedRing srq = b.create_srq();
    connect_pair({}, {.srq = srq.handle}, {}, {});
    a.post(left, {.wr_id = 1});
    world.settle();
    EXPECT_EQ(world.total(b.vnic, Counter::RnrSent), 1U);
    b.post_receive(srq, 2, {});
    world.advance(Duration::milliseconds(1));
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
}

TEST_P(NotReady, queue_pair_without_a_receive_queue_is_never_ready) {
    connect_pair({}, {.rq_entries = 0}, {.rnr_retry = 0}, {});
    a.post(left, {.wr_id = 1});
    world.settle();
    expect_failure(next(a.cq), 1, VRDMA_WC_RNR_RETRY_EXC_ERR, VRDMA_REASON_RNR);
}

class Silence : public Pair {
  protected:
    static constexpr Duration kTimeout = Duration::nanoseconds(int64_t{4096} << 14);

    void connect_left(uint32_t qpn, const Link& link = {}) {
        left = a.create_qp();
        connect(a, left, gid_of(b), qpn, link);
    }
    // A send fails after timeout * (retry_count + 1) (IBA 9.7.6.1.3), not earlier.
    void expect_given_up(vrdma_reason reason) {
        a.post(left, {.wr_id = 1});
        world.settle();
        world.advance(Duration{(kTimeout * 4).ns - 1});
        EXPECT_NO_COMPLETION(a.cq);
        EXPECT_EQ(a.state_of(left), VRDMA_QPS_RTS);
        world.advance(Duration{1});
        expect_failure(next(a.cq), 1, VRDMA_WC_RETRY_EXC_ERR, reason);
        EXPECT_EQ(a.state_of(left), VRDMA_QPS_ERR);
    }
};

TEST_P(Silence, absent_queue_pair_does_not_answer) {
    const QueuePair gone = b.create_qp();
    Tenant::EXPECT_DONE(b.destroy(VRDMA_CMD_DESTROY_QP, gone.handle));
    connect_left(gone.qpn);
    expect_given_up(VRDMA_REASON_PEER_SILENT);
}

TEST_P(Silence, queue_pair_before_rtr_does_not_answer) {
    right = b.create_qp();
    to_init(b, right);
    connect_left(right.qpn);
    expect_given_up(VRDMA_REASON_PEER_SILENT);
}

TEST_P(Silence, queue_pair_in_err_does_not_answer) {
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    Tenant::EXPECT_DONE(b.to_state(right, VRDMA_QPS_ERR));
    expect_given_up(VRDMA_REASON_PEER_SILENT);
}

// IBA 9.6.1.1.3: a connected queue pair listens to its own peer only.
TEST_P(Silence, queue_pair_connected_to_another_does_not_answer) {
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn ^ 1);
    expect_given_up(VRDMA_REASON_PEER_SILENT);
    EXPECT_GE(world.total(b.vnic, Counter::RcDroppedNotConnected), 4U);
}

TEST_P(Silence, queue_pair_connected_to_another_address_does_not_answer) {
    world.add_vnic(kNetwork, 0x0a000003);
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, World::ipv4_gid(0x0a000003), left.qpn);
    expect_given_up(VRDMA_REASON_PEER_SILENT);
}

TEST_P(Silence, queue_pair_of_another_type_does_not_answer) {
    right = b.create_qp({.type = VRDMA_QPT_UC});
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    expect_given_up(VRDMA_REASON_PEER_SILENT);
}

TEST_P(Silence, queue_pair_of_another_vnic_does_not_answer) {
    const uint32_t third = world.add_vnic(kNetwork, 0x0a000003);
    Tenant c(world, third, b.shard_index);
    QueuePair other = c.create_qp();
    connect_left(other.qpn);  // with b's address
    connect(c, other, gid_of(a), left.qpn);
    expect_given_up(VRDMA_REASON_PEER_SILENT);
}

TEST_P(Silence, address_that_nobody_has_is_unreachable) {
    left = a.create_qp();
    connect(a, left, World::ipv4_gid(0x0a0000ff), 99);
    expect_given_up(VRDMA_REASON_PEER_UNREACHABLE);
}

TEST_P(Silence, empty_gid_is_unreachable) {
    left = a.create_qp();
    connect(a, left, vrdma_gid_entry{}, 99);
    expect_given_up(VRDMA_REASON_PEER_UNREACHABLE);
}

// The same addresses in two networks are different vNICs.
TEST_P(Silence, queue_pair_of_another_network_is_unreachable) {
    const uint32_t foreign = world.add_vnic(kNetwork + 1, 0x0a000003);
    Tenant c(world, foreign, b.shard_index);
    right = c.create_qp();
    left = a.create_qp();
    connect(a, left, gid_of(c), right.qpn);
    connect(c, right, gid_of(a), left.qpn);
    expect_given_up(VRDMA_REASON_PEER_UNREACHABLE);
}

TEST_P(Silence, down_vnic_of_the_peer_is_unreachable) {
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    world.set_up(b.vnic, false);
    expect_given_up(VRDMA_REASON_PEER_UNREACHABLE);
}

TEST_P(Silence, own_vnic_that_is_down_reaches_nobody) {
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    world.set_up(a.vnic, false);
    expect_given_up(VRDMA_REASON_PEER_UNREACHABLE);
}

TEST_P(Silence, removed_vnic_is_unreachable) {
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    world.remove_vnic(b.vnic);
    expect_given_up(VRDMA_REASON_PEER_UNREACHABLE);
}

TEST_P(Silence, retry_count_zero_still_waits_one_timeout) {
    left = a.create_qp();
    connect(a, left, gid_of(b), 99, {.retry_count = 0});
    a.post(left, {.wr_id = 1});
    world.settle();
    world.advance(Duration{kTimeout.ns - 1});
    EXPECT_NO_COMPLETION(a.cq);
    world.advance(Duration{1});
    expect_failure(next(a.cq), 1, VRDMA_WC_RETRY_EXC_ERR, VRDMA_REASON_PEER_SILENT);
}

TEST_P(Silence, peer_that_comes_in_time_is_answered) {
    right = b.create_qp();
    connect_left(right.qpn);
    b.post_receive(right, 7, {});
    a.post(left, {.wr_id = 1});
    world.advance(kTimeout);
    EXPECT_NO_COMPLETION(a.cq);
    connect(b, right, gid_of(a), left.qpn);
    world.advance(kTimeout);
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
    expect_success(next(b.cq), 7, VRDMA_WC_RECV);
    EXPECT_GE(world.total(a.vnic, Counter::TransportRetries), 1U);
}

TEST_P(Silence, vnic_that_comes_up_again_goes_on) {
    right = b.create_qp();
    connect_left(right.qpn);
    connect(b, right, gid_of(a), left.qpn);
    b.post_receive(right, 7, {});
    world.set_up(b.vnic, false);
    a.post(left, {.wr_id = 1});
    world.advance(kTimeout);
    world.set_up(b.vnic, true);
    world.advance(kTimeout);
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
}

// IBA 9.7.6.1.3: timeout 0 is no timeout.
TEST_P(Silence, timeout_zero_waits_for_ever) {
    right = b.create_qp();
    connect_left(right.qpn, {.timeout = 0});
    b.post_receive(right, 7, {});
    a.post(left, {.wr_id = 1});
    world.advance(Duration::milliseconds(60'000));
    EXPECT_NO_COMPLETION(a.cq);
    connect(b, right, gid_of(a), left.qpn);
    world.advance(Duration::milliseconds(1000));
    expect_success(next(a.cq), 1, VRDMA_WC_SEND);
}

// An address is looked up again whenever the vNICs change or the program names another one.
TEST_P(Silence, address_that_appears_later_is_found) {
    left = a.create_qp();
    connect(a, left, World::ipv4_gid(0x0a000003), 99);
    a.post(left, {.wr_id = 1});
    world.advance(kTimeout);
    const uint32_t late = world.add_vnic(kNetwork, 0x0a000003);
    Tenant c(world, late, b.shard_index);
    right = c.create_qp();
    Tenant::EXPECT_DONE(a.to_state(left, VRDMA_QPS_RESET));
    left.sq_producer = left.header->sq_producer = 0;
    connect(a, left, gid_of(c), right.qpn);
    connect(c, right, gid_of(a), left.qpn);
    c.post_receive(right, 7, {});
    a.post(left, {.wr_id = 2});
    world.settle();
    expect_success(next(a.cq), 2, VRDMA_WC_SEND);
}

ON_ONE_AND_TWO_SHARDS(NotReady);
ON_ONE_AND_TWO_SHARDS(Silence);

}  // namespace
}  // namespace vrdma::test
