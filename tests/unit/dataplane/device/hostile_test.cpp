// A tenant that writes garbage into everything it shares with the device, sends any command, and
// dies again and again, beside two honest ones on the same shards. Nothing it does may crash the
// device, reach memory that is not its own, or be noticed by the others.
#include <cstdlib>
#include <random>

#include "pair.h"

namespace vrdma::test {
namespace {

class Hostile : public Pair {
  protected:
    static constexpr uint32_t kBytes = 70'000;
    static constexpr uint32_t kGuard = 4096;

    Hostile() {
        const char* text = std::getenv("VRDMA_SEED");
        seed_ = text == nullptr ? 1 : std::strtoull(text, nullptr, 0);
        random_.seed(seed_);
        evil_vnic_ = world.add_vnic(kNetwork, 0x0a000066);
        make_datagram_pair();
        datagram_left = left;
        datagram_right = right;
        connect_pair({}, {.timeout = 8, .rnr_retry = 7, .min_rnr_timer = 1});
        from = a.buffer(kBytes);
        to = b.buffer(kBytes);
        guard = b.buffer(kGuard);  // nobody ever writes here
        room = b.buffer(kPortMtu + kGrhBytes);
    }
    ~Hostile() override {
        if (HasFailure()) {
            std::printf("repeat with VRDMA_SEED=%llu\n", static_cast<unsigned long long>(seed_));
        }
    }

    // ---- the honest ones
    void transfer(uint64_t round) {
        const auto length = static_cast<uint32_t>(random_() % kBytes);
        from.fill(static_cast<uint8_t>(round));
        b.post_receive(right, round, {to.sge()});
        a.post(left, {.wr_id = round, .sges = {from.sge(0, length)}});
        b.post_receive(datagram_right, round, {room.sge()});
        Send send{.wr_id = round, .sges = {from.sge(0, 100)}};
        send.qpn = datagram_right.qpn;
        send.qkey = kQkey;
        send.gid = gid_of(b);
        a.post(datagram_left, send);
        bool received = false;
        bool datagram_received = false;
        size_t sent = 0;
        for (int i = 0; i < 1000 && !(received && datagram_received && sent == 2); ++i) {
            world.advance(Duration::microseconds(10));
            for (const vrdma_cqe& entry : a.cq.poll_all()) {
                ASSERT_EQ(entry.status, VRDMA_WC_SUCCESS) << int{entry.vendor_err};
                ASSERT_EQ(entry.wr_id, round);
                ++sent;
            }
            for (const vrdma_cqe& entry : b.cq.poll_all()) {
                ASSERT_EQ(entry.status, VRDMA_WC_SUCCESS) << int{entry.vendor_err};
                if (entry.qpn == right.qpn) {
                    ASSERT_EQ(entry.byte_len, length);
                    ASSERT_EQ(std::memcmp(to.data, from.data, length), 0);
                    received = true;
                } else if (entry.src_qpn_or_index == datagram_left.qpn) {
                    ASSERT_EQ(room.text(kGrhBytes, 100), from.text(0, 100));
                    datagram_received = true;
                } else {  // a datagram of the hostile one took the receive: it may
                    b.post_receive(datagram_right, round, {room.sge()});
                    a.post(datagram_left, send);
                    --sent;
                }
            }
        }
        ASSERT_TRUE(received && sent == 2) << "the honest ones were stopped";
    }
    void expect_unharmed() {
        EXPECT_EQ(a.state_of(left), VRDMA_QPS_RTS);
        EXPECT_EQ(b.state_of(right), VRDMA_QPS_RTS);
        EXPECT_EQ(b.state_of(datagram_right), VRDMA_QPS_RTS);
        EXPECT_TRUE(a.take_events().empty());
        EXPECT_TRUE(b.take_events().empty());
        EXPECT_EQ(guard.text(), std::string(kGuard, '\0'));
    }

    // ---- the hostile one
    struct Evil {
        std::unique_ptr<Tenant> tenant;
        std::vector<QueuePair> qps;
        CompletionRing cq;
        SharedRing srq;
        Buffer memory;
    };
    void create_evil() {
        evil = Evil{};
        evil.tenant = std::make_unique<Tenant>(world, evil_vnic_,
                                               static_cast<uint32_t>(random_() % GetParam()));
        Tenant& t = *evil.tenant;
        evil.cq = t.create_cq({.entries = 16, .channel = t.create_channel()});
        evil.srq = t.create_srq(8, 3);
        evil.memory = t.buffer(1U << 20);
        for (uint32_t i = 0; i < 8; ++i) {
            const auto type = static_cast<uint8_t>(VRDMA_QPT_RC + i % 3);
            evil.qps.push_back(t.create_qp({.type = type,
                                            .sq_entries = 8,
                                            .rq_entries = 8,
                                            .max_send_sge = 1 + i,
                                            .max_inline = 64 * i,
                                            .srq = i >= 6 ? evil.srq.handle : VRDMA_NO_HANDLE},
                                           evil.cq, evil.cq));
        }
        for (uint32_t i = 0; i < 8; ++i) {
            // To itself, to one another, and to the honest ones that do not answer.
            const uint32_t peer = i < 3   ? evil.qps[i].qpn
                                  : i < 6 ? evil.qps[(i + 3) % 8].qpn
                                  : i < 7 ? right.qpn
                                          : datagram_right.qpn;
            connect(t, evil.qps[i], i < 6 ? gid_of(t) : gid_of(b), peer,
                    {.timeout = 1, .retry_count = 1, .rnr_retry = 1, .min_rnr_timer = 1});
        }
    }
    void garbage(void* at, size_t bytes) {
        auto* byte = static_cast<uint8_t*>(at);
        for (size_t i = 0; i < bytes; ++i) {
            byte[i] = static_cast<uint8_t>(random_());
        }
    }
    // An entry that is nearly right: most fields plausible, one of them wild.
    void plausible_entry(const QueuePair& qp) {
        std::byte* slot = qp.send_ring + random_() % qp.sq_entries * qp.sq_stride;
        vrdma_send_wqe wqe{};
        wqe.opcode = static_cast<uint8_t>(1 + random_() % 7);
        wqe.flags = static_cast<uint8_t>(random_() % 16);
        wqe.sge_count = static_cast<uint8_t>(random_() % 3);
        wqe.remote_address = evil.memory.address() + random_() % (2U << 20);
        wqe.rkey = random_() % 3 == 0 ? guard.key : evil.memory.key;
        wqe.inline_length = random_() % 4 == 0 ? static_cast<uint32_t>(random_() % 600) : 0;
        if (qp.type == VRDMA_QPT_UD) {
            wqe.ud.remote_qpn =
                random_() % 2 == 0 ? datagram_right.qpn : static_cast<uint32_t>(random_());
            wqe.ud.remote_qkey = random_() % 2 == 0 ? kQkey : static_cast<uint32_t>(random_());
            const vrdma_gid_entry gid = gid_of(b);
            std::memcpy(wqe.ud_address.remote_gid, gid.gid, 16);
        }
        std::memcpy(slot, &wqe, std::min<size_t>(sizeof wqe, qp.sq_stride));
        for (uint32_t at = 32; at + sizeof(vrdma_sge) <= qp.sq_stride; at += 16) {
            if (at >= 64 || qp.type != VRDMA_QPT_UD) {
                const vrdma_sge sge{evil.memory.address() + random_() % (1U << 20),
                                    static_cast<uint32_t>(random_() % (1U << 17)),
                                    random_() % 8 == 0 ? guard.key : evil.memory.key};
                std::memcpy(slot + at, &sge, sizeof sge);
            }
        }
        if (random_() % 4 == 0) {
            garbage(slot + random_() % qp.sq_stride, 1);
        }
    }
    void misbehave() {
        Tenant& t = *evil.tenant;
        QueuePair& qp = evil.qps[random_() % evil.qps.size()];
        switch (random_() % 10) {
            case 0:
                garbage(qp.header, sizeof *qp.header);
                break;
            case 1:
                garbage(qp.send_ring, size_t{qp.sq_entries} * qp.sq_stride +
                                          size_t{qp.rq_entries} * qp.rq_stride);
                break;
            case 2:
                garbage(evil.cq.header, sizeof *evil.cq.header);
                break;
            case 3:
                garbage(evil.srq.header, sizeof *evil.srq.header);
                garbage(evil.srq.ring, size_t{evil.srq.entries} * evil.srq.stride);
                break;
            case 4:
                garbage(t.doorbell, sizeof *t.doorbell);
                world.shard(t.shard_index).kicked(t.context);
                break;
            case 5:
                qp.header->sq_producer += static_cast<uint32_t>(random_() % 10);
                qp.header->rq_producer += static_cast<uint32_t>(random_() % 10);
                break;
            case 6:
                random_command();
                break;
            case 7: {  // back to life
                vrdma_cmd_modify_qp reset{qp.handle, VRDMA_QP_STATE, {}};
                if (t.command(VRDMA_CMD_MODIFY_QP, reset).kind == CommandOutcome::Kind::Done) {
                    for (const vrdma_qp_state state :
                         {VRDMA_QPS_INIT, VRDMA_QPS_RTR, VRDMA_QPS_RTS}) {
                        vrdma_cmd_modify_qp step{qp.handle, 0x1fffff, {}};
                        garbage(&step.attributes, sizeof step.attributes);
                        step.mask = static_cast<uint32_t>(random_()) & 0x13ffffU;
                        step.mask |= VRDMA_QP_STATE;
                        step.attributes.state = state;
                        if (random_() % 4 != 0) {
                            step.mask = VRDMA_QP_STATE | VRDMA_QP_AV | VRDMA_QP_DEST_QPN |
                                        VRDMA_QP_ACCESS_FLAGS;
                            step.attributes = {};
                            step.attributes.state = state;
                            step.attributes.access = VRDMA_ACCESS_MASK;
                            step.attributes.dest_qpn = qp.qpn;
                            step.attributes.address.sgid_index = 3;
                            const vrdma_gid_entry own = gid_of(t);
                            std::memcpy(step.attributes.address.gid, own.gid, 16);
                        }
                        (void)t.command(VRDMA_CMD_MODIFY_QP, step);
                    }
                    qp.header->sq_producer = static_cast<uint32_t>(random_() % 9);
                    qp.header->rq_producer = static_cast<uint32_t>(random_() % 9);
                }
                break;
            }
            default:
                for (int i = 0; i < 4; ++i) {
                    plausible_entry(qp);
                }
                qp.header->sq_producer += 1;
                break;
        }
        t.ring(qp);
        world.turn();
    }
    void random_command() {
        // The platform makes regions only of memory that is really there, so none is added here.
        static constexpr uint16_t kLengths[] = {0, 4, 8, 16, 24, 32, 40, 48, 56, 72, 80};
        std::array<std::byte, 80> body{};
        for (size_t at = 0; at < body.size(); at += 4) {
            const uint32_t word = random_() % 3 == 0 ? static_cast<uint32_t>(random_())
                                                     : static_cast<uint32_t>(random_() % 16);
            std::memcpy(body.data() + at, &word, 4);
        }
        auto opcode = static_cast<uint16_t>(random_() % 24);
        if (opcode == VRDMA_CMD_ADD_REGION || opcode == VRDMA_CMD_CREATE_CHANNEL) {
            opcode = VRDMA_CMD_QUERY_QP;
        }
        (void)evil.tenant->command(
            opcode, std::span<const std::byte>(body).first(kLengths[random_() % 11]));
    }

    std::mt19937_64 random_;
    uint64_t seed_ = 0;
    uint32_t evil_vnic_ = 0;
    QueuePair datagram_left;
    QueuePair datagram_right;
    Buffer from;
    Buffer to;
    Buffer guard;
    Buffer room;
    Evil evil;
};

TEST_P(Hostile, garbage_everywhere_harms_nobody_else) {
    constexpr uint64_t kLives = 30;
    constexpr uint64_t kRounds = 8;
    constexpr int kDeeds = 100;
    for (uint64_t life = 0; life < kLives; ++life) {
        create_evil();
        for (uint64_t round = 0; round < kRounds; ++round) {
            for (int i = 0; i < kDeeds; ++i) {
                misbehave();
            }
            transfer(life * kRounds + round);
            if (HasFatalFailure()) {
                return;
            }
        }
        evil.tenant->tear_down();
        world.settle();
        expect_unharmed();
    }
    a.tear_down();
    b.tear_down();
    EXPECT_EQ(world.objects(), 0U);
}

// A tenant cannot take more than its turn: whatever it posts, the others are served in between.
TEST_P(Hostile, endless_work_leaves_the_others_their_turns) {
    create_evil();
    Tenant& t = *evil.tenant;
    QueuePair& self = evil.qps[0];
    for (int i = 0; i < 8; ++i) {
        t.post_quietly(self, {.opcode = VRDMA_WQE_RDMA_WRITE,
                              .sges = {evil.memory.sge()},
                              .remote_address = evil.memory.address(),
                              .rkey = evil.memory.key});
    }
    t.ring(self);
    b.post_receive(right, 1, {});
    a.post(left, {.wr_id = 2});
    int turns = 0;
    for (; turns < 20 && !b.cq.poll(); ++turns) {
        world.turn();
    }
    EXPECT_LE(turns, 5);
    EXPECT_LT(self.header->sq_consumer, 8U) << "it was to be still at work";
}

ON_ONE_AND_TWO_SHARDS(Hostile);

}  // namespace
}  // namespace vrdma::test
