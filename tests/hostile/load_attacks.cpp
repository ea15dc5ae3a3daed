// Attacks by load: what a tenant may do, done where it costs the device most. Nothing here is
// forbidden; the only finding is a neighbour that stands still (the victims' report).
#include <sys/socket.h>
#include <unistd.h>

#include "tests/hostile/attack.h"

namespace vrdma::hostile {
namespace {

// Many queue pairs on one ring: memory for one, work for all.
struct Crowd {
    Tenant tenant;
    CompletionQueue cq;
    std::vector<QueuePair> qps;
    std::byte* block = nullptr;

    [[nodiscard]] bool open(Stage& stage, uint32_t count, uint32_t entries, uint32_t cq_entries,
                            uint32_t type) {
        if (!tenant.open(stage.socket, size_t{16} << 20)) {
            stage.report("a fresh tenant is refused: " + tenant.why);
            return false;
        }
        cq = tenant.create_cq(cq_entries);
        const uint32_t stride = vrdma_send_stride(type == VRDMA_QPT_UD ? 1 : 0, 1, 0);
        vrdma_cmd_create_qp request{};
        request.memory = tenant.take_queue_memory(
            sizeof(vrdma_qp_header) + size_t{entries} * (stride + vrdma_recv_stride(1)), block);
        request.pd = tenant.pd;
        request.type = type;
        request.send_cq = request.recv_cq = cq.handle;
        request.srq = VRDMA_NO_HANDLE;
        request.sq_entries = request.rq_entries = entries;
        request.max_send_sge = request.max_recv_sge = 1;
        for (uint32_t i = 0; i < count; ++i) {
            const Answer answer = tenant.device.call(VRDMA_CMD_CREATE_QP, request);
            if (!answer.ok()) {
                break;
            }
            const auto body = answer.as<vrdma_rsp_create_qp>();
            QueuePair& qp = qps.emplace_back();
            qp.handle = body.handle;
            qp.qpn = body.qpn;
            qp.doorbell = body.doorbell;
            qp.entries = entries;
            qp.send_stride = stride;
            qp.header = reinterpret_cast<vrdma_qp_header*>(block);
        }
        return block != nullptr && !qps.empty();
    }
    void set_producers(uint32_t value) const {
        auto* header = reinterpret_cast<vrdma_qp_header*>(block);
        store(header->sq_producer, value);
        store(header->rq_producer, value);
    }
};

// Full rings that fail and are flushed, over and over.
void flush(Stage& stage) {
    Crowd crowd;
    if (!crowd.open(stage, 512, VRDMA_MAX_QUEUE_ENTRIES, 1 << 16, VRDMA_QPT_RC)) {
        return;
    }
    for (uint32_t round = 0; round < 1 + stage.operations / 512; ++round) {
        crowd.set_producers(0);
        for (const QueuePair& qp : crowd.qps) {
            crowd.tenant.modify(qp, VRDMA_QPS_RESET);
            if (!crowd.tenant.connect(qp, VRDMA_QPT_RC, crowd.tenant.info.gid[3], qp.qpn)) {
                stage.report("cannot connect: " + crowd.tenant.why);
                return;
            }
        }
        crowd.set_producers(VRDMA_MAX_QUEUE_ENTRIES);
        for (const QueuePair& qp : crowd.qps) {
            crowd.tenant.doorbell.ring(qp.doorbell);
        }
        for (const QueuePair& qp : crowd.qps) {
            store(crowd.cq.header->consumer, load(crowd.cq.header->producer));
            crowd.tenant.modify(qp, VRDMA_QPS_ERR);
        }
    }
}

// A queue of one entry that thousands of queue pairs overflow at once.
void overflow(Stage& stage) {
    Crowd crowd;
    if (!crowd.open(stage, 2048, VRDMA_MAX_QUEUE_ENTRIES, 1, VRDMA_QPT_UD)) {
        return;
    }
    for (const QueuePair& qp : crowd.qps) {
        if (!crowd.tenant.connect(qp, VRDMA_QPT_UD, crowd.tenant.info.gid[3], qp.qpn)) {
            stage.report("cannot connect: " + crowd.tenant.why);
            return;
        }
    }
    crowd.set_producers(VRDMA_MAX_QUEUE_ENTRIES);
    for (const QueuePair& qp : crowd.qps) {
        crowd.tenant.doorbell.ring(qp.doorbell);
    }
    usleep(300'000);
}

// Many armed completion queues whose channel nobody reads.
void unread_events(Stage& stage) {
    Tenant tenant;
    if (!tenant.open(stage.socket, size_t{16} << 20)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return;
    }
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return;
    }
    const Answer channel = tenant.device.call(VRDMA_CMD_CREATE_CHANNEL, {}, {&ends[1], 1});
    std::vector<std::pair<QueuePair, CompletionQueue>> pairs;
    for (uint32_t i = 0; i < 2000; ++i) {
        CompletionQueue cq = tenant.create_cq(64, channel.as<vrdma_handle>().handle);
        QueuePair qp = tenant.create_qp(VRDMA_QPT_UD, cq.handle, cq.handle, 4);
        if (qp.header == nullptr || !tenant.connect(qp, VRDMA_QPT_UD, tenant.info.gid[3], qp.qpn)) {
            break;
        }
        pairs.emplace_back(qp, cq);
    }
    vrdma_send_wqe wqe{};
    wqe.opcode = VRDMA_WQE_SEND;
    wqe.flags = VRDMA_WQE_SIGNALED;
    for (uint32_t round = 1; round < 8; ++round) {
        for (auto& [qp, cq] : pairs) {
            store(cq.header->consumer, load(cq.header->producer));
            store(cq.header->arm, round << VRDMA_ARM_COUNT_SHIFT | VRDMA_ARM_NEXT);
            tenant.post_send(qp, wqe);
        }
        usleep(50'000);
    }
    close(ends[0]);
    close(ends[1]);
}

// A queue of four million entries that is moved again and again.
void resize(Stage& stage) {
    Tenant tenant;
    constexpr uint32_t kEntries = VRDMA_MAX_CQ_ENTRIES;
    constexpr size_t kBytes = sizeof(vrdma_cq_header) + size_t{kEntries} * sizeof(vrdma_cqe);
    if (!tenant.open(stage.socket, (2 * (kBytes + 64) + 4095) / 4096 * 4096)) {
        stage.report("a fresh tenant is refused: " + tenant.why);
        return;
    }
    const CompletionQueue cq = tenant.create_cq(kEntries);
    std::byte* other = nullptr;
    const vrdma_queue_memory places[2] = {tenant.take_queue_memory(kBytes, other),
                                          {tenant.queue_region, 0, 0}};
    for (uint32_t i = 0; i < 4 + stage.operations / 512; ++i) {
        // "All unread": the device has written none, so this is a lie of four million.
        auto* header =
            reinterpret_cast<vrdma_cq_header*>(i % 2 == 0 ? tenant.queues.data() : other);
        store(header->consumer, 0U - kEntries);
        const vrdma_cmd_resize_cq request{cq.handle, kEntries, places[i % 2]};
        if (tenant.device.call(VRDMA_CMD_RESIZE_CQ, request).status == kNoAnswer) {
            stage.report("RESIZE_CQ was never answered");
        }
    }
}

// Doorbells of thousands of idle queue pairs, as fast as memory takes them.
void doorbells(Stage& stage) {
    Crowd crowd;
    if (!crowd.open(stage, 4096, 64, 64, VRDMA_QPT_UD)) {
        return;
    }
    auto* pages = reinterpret_cast<vrdma_doorbell*>(crowd.tenant.doorbell_memory.data());
    for (uint32_t i = 0; i < stage.operations * 8; ++i) {
        for (uint64_t& word : pages->leaf) {
            std::atomic_ref(word).store(UINT64_MAX, std::memory_order_relaxed);
        }
        for (uint64_t& word : pages->summary) {
            std::atomic_ref(word).store(UINT64_MAX, std::memory_order_seq_cst);
        }
        if (i % 16 == 0) {
            crowd.tenant.doorbell.ring(0);
        }
    }
}

// Large transfers on very many queue pairs: the device's time is shared by tenant, not by queue.
void greedy(Stage& stage) {
    Crowd crowd;
    constexpr uint32_t kEntries = 4096;
    if (!crowd.open(stage, 1024, kEntries, 1 << 16, VRDMA_QPT_RC)) {
        return;
    }
    const Memory memory = Memory::create(size_t{4} << 20);
    const MemoryRegion mr = crowd.tenant.register_memory(crowd.tenant.add_region(memory),
                                                         memory.address(), memory.size());
    std::byte* ring = crowd.block + sizeof(vrdma_qp_header);
    for (uint32_t i = 0; i < kEntries; ++i) {
        vrdma_send_wqe wqe{};
        wqe.opcode = VRDMA_WQE_RDMA_WRITE;
        wqe.sge_count = 1;
        wqe.remote_address = memory.address();
        wqe.rkey = mr.key;
        wqe.sge[0] = {memory.address() + (size_t{2} << 20), 1 << 20, mr.key};
        std::memcpy(ring + size_t{i} * crowd.qps[0].send_stride, &wqe, sizeof wqe);
    }
    for (const QueuePair& qp : crowd.qps) {
        if (!crowd.tenant.connect(qp, VRDMA_QPT_RC, crowd.tenant.info.gid[3], qp.qpn)) {
            stage.report("cannot connect: " + crowd.tenant.why);
            return;
        }
    }
    store(crowd.qps[0].header->sq_producer, kEntries);
    for (const QueuePair& qp : crowd.qps) {
        crowd.tenant.doorbell.ring(qp.doorbell);
    }
    usleep(1'500'000);
}

// Receivers that are never ready and senders that never give up.
void not_ready(Stage& stage) {
    Crowd crowd;
    if (!crowd.open(stage, 2048, 64, 1 << 16, VRDMA_QPT_RC)) {
        return;
    }
    for (const QueuePair& qp : crowd.qps) {
        if (!crowd.tenant.connect(qp, VRDMA_QPT_RC, crowd.tenant.info.gid[3], qp.qpn)) {
            return;
        }
    }
    vrdma_send_wqe wqe{};
    wqe.opcode = VRDMA_WQE_SEND;
    std::memcpy(crowd.block + sizeof(vrdma_qp_header), &wqe, sizeof wqe);
    store(crowd.qps[0].header->sq_producer, 1);
    for (const QueuePair& qp : crowd.qps) {
        crowd.tenant.doorbell.ring(qp.doorbell);
    }
    usleep(1'000'000);
}

constexpr Attack kAttacks[] = {
    {"flush", "full rings, flushed over and over", flush},
    {"overflow", "thousands of queue pairs overflow one queue", overflow},
    {"unread-events", "thousands of events that nobody reads", unread_events},
    {"resize", "the largest completion queue, moved again and again", resize},
    {"doorbells", "every doorbell bit, as fast as memory takes them", doorbells},
    {"greedy", "large transfers on a thousand queue pairs", greedy},
    {"not-ready", "receivers never ready, senders that never give up", not_ready},
};

}  // namespace

std::span<const Attack> load_attacks() {
    return kAttacks;
}

}  // namespace vrdma::hostile
