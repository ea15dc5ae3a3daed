// A random run against a model: several tenants with many connections, random operations, receives
// that come late, queue pairs that are killed, tenants that crash, shards that take turns in random
// order. The model knows what must arrive, in which order, and that every work request ends exactly
// once. A run is its seed: VRDMA_SEED=<number> repeats one, VRDMA_OPERATIONS makes it longer.
#include <cstdlib>
#include <deque>
#include <random>

#include "pair.h"

namespace vrdma::test {
namespace {

constexpr uint32_t kTenants = 4;
constexpr uint32_t kConnections = 8;
constexpr uint32_t kDepth = 16;
constexpr uint32_t kRoom = 96U << 10;  // one buffer of an operation
constexpr uint64_t kPlain = 0;

uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

// The bytes of a message are a function of its number.
std::byte pattern(uint64_t number, uint32_t at) {
    return static_cast<std::byte>(number * 131 + at * 7 + (at >> 9));
}
void write_pattern(std::byte* to, uint64_t number, uint32_t length) {
    for (uint32_t i = 0; i < length; ++i) {
        to[i] = pattern(number, i);
    }
}
bool has_pattern(const std::byte* at, uint64_t number, uint32_t length) {
    bool same = true;
    for (uint32_t i = 0; i < length; ++i) {
        same &= at[i] == pattern(number, i);
    }
    return same;
}

struct Posted {
    uint64_t number;
    uint8_t opcode;
    bool signaled;
    uint32_t length;
    uint64_t original;  // atomics: the value before
};

// A message that is to arrive, in order.
struct Expected {
    uint64_t number;
    uint32_t length;
    bool with_imm;
    bool write;
};

struct Side {
    uint32_t tenant = 0;
    uint32_t life = 0;  // of the tenant, when the buffers were made; 0: not yet
    QueuePair qp;
    CompletionRing cq;
    Buffer source;    // kDepth buffers: what is sent, and where READs and atomics put their result
    Buffer sink;      // kDepth buffers for receives
    Buffer exposed;   // kDepth buffers that the peer writes to, then a word for its atomics
    Buffer constant;  // the peer reads it
    std::deque<Posted> sends;
    std::deque<uint64_t> receives;
    std::deque<Expected> arriving;
    uint64_t next_receive = 0;
    uint64_t next_number = 1;
    uint64_t word = 0;  // the peer's counter as this side's atomics leave it
    bool send_failed = false;
    bool receive_failed = false;
    bool exists = true;
    bool healthy = true;  // nobody was killed: what UC sends arrives
};

struct Connection {
    std::array<Side, 2> side;
    uint8_t type = VRDMA_QPT_RC;
};

class Simulation {
  public:
    Simulation(uint64_t seed, uint32_t shards, uint64_t operations)
        : random_(seed), wanted_(operations), world_(WorldOptions{.shards = shards}) {
        for (uint32_t i = 0; i < kTenants; ++i) {
            vnics_.push_back(world_.add_vnic(kNetwork, 0x0a000001 + i));
            tenants_.push_back(nullptr);
            attach(i);
        }
        for (uint32_t i = 0; i < kConnections; ++i) {
            connections_[i].side[0].tenant = i % kTenants;
            connections_[i].side[1].tenant = chance(20) ? i % kTenants : pick(kTenants);
            establish(connections_[i]);
        }
    }

    void run() {
        while (posted_ < wanted_ && !testing::Test::HasFailure()) {
            act();
        }
        for (Connection& connection : connections_) {
            finish(connection);
        }
        for (const auto& tenant : tenants_) {
            tenant->close();
            tenant->tear_down();
        }
        EXPECT_EQ(world_.objects(), 0U);
        EXPECT_EQ(world_.next_deadline(), Instant::never());
        EXPECT_GT(completed_, posted_ / 4);
    }
    [[nodiscard]] uint64_t posted() const { return posted_; }
    [[nodiscard]] uint64_t kills() const { return kills_; }

  private:
    uint32_t pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
    bool chance(uint32_t percent) { return pick(100) < percent; }

    void attach(uint32_t index) {
        tenants_[index] =
            std::make_unique<Tenant>(world_, vnics_[index], index % world_.shard_count());
        ++lives_[index];
    }

    void establish(Connection& connection) {
        connection.type = chance(70) ? uint8_t{VRDMA_QPT_RC} : uint8_t{VRDMA_QPT_UC};
        for (Side& side : connection.side) {
            Tenant& tenant = *tenants_[side.tenant];
            Side old = side;
            side = Side{};
            side.tenant = old.tenant;
            side.life = lives_[side.tenant];
            side.cq = tenant.create_cq({.entries = 128});
            side.qp = tenant.create_qp({.type = connection.type,
                                        .sq_entries = kDepth,
                                        .rq_entries = kDepth,
                                        .max_send_sge = 3,
                                        .max_recv_sge = 3,
                                        .max_inline = 128},
                                       side.cq, side.cq);
            const bool again = old.life == side.life;
            const auto buffer = [&](const Buffer& before, uint32_t bytes) {
                return again ? tenant.register_again(before) : tenant.buffer(bytes);
            };
            side.source = buffer(old.source, kDepth * kRoom);
            side.sink = buffer(old.sink, kDepth * kRoom);
            side.exposed = buffer(old.exposed, kDepth * kRoom + 8);
            side.constant = buffer(old.constant, kRoom);
            write_pattern(side.constant.data, kPlain, kRoom);
            std::memset(side.exposed.data + kDepth * kRoom, 0, 8);
        }
        for (uint32_t i = 0; i < 2; ++i) {
            Side& side = connection.side[i];
            Side& peer = connection.side[1 - i];
            connect(*tenants_[side.tenant], side.qp, gid_of(*tenants_[peer.tenant]), peer.qp.qpn,
                    {.timeout = 8, .retry_count = 2, .rnr_retry = 7, .min_rnr_timer = 5});
        }
    }

    void act() {
        Connection& connection = connections_[pick(kConnections)];
        const uint32_t end = pick(2);
        const uint32_t what = pick(1000);
        if (what < 500) {
            post(connection, end);
        } else if (what < 750) {
            receive(connection.side[end]);
        } else if (what < 880) {
            world_.shard(pick(world_.shard_count())).turn(world_.now());
        } else if (what < 970) {
            poll(connection, end);
        } else if (what < 998) {
            world_.advance(Duration::microseconds(pick(100)));
        } else if (pick(30) == 0) {
            crash(pick(kTenants));
        } else {
            kill(connection, end);
        }
    }

    void receive(Side& side) {
        if (side.receives.size() == kDepth) {
            return;
        }
        const uint32_t at = static_cast<uint32_t>(side.next_receive % kDepth) * kRoom;
        const uint32_t cut = pick(kRoom);
        tenants_[side.tenant]->post_receive(
            side.qp, side.next_receive,
            {side.sink.sge(at, cut), side.sink.sge(at + cut, kRoom - cut)});
        side.receives.push_back(side.next_receive++);
    }

    uint32_t length() {
        const uint32_t kind = pick(100);
        return kind < 75 ? pick(512) : kind < 98 ? pick(8192) : pick(kRoom);
    }

    void post(Connection& connection, uint32_t end) {
        static constexpr uint8_t kReliable[] = {
            VRDMA_WQE_SEND,      VRDMA_WQE_SEND_WITH_IMM,       VRDMA_WQE_RDMA_WRITE,
            VRDMA_WQE_RDMA_READ, VRDMA_WQE_RDMA_WRITE_WITH_IMM, VRDMA_WQE_ATOMIC_FETCH_AND_ADD};
        Side& side = connection.side[end];
        Side& peer = connection.side[1 - end];
        if (side.sends.size() == kDepth) {
            return;
        }
        const bool reliable = connection.type == VRDMA_QPT_RC;
        Posted posted{};
        posted.number = side.next_number;
        posted.opcode = kReliable[pick(reliable ? 6 : 3)];
        posted.signaled = chance(70) || side.sends.size() + 1 == kDepth;
        posted.length = length();
        const bool write =
            posted.opcode == VRDMA_WQE_RDMA_WRITE || posted.opcode == VRDMA_WQE_RDMA_WRITE_WITH_IMM;
        const bool takes = posted.opcode != VRDMA_WQE_RDMA_WRITE &&
                           posted.opcode != VRDMA_WQE_RDMA_READ &&
                           posted.opcode != VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
        // What UC drops is not predictable; so it always finds a receive.
        if (takes && !reliable && peer.receives.size() <= peer.arriving.size()) {
            return;
        }
        const uint32_t slot = static_cast<uint32_t>(posted.number % kDepth) * kRoom;
        Send send{.opcode = posted.opcode,
                  .wr_id = posted.number,
                  .flags = posted.signaled ? uint8_t{VRDMA_WQE_SIGNALED} : uint8_t{0},
                  .imm = static_cast<uint32_t>(posted.number * 3)};
        if (posted.opcode == VRDMA_WQE_ATOMIC_FETCH_AND_ADD) {
            posted.length = 8;
            posted.original = side.word;
            send.compare_add = random_();
            side.word += send.compare_add;
            send.sges = {side.source.sge(slot, 8)};
            send.remote_address = peer.exposed.address() + kDepth * kRoom;
            send.rkey = peer.exposed.key;
        } else if (posted.opcode == VRDMA_WQE_RDMA_READ) {
            send.sges = cut(side.source, slot, posted.length);
            send.remote_address = peer.constant.address();
            send.rkey = peer.constant.key;
        } else {
            write_pattern(side.source.data + slot, posted.number, posted.length);
            if (posted.length <= 128 && chance(50)) {
                send.flags |= VRDMA_WQE_INLINE;
                send.inline_data = side.source.text(slot, posted.length);
            } else {
                send.sges = cut(side.source, slot, posted.length);
            }
            if (write) {
                send.remote_address = peer.exposed.address() + slot;
                send.rkey = peer.exposed.key;
            }
            if (takes) {
                peer.arriving.push_back(
                    {posted.number, posted.length, posted.opcode != VRDMA_WQE_SEND, write});
            }
        }
        if (chance(80)) {
            tenants_[side.tenant]->post(side.qp, send);
        } else {
            tenants_[side.tenant]->post_quietly(side.qp, send);
        }
        side.sends.push_back(posted);
        ++side.next_number;
        ++posted_;
    }

    std::vector<vrdma_sge> cut(const Buffer& buffer, uint32_t at, uint32_t length) {
        const uint32_t first = pick(length + 1);
        const uint32_t second = pick(length - first + 1);
        return {buffer.sge(at, first), buffer.sge(at + first, second),
                buffer.sge(at + first + second, length - first - second)};
    }

    void poll(Connection& connection, uint32_t end) {
        while (const std::optional<vrdma_cqe> entry = connection.side[end].cq.poll()) {
            ++completed_;
            ASSERT_EQ(entry->qpn, connection.side[end].qp.qpn);
            if (entry->opcode >= VRDMA_WC_RECV) {
                on_receive(connection.side[end], connection.side[1 - end], *entry);
            } else {
                on_send(connection.side[end], connection.side[1 - end], *entry);
            }
        }
    }

    void on_receive(Side& side, const Side& peer, const vrdma_cqe& entry) {
        ASSERT_FALSE(side.receives.empty());
        ASSERT_EQ(entry.wr_id, side.receives.front()) << "receives end in order";
        side.receives.pop_front();
        if (entry.status != VRDMA_WC_SUCCESS) {
            ASSERT_EQ(entry.status, VRDMA_WC_WR_FLUSH_ERR);
            side.receive_failed = true;
            return;
        }
        ASSERT_FALSE(side.receive_failed) << "a success behind a failure";
        ASSERT_FALSE(side.arriving.empty()) << "nothing was sent";
        const Expected expected = side.arriving.front();
        side.arriving.pop_front();
        ASSERT_EQ(entry.byte_len, expected.length);
        ASSERT_EQ((entry.flags & VRDMA_CQE_WITH_IMM) != 0, expected.with_imm);
        if (expected.with_imm) {
            ASSERT_EQ(entry.imm_data, static_cast<uint32_t>(expected.number * 3));
        }
        ASSERT_EQ(entry.opcode == VRDMA_WC_RECV_RDMA_WITH_IMM, expected.write);
        ASSERT_EQ(entry.src_qpn_or_index, peer.qp.qpn);
        const std::byte* data = expected.write
                                    ? side.exposed.data + expected.number % kDepth * kRoom
                                    : side.sink.data + entry.wr_id % kDepth * kRoom;
        // A WRITE's place may hold a later one by now.
        if (!expected.write || peer.next_number <= expected.number + kDepth) {
            ASSERT_TRUE(has_pattern(data, expected.number, expected.length)) << expected.number;
        }
    }

    void on_send(Side& side, const Side& peer, const vrdma_cqe& entry) {
        // Unsignaled ones in front are done with it, when it is a success.
        while (!side.sends.empty() && side.sends.front().number != entry.wr_id) {
            ASSERT_FALSE(side.sends.front().signaled) << "a completion is missing";
            ASSERT_FALSE(side.send_failed) << "not flushed";
            side.sends.pop_front();
        }
        ASSERT_FALSE(side.sends.empty()) << "completed twice";
        const Posted posted = side.sends.front();
        side.sends.pop_front();
        if (entry.status != VRDMA_WC_SUCCESS) {
            ASSERT_TRUE(entry.status == VRDMA_WC_WR_FLUSH_ERR || !side.send_failed)
                << "only the first failure has a cause";
            side.send_failed = true;
            return;
        }
        ASSERT_FALSE(side.send_failed) << "a success behind a failure";
        ASSERT_TRUE(posted.signaled);
        ASSERT_EQ(entry.byte_len, posted.length);
        const std::byte* local = side.source.data + posted.number % kDepth * kRoom;
        switch (posted.opcode) {
            case VRDMA_WQE_RDMA_READ:
                ASSERT_TRUE(has_pattern(local, kPlain, posted.length));
                break;
            case VRDMA_WQE_ATOMIC_FETCH_AND_ADD: {
                uint64_t value = 0;
                std::memcpy(&value, local, 8);
                ASSERT_EQ(value, posted.original);
                break;
            }
            case VRDMA_WQE_RDMA_WRITE:
                if (peer.exists && (side.healthy || side.qp.type == VRDMA_QPT_RC) &&
                    side.next_number <= posted.number + kDepth) {
                    ASSERT_TRUE(has_pattern(peer.exposed.data + posted.number % kDepth * kRoom,
                                            posted.number, posted.length));
                }
                break;
            default:
                break;
        }
    }

    // Lets a healthy connection deliver everything, then expects nothing to be open.
    void finish(Connection& connection) {
        for (int round = 0; round < 200; ++round) {
            for (uint32_t end = 0; end < 2; ++end) {
                tenants_[connection.side[end].tenant]->ring(connection.side[end].qp);
                receive(connection.side[end]);
            }
            world_.advance(Duration::microseconds(200));
            poll(connection, 0);
            poll(connection, 1);
        }
        for (const Side& side : connection.side) {
            EXPECT_TRUE(side.arriving.empty()) << side.arriving.size() << " messages are missing";
            for (const Posted& posted : side.sends) {
                EXPECT_FALSE(posted.signaled) << "work request " << posted.number << " never ended";
            }
        }
    }

    // Everything that was posted to a queue pair in the error state has ended.
    void expect_flushed(Connection& connection, uint32_t end) {
        Side& side = connection.side[end];
        Tenant& tenant = *tenants_[side.tenant];
        ASSERT_EQ(tenant.state_of(side.qp), VRDMA_QPS_ERR);
        tenant.ring(side.qp);
        world_.settle();
        poll(connection, end);
        ASSERT_TRUE(side.receives.empty()) << "receives were not flushed";
        for (const Posted& posted : side.sends) {  // done before it failed, in silence
            ASSERT_FALSE(posted.signaled) << "send " << posted.number << " was not flushed";
            ASSERT_FALSE(side.send_failed);
        }
    }

    void kill(Connection& connection, uint32_t end) {
        ++kills_;
        Side& side = connection.side[end];
        Side& peer = connection.side[1 - end];
        Tenant& tenant = *tenants_[side.tenant];
        side.healthy = peer.healthy = false;
        switch (pick(3)) {
            case 0:
                Tenant::EXPECT_DONE(tenant.to_state(side.qp, VRDMA_QPS_ERR));
                break;
            case 1:
                poll(connection, end);
                Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, side.qp.handle));
                side.exists = false;
                break;
            default:  // the peer's key is taken away
                Tenant::EXPECT_DONE(
                    tenants_[peer.tenant]->destroy(VRDMA_CMD_DEREG_MR, peer.exposed.handle));
                peer.exposed.handle = kNone;
                break;
        }
        // What is posted after it ends, too.
        if (side.exists) {
            post(connection, end);
            receive(side);
        }
        post(connection, 1 - end);
        world_.advance(Duration::milliseconds(20));
        close(connection);
        if (!testing::Test::HasFailure()) {
            establish(connection);
        }
    }

    void close(Connection& connection) {
        for (uint32_t end = 0; end < 2; ++end) {
            Side& side = connection.side[end];
            Tenant& tenant = *tenants_[side.tenant];
            if (side.exists) {
                Tenant::EXPECT_DONE(tenant.to_state(side.qp, VRDMA_QPS_ERR));
                expect_flushed(connection, end);
                if (testing::Test::HasFailure()) {
                    return;
                }
                Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, side.qp.handle));
            }
            release(side);
        }
    }

    void release(const Side& side) {
        Tenant& tenant = *tenants_[side.tenant];
        Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_CQ, side.cq.handle));
        for (const Buffer* buffer : {&side.source, &side.sink, &side.exposed, &side.constant}) {
            if (buffer->handle != kNone) {
                Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DEREG_MR, buffer->handle));
            }
        }
    }

    void crash(uint32_t index) {
        ++kills_;
        tenants_[index]->tear_down();
        world_.settle();
        std::vector<Connection*> broken;
        for (Connection& connection : connections_) {
            bool touched = false;
            for (uint32_t end = 0; end < 2; ++end) {
                if (connection.side[end].tenant == index) {
                    connection.side[end].exists = false;
                    touched = true;
                }
            }
            if (!touched) {
                continue;
            }
            broken.push_back(&connection);
            for (uint32_t end = 0; end < 2; ++end) {
                Side& side = connection.side[end];
                if (!side.exists) {
                    continue;
                }
                if (connection.type == VRDMA_QPT_RC) {  // told at once
                    expect_flushed(connection, end);
                }
                if (testing::Test::HasFailure()) {
                    return;
                }
                Tenant& tenant = *tenants_[side.tenant];
                Tenant::EXPECT_DONE(tenant.destroy(VRDMA_CMD_DESTROY_QP, side.qp.handle));
                release(side);
            }
        }
        attach(index);
        for (Connection* connection : broken) {
            establish(*connection);
        }
    }

    std::mt19937_64 random_;
    uint64_t wanted_;
    World world_;
    std::vector<uint32_t> vnics_;
    std::vector<std::unique_ptr<Tenant>> tenants_;
    std::array<uint32_t, kTenants> lives_{};
    std::array<Connection, kConnections> connections_;
    uint64_t posted_ = 0;
    uint64_t completed_ = 0;
    uint64_t kills_ = 0;
};

class Simulated : public testing::TestWithParam<uint32_t> {};

TEST_P(Simulated, every_request_ends_once_and_every_byte_is_right) {
    const uint64_t first = from_environment("VRDMA_SEED", 0);
    const uint64_t operations = from_environment("VRDMA_OPERATIONS", 60'000);
    for (uint64_t seed = first == 0 ? 1 : first; seed <= (first == 0 ? 2 : first); ++seed) {
        SCOPED_TRACE(testing::Message() << "VRDMA_SEED=" << seed);
        Simulation simulation(seed, GetParam(), operations);
        simulation.run();
        std::printf("seed %llu, %u shards: %llu operations, %llu kills\n",
                    static_cast<unsigned long long>(seed), GetParam(),
                    static_cast<unsigned long long>(simulation.posted()),
                    static_cast<unsigned long long>(simulation.kills()));
        if (HasFailure()) {
            std::printf("repeat with VRDMA_SEED=%llu\n", static_cast<unsigned long long>(seed));
            return;
        }
    }
}

ON_ONE_AND_TWO_SHARDS(Simulated);

}  // namespace
}  // namespace vrdma::test
