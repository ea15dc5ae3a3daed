// A driver of the device in the smallest form: it speaks the ABI on plain memory. Helpers that
// create things expect success; `command` gives the raw outcome.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "world.h"

namespace vrdma::test {

// A piece of a tenant's memory, and the MR over it.
struct Buffer {
    std::byte* data = nullptr;
    uint32_t length = 0;
    uint32_t handle = 0;
    uint32_t key = 0;

    [[nodiscard]] uint64_t address() const { return reinterpret_cast<uint64_t>(data); }
    [[nodiscard]] vrdma_sge sge(uint32_t offset, uint32_t bytes) const {
        return {address() + offset, bytes, key};
    }
    [[nodiscard]] vrdma_sge sge() const { return sge(0, length); }
    // Bytes that depend on place and seed.
    void fill(uint8_t seed) const;
    [[nodiscard]] std::string text(uint32_t offset, uint32_t bytes) const {
        return {reinterpret_cast<const char*>(data) + offset, bytes};
    }
    [[nodiscard]] std::string text() const { return text(0, length); }
};

struct CqOptions {
    uint32_t entries = 256;
    uint32_t channel = VRDMA_NO_HANDLE;
    uint32_t flags = 0;
};

struct CompletionRing {
    uint32_t handle = 0;
    uint64_t cookie = 0;
    uint32_t entries = 0;
    uint32_t consumer = 0;
    uint32_t arms = 0;
    vrdma_queue_memory memory{};
    vrdma_cq_header* header = nullptr;
    vrdma_cqe* ring = nullptr;
    uint64_t* timestamps = nullptr;  // with VRDMA_CQ_TIMESTAMPS

    [[nodiscard]] std::optional<vrdma_cqe> poll();
    std::vector<vrdma_cqe> poll_all();
    void arm(uint32_t type);
};

struct SharedRing {
    uint32_t handle = 0;
    uint64_t cookie = 0;
    uint32_t entries = 0;
    uint32_t stride = 0;
    uint32_t producer = 0;
    vrdma_srq_header* header = nullptr;
    std::byte* ring = nullptr;
};

// What a work request says. Defaults make a signaled SEND.
struct Send {
    uint8_t opcode = VRDMA_WQE_SEND;
    uint64_t wr_id = 0;
    uint8_t flags = VRDMA_WQE_SIGNALED;
    std::vector<vrdma_sge> sges{};
    std::string inline_data{};
    uint32_t imm = 0;
    uint64_t remote_address = 0;
    uint32_t rkey = 0;
    uint64_t compare_add = 0;
    uint64_t swap = 0;
    // BIND_MW; the window is `rkey`, its first byte `remote_address`
    uint64_t window_length = 0;
    uint32_t window_lkey = 0;
    uint32_t window_rkey = 0;
    uint32_t window_access = 0;
    // UD
    uint32_t qpn = 0;
    uint32_t qkey = 0;
    vrdma_gid_entry gid{};
    uint8_t sgid_index = 3;
    uint8_t traffic_class = 0;
    uint8_t hop_limit = 64;
    uint32_t flow_label = 0;
    // XRC
    uint32_t srqn = 0;
};

struct QpOptions {
    uint8_t type = VRDMA_QPT_RC;
    uint32_t sq_entries = 64;
    uint32_t rq_entries = 64;
    uint32_t max_send_sge = 4;
    uint32_t max_recv_sge = 4;
    uint32_t max_inline = 256;
    uint32_t srq = VRDMA_NO_HANDLE;
    bool signal_all = false;
    bool block_loopback = false;
};

struct QueuePair {
    uint32_t handle = 0;
    uint32_t qpn = 0;
    uint32_t doorbell = 0;
    uint64_t cookie = 0;
    uint8_t type = 0;
    uint32_t sq_entries = 0;
    uint32_t rq_entries = 0;
    uint32_t sq_stride = 0;
    uint32_t rq_stride = 0;
    uint32_t sq_producer = 0;
    uint32_t rq_producer = 0;
    vrdma_qp_header* header = nullptr;
    std::byte* send_ring = nullptr;
    std::byte* receive_ring = nullptr;
};

class Tenant {
  public:
    static constexpr uint64_t kAllFeatures = UINT64_MAX;
    Tenant(World& world, uint32_t vnic, uint32_t shard = 0, uint64_t features = kAllFeatures);
    ~Tenant();
    Tenant(const Tenant&) = delete;
    Tenant& operator=(const Tenant&) = delete;

    // ---- commands
    [[nodiscard]] CommandOutcome command(uint16_t opcode, std::span<const std::byte> body,
                                         const Attachment& attachment = {});
    template <class Body>
    [[nodiscard]] CommandOutcome command(uint16_t opcode, const Body& body,
                                         const Attachment& attachment = {}) {
        return command(opcode, std::as_bytes(std::span(&body, 1)), attachment);
    }
    [[nodiscard]] CommandOutcome command(uint16_t opcode) {
        return command(opcode, std::span<const std::byte>{});
    }
    // The same, asked again every turn until it is not deferred.
    template <class Body>
    [[nodiscard]] CommandOutcome command_until_done(uint16_t opcode, const Body& body) {
        for (int i = 0; i < 1000; ++i) {
            const CommandOutcome outcome = command(opcode, body);
            if (outcome.kind != CommandOutcome::Kind::Deferred) {
                return outcome;
            }
            world.turn();
        }
        return CommandOutcome{CommandOutcome::Kind::Deferred, 0, {}};
    }
    template <class T>
    [[nodiscard]] T response() const {
        T value;
        std::memcpy(&value, response_.data(), sizeof value);
        return value;
    }
    uint32_t create_pd();
    uint32_t create_channel();
    CompletionRing create_cq(const CqOptions& options = {});
    SharedRing create_srq(uint32_t entries = 64, uint32_t limit = 0,
                          std::optional<uint32_t> domain = {});
    QueuePair create_qp(const QpOptions& options, const CompletionRing& send_cq,
                        const CompletionRing& recv_cq);
    QueuePair create_qp(const QpOptions& options = {}) { return create_qp(options, cq, cq); }
    CommandOutcome destroy(uint16_t opcode, uint32_t handle) {
        return command_until_done(opcode, vrdma_handle{handle, 0});
    }

    // ---- memory
    static constexpr uint32_t kAllAccess = VRDMA_ACCESS_MASK;
    [[nodiscard]] std::byte* allocate(uint64_t bytes);
    [[nodiscard]] vrdma_queue_memory place(uint64_t bytes, std::byte*& at);
    uint32_t add_region(std::byte* base, uint64_t length, uint32_t flags = VRDMA_REGION_WRITABLE,
                        const std::atomic<bool>* broken = nullptr);
    // Memory that the device reaches through a process memory file.
    uint32_t add_process_region(std::byte* base, uint64_t length, int file);
    struct Mr {
        uint32_t access = kAllAccess;
        std::optional<uint32_t> pd{};
        std::optional<uint64_t> iova{};
    };
    // An MR over `bytes` fresh bytes of the tenant's memory.
    Buffer buffer(uint32_t bytes, const Mr& mr);
    Buffer buffer(uint32_t bytes) { return buffer(bytes, Mr{}); }
    // The same memory once more, under a new key.
    Buffer register_again(const Buffer& before);
    // An MR over given ranges; the data pointer is the caller's.
    Buffer register_ranges(const std::vector<vrdma_mr_range>& ranges, uint64_t iova, const Mr& mr);

    struct Window {
        uint32_t handle;
        uint32_t rkey;
    };
    Window create_mw(vrdma_mw_type type, std::optional<uint32_t> domain = {});

    // ---- queue pairs
    [[nodiscard]] CommandOutcome modify(const QueuePair& qp, uint32_t mask,
                                        const vrdma_qp_attributes& attributes);
    [[nodiscard]] CommandOutcome to_state(const QueuePair& qp, vrdma_qp_state state);
    [[nodiscard]] vrdma_qp_attributes query(const QueuePair& qp);
    [[nodiscard]] vrdma_qp_state state_of(const QueuePair& qp) {
        return static_cast<vrdma_qp_state>(query(qp).state);
    }
    void post(QueuePair& qp, const Send& send);          // with doorbell
    void post_quietly(QueuePair& qp, const Send& send);  // without
    void post_receive(QueuePair& qp, uint64_t wr_id, const std::vector<vrdma_sge>& sges);
    void post_receive(SharedRing& srq, uint64_t wr_id, const std::vector<vrdma_sge>& sges);
    void ring(const QueuePair& qp) { ring_bit(qp.doorbell); }
    void ring_bit(uint32_t bit);

    [[nodiscard]] CommandOutcome attach(const QueuePair& qp, const vrdma_gid_entry& group);
    [[nodiscard]] CommandOutcome detach(const QueuePair& qp, const vrdma_gid_entry& group);

    // ---- the end
    // Bit by bit until nothing is left. `turns`: the world goes on between the bits.
    void tear_down(bool turns = true);
    void close() { EXPECT_DONE(command(VRDMA_CMD_CLOSE)); }

    [[nodiscard]] std::vector<vrdma_event>& events() { return world.events(event_file); }
    // Types of the events so far, and forgets them.
    std::vector<uint32_t> take_events();
    static void EXPECT_DONE(const CommandOutcome& outcome);

    World& world;
    const uint32_t vnic;
    const uint32_t shard_index;
    int event_file;
    uint32_t context = 0;
    vrdma_doorbell* doorbell = nullptr;
    uint32_t region = 0;
    uint32_t pd = 0;
    CompletionRing cq;

  private:
    std::byte* memory_;
    uint64_t used_ = 0;
    uint64_t cookies_;
    std::vector<std::byte> response_;
    bool gone_ = false;
};

}  // namespace vrdma::test
