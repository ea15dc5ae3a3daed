// All of a tenant's queues and buffers stand in one mapped region, handed out from its start;
// addresses inside MRs are the memory's own addresses unless a test says otherwise.
#include "tenant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace vrdma::test {
namespace {

constexpr uint64_t kMemoryBytes = uint64_t{256} << 20;

template <class T>
void publish(T& field, T value) {
    std::atomic_ref(field).store(value, std::memory_order_release);
}

}  // namespace

void Buffer::fill(uint8_t seed) const {
    for (uint32_t i = 0; i < length; ++i) {
        data[i] = static_cast<std::byte>(seed + i * 7 + (i >> 8) * 13);
    }
}

std::optional<vrdma_cqe> CompletionRing::poll() {
    vrdma_cqe& entry = ring[consumer & (entries - 1)];
    if (std::atomic_ref(entry.sequence).load(std::memory_order_acquire) != consumer + 1) {
        return std::nullopt;
    }
    const vrdma_cqe copy = entry;
    publish(header->consumer, ++consumer);
    return copy;
}

std::vector<vrdma_cqe> CompletionRing::poll_all() {
    std::vector<vrdma_cqe> all;
    while (const std::optional<vrdma_cqe> entry = poll()) {
        all.push_back(*entry);
    }
    return all;
}

void CompletionRing::arm(uint32_t type) {
    publish(header->arm, ++arms << VRDMA_ARM_COUNT_SHIFT | type);
}

void Tenant::EXPECT_DONE(const CommandOutcome& outcome) {
    EXPECT_EQ(outcome.kind, CommandOutcome::Kind::Done) << outcome.refusal.text;
}

Tenant::Tenant(World& home, uint32_t vnic_index, uint32_t shard, uint64_t features)
    : world(home),
      vnic(vnic_index),
      shard_index(shard),
      event_file(home.new_file()),
      memory_(static_cast<std::byte*>(mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
      cookies_(uint64_t{1000} * static_cast<uint64_t>(event_file)),
      response_(VRDMA_MAX_MESSAGE_BYTES) {
    doorbell = reinterpret_cast<vrdma_doorbell*>(allocate(sizeof(vrdma_doorbell)));
    Commands::NewContext request{};
    request.vnic = vnic;
    request.doorbell = doorbell;
    request.event_file = event_file;
    request.features = features;
    const std::optional<uint32_t> index = world.shard(shard).commands().open(request);
    EXPECT_TRUE(index.has_value());
    context = index.value_or(0);
    region = add_region(memory_, kMemoryBytes);
    pd = create_pd();
    cq = create_cq();
}

Tenant::~Tenant() {
    munmap(memory_, kMemoryBytes);
}

CommandOutcome Tenant::command(uint16_t opcode, std::span<const std::byte> body,
                               const Attachment& attachment) {
    return world.shard(shard_index)
        .commands()
        .execute(CommandCall{context, opcode, body, attachment, response_});
}

uint32_t Tenant::create_pd() {
    EXPECT_DONE(command(VRDMA_CMD_ALLOC_PD));
    return response<vrdma_handle>().handle;
}

uint32_t Tenant::create_channel() {
    EXPECT_DONE(command(VRDMA_CMD_CREATE_CHANNEL, {}, Attachment{.file = world.new_file()}));
    return response<vrdma_handle>().handle;
}

std::byte* Tenant::allocate(uint64_t bytes) {
    const uint64_t rounded = (bytes + 4095) / 4096 * 4096;
    EXPECT_LE(rounded, kMemoryBytes - used_);
    std::byte* result = memory_ + used_;
    used_ += rounded;
    return result;
}

vrdma_queue_memory Tenant::place(uint64_t bytes, std::byte*& at) {
    at = allocate(bytes);
    return {region, 0, static_cast<uint64_t>(at - memory_)};
}

uint32_t Tenant::add_region(std::byte* base, uint64_t length, uint32_t flags,
                            const std::atomic<bool>* broken) {
    const vrdma_cmd_add_region request{VRDMA_REGION_MAPPED, flags, 0, length};
    EXPECT_DONE(command(VRDMA_CMD_ADD_REGION, request, Attachment{.broken = broken, .base = base}));
    return response<vrdma_handle>().handle;
}

uint32_t Tenant::add_process_region(std::byte* base, uint64_t length, int file) {
    const vrdma_cmd_add_region request{VRDMA_REGION_PROCESS, VRDMA_REGION_WRITABLE,
                                       reinterpret_cast<uint64_t>(base), length};
    EXPECT_DONE(command(VRDMA_CMD_ADD_REGION, request, Attachment{.file = file}));
    return response<vrdma_handle>().handle;
}

CompletionRing Tenant::create_cq(const CqOptions& options) {
    CompletionRing made;
    std::byte* at = nullptr;
    const bool timestamps = (options.flags & VRDMA_CQ_TIMESTAMPS) != 0;
    made.memory = place(sizeof(vrdma_cq_header) + options.entries * sizeof(vrdma_cqe) +
                            (timestamps ? options.entries * sizeof(uint64_t) : 0),
                        at);
    made.cookie = ++cookies_;
    const vrdma_cmd_create_cq request{made.memory, options.entries, options.channel, made.cookie,
                                      0,           options.flags};
    EXPECT_DONE(command(VRDMA_CMD_CREATE_CQ, request));
    made.handle = response<vrdma_handle>().handle;
    made.entries = options.entries;
    made.header = reinterpret_cast<vrdma_cq_header*>(at);
    made.ring = reinterpret_cast<vrdma_cqe*>(at + sizeof(vrdma_cq_header));
    if (timestamps) {
        made.timestamps = reinterpret_cast<uint64_t*>(made.ring + options.entries);
    }
    return made;
}

SharedRing Tenant::create_srq(uint32_t entries, uint32_t limit, std::optional<uint32_t> domain) {
    SharedRing made;
    constexpr uint32_t kSges = 4;
    made.entries = entries;
    made.stride = vrdma_recv_stride(kSges);
    made.cookie = ++cookies_;
    std::byte* at = nullptr;
    vrdma_cmd_create_srq request{};
    request.memory = place(sizeof(vrdma_srq_header) + entries * made.stride, at);
    request.pd = domain.value_or(pd);
    request.entries = entries;
    request.max_sge = kSges;
    request.limit = limit;
    request.cookie = made.cookie;
    EXPECT_DONE(command(VRDMA_CMD_CREATE_SRQ, request));
    made.handle = response<vrdma_handle>().handle;
    made.header = reinterpret_cast<vrdma_srq_header*>(at);
    made.ring = at + sizeof(vrdma_srq_header);
    return made;
}

QueuePair Tenant::create_qp(const QpOptions& options, const CompletionRing& send_cq,
                            const CompletionRing& recv_cq) {
    QueuePair qp;
    qp.type = options.type;
    qp.sq_entries = options.sq_entries;
    const bool initiator = options.type == VRDMA_QPT_XRC_SEND;
    qp.rq_entries = options.srq == VRDMA_NO_HANDLE && !initiator ? options.rq_entries : 0;
    qp.sq_stride = vrdma_send_stride(has_long_entries(options.type) ? 1 : 0, options.max_send_sge,
                                     options.max_inline);
    qp.rq_stride = vrdma_recv_stride(options.max_recv_sge);
    qp.cookie = ++cookies_;
    std::byte* at = nullptr;
    vrdma_cmd_create_qp request{};
    request.memory = place(sizeof(vrdma_qp_header) + uint64_t{qp.sq_entries} * qp.sq_stride +
                               uint64_t{qp.rq_entries} * qp.rq_stride,
                           at);
    request.pd = pd;
    request.type = options.type;
    request.send_cq = send_cq.handle;
    request.recv_cq = initiator ? VRDMA_NO_HANDLE : recv_cq.handle;
    request.srq = options.srq;
    request.sq_entries = qp.sq_entries;
    request.rq_entries = qp.rq_entries;
    request.max_send_sge = options.max_send_sge;
    request.max_recv_sge = options.max_recv_sge;
    request.max_inline = options.max_inline;
    request.flags = (options.signal_all ? uint32_t{VRDMA_QP_SIGNAL_ALL} : 0U) |
                    (options.block_loopback ? uint32_t{VRDMA_QP_BLOCK_MCAST_LOOPBACK} : 0U);
    request.cookie = qp.cookie;
    EXPECT_DONE(command(VRDMA_CMD_CREATE_QP, request));
    const auto answer = response<vrdma_rsp_create_qp>();
    qp.handle = answer.handle;
    qp.qpn = answer.qpn;
    qp.doorbell = answer.doorbell;
    qp.header = reinterpret_cast<vrdma_qp_header*>(at);
    qp.send_ring = at + sizeof(vrdma_qp_header);
    qp.receive_ring = qp.send_ring + size_t{qp.sq_entries} * qp.sq_stride;
    return qp;
}

Buffer Tenant::buffer(uint32_t bytes, const Mr& mr) {
    std::byte* data = allocate(std::max(bytes, 1U));
    std::vector<vrdma_mr_range> ranges;
    if (bytes > 0) {
        ranges.push_back({region, 0, static_cast<uint64_t>(data - memory_), bytes});
    }
    Buffer made = register_ranges(ranges, mr.iova.value_or(reinterpret_cast<uint64_t>(data)), mr);
    made.data = data;
    return made;
}

Buffer Tenant::register_again(const Buffer& before) {
    const auto offset = static_cast<uint64_t>(before.data - memory_);
    Buffer made = register_ranges({{region, 0, offset, before.length}}, before.address(), Mr{});
    made.data = before.data;
    return made;
}

Buffer Tenant::register_ranges(const std::vector<vrdma_mr_range>& ranges, uint64_t iova,
                               const Mr& mr) {
    vrdma_cmd_reg_mr request{};
    request.pd = mr.pd.value_or(pd);
    request.access = mr.access;
    request.iova = iova;
    for (const vrdma_mr_range& range : ranges) {
        request.length += range.length;
    }
    request.range_count = static_cast<uint32_t>(ranges.size());
    std::vector<std::byte> body(sizeof request + ranges.size() * sizeof(vrdma_mr_range));
    std::memcpy(body.data(), &request, sizeof request);
    if (!ranges.empty()) {
        std::memcpy(body.data() + sizeof request, ranges.data(), body.size() - sizeof request);
    }
    EXPECT_DONE(command(VRDMA_CMD_REG_MR, std::span<const std::byte>(body)));
    const auto answer = response<vrdma_rsp_reg_mr>();
    return Buffer{nullptr, static_cast<uint32_t>(request.length), answer.handle, answer.lkey};
}

Tenant::Window Tenant::create_mw(vrdma_mw_type type, std::optional<uint32_t> domain) {
    EXPECT_DONE(command(VRDMA_CMD_ALLOC_MW,
                        vrdma_cmd_alloc_mw{domain.value_or(pd), static_cast<uint32_t>(type)}));
    const auto answer = response<vrdma_rsp_alloc_mw>();
    return {answer.handle, answer.rkey};
}

namespace {

vrdma_cmd_mcast mcast(const QueuePair& qp, const vrdma_gid_entry& group) {
    vrdma_cmd_mcast request{qp.handle, 0, {}};
    std::memcpy(request.gid, group.gid, sizeof request.gid);
    return request;
}

}  // namespace

CommandOutcome Tenant::attach(const QueuePair& qp, const vrdma_gid_entry& group) {
    return command(VRDMA_CMD_ATTACH_MCAST, mcast(qp, group));
}

CommandOutcome Tenant::detach(const QueuePair& qp, const vrdma_gid_entry& group) {
    return command(VRDMA_CMD_DETACH_MCAST, mcast(qp, group));
}

CommandOutcome Tenant::modify(const QueuePair& qp, uint32_t mask,
                              const vrdma_qp_attributes& attributes) {
    return command(VRDMA_CMD_MODIFY_QP, vrdma_cmd_modify_qp{qp.handle, mask, attributes});
}

CommandOutcome Tenant::to_state(const QueuePair& qp, vrdma_qp_state state) {
    vrdma_qp_attributes attributes{};
    attributes.state = static_cast<uint32_t>(state);
    return modify(qp, VRDMA_QP_STATE, attributes);
}

vrdma_qp_attributes Tenant::query(const QueuePair& qp) {
    EXPECT_DONE(command(VRDMA_CMD_QUERY_QP, vrdma_handle{qp.handle, 0}));
    return response<vrdma_rsp_query_qp>().attributes;
}

void Tenant::post_quietly(QueuePair& qp, const Send& send) {
    std::byte* slot = qp.send_ring + size_t{qp.sq_producer & (qp.sq_entries - 1)} * qp.sq_stride;
    vrdma_send_wqe wqe{};
    wqe.opcode = send.opcode;
    wqe.flags = send.flags;
    wqe.imm_data = send.imm;
    wqe.wr_id = send.wr_id;
    const bool atomic = send.opcode == VRDMA_WQE_ATOMIC_CMP_AND_SWP ||
                        send.opcode == VRDMA_WQE_ATOMIC_FETCH_AND_ADD;
    size_t offset = VRDMA_WQE_DATA_OFFSET;
    if (qp.type == VRDMA_QPT_UD) {
        wqe.ud.remote_qpn = send.qpn;
        wqe.ud.remote_qkey = send.qkey;
        std::memcpy(wqe.ud_address.remote_gid, send.gid.gid, 16);
        wqe.ud_address.flow_label = send.flow_label;
        wqe.ud_address.sgid_index = send.sgid_index;
        wqe.ud_address.hop_limit = send.hop_limit;
        wqe.ud_address.traffic_class = send.traffic_class;
        offset = VRDMA_WQE_DATA_OFFSET_UD;
    } else {
        wqe.remote_address = send.remote_address;
        wqe.rkey = send.rkey;
        if (atomic) {
            wqe.atomic.compare_add = send.compare_add;
            wqe.atomic.swap = send.swap;
            offset = VRDMA_WQE_DATA_OFFSET_ATOMIC;
        }
        if (qp.type == VRDMA_QPT_XRC_SEND) {
            wqe.xrc.remote_srqn = send.srqn;
            offset = VRDMA_WQE_DATA_OFFSET_UD;
        }
        if (send.opcode == VRDMA_WQE_BIND_MW) {
            wqe.bind.length = send.window_length;
            wqe.bind.lkey = send.window_lkey;
            wqe.bind.rkey = send.window_rkey;
            wqe.bind.access = send.window_access;
        }
    }
    const bool is_inline = (send.flags & VRDMA_WQE_INLINE) != 0;
    wqe.inline_length = is_inline ? static_cast<uint32_t>(send.inline_data.size()) : 0;
    wqe.sge_count = static_cast<uint8_t>(send.sges.size());
    std::memcpy(slot, &wqe, std::min<size_t>(sizeof wqe, qp.sq_stride));
    const size_t room = qp.sq_stride - offset;
    if (is_inline) {
        std::memcpy(slot + offset, send.inline_data.data(),
                    std::min(send.inline_data.size(), room));
    } else if (!send.sges.empty()) {
        std::memcpy(slot + offset, send.sges.data(),
                    std::min(send.sges.size() * sizeof(vrdma_sge), room));
    }
    publish(qp.header->sq_producer, ++qp.sq_producer);
}

void Tenant::post(QueuePair& qp, const Send& send) {
    post_quietly(qp, send);
    ring(qp);
}

namespace {

void write_receive(std::byte* slot, uint32_t stride, uint64_t wr_id,
                   const std::vector<vrdma_sge>& sges) {
    vrdma_recv_wqe wqe{};
    wqe.wr_id = wr_id;
    wqe.sge_count = static_cast<uint8_t>(sges.size());
    std::memcpy(slot, &wqe, sizeof wqe);
    if (!sges.empty()) {
        std::memcpy(slot + sizeof wqe, sges.data(),
                    std::min(sges.size() * sizeof(vrdma_sge), stride - sizeof wqe));
    }
}

}  // namespace

void Tenant::post_receive(QueuePair& qp, uint64_t wr_id, const std::vector<vrdma_sge>& sges) {
    write_receive(qp.receive_ring + size_t{qp.rq_producer & (qp.rq_entries - 1)} * qp.rq_stride,
                  qp.rq_stride, wr_id, sges);
    publish(qp.header->rq_producer, ++qp.rq_producer);
    if (std::atomic_ref(qp.header->in_error).load() != 0) {
        ring(qp);
    }
}

void Tenant::post_receive(SharedRing& srq, uint64_t wr_id, const std::vector<vrdma_sge>& sges) {
    write_receive(srq.ring + size_t{srq.producer & (srq.entries - 1)} * srq.stride, srq.stride,
                  wr_id, sges);
    publish(srq.header->producer, ++srq.producer);
}

void Tenant::ring_bit(uint32_t bit) {
    const uint32_t word = bit / 64;
    std::atomic_ref(doorbell->leaf[word]).fetch_or(uint64_t{1} << bit % 64);
    std::atomic_ref(doorbell->summary[word / 64]).fetch_or(uint64_t{1} << word % 64);
    if (std::atomic_ref(doorbell->need_kick).exchange(0) != 0) {
        world.shard(shard_index).kicked(context);
    }
}

void Tenant::tear_down(bool turns) {
    EXPECT_FALSE(gone_);
    gone_ = true;
    Commands::Teardown teardown{context};
    for (int i = 0; i < 10'000; ++i) {
        if (world.shard(shard_index).tear_down(teardown)) {
            return;
        }
        if (turns) {
            world.turn();
        }
    }
    ADD_FAILURE() << "the teardown never ends";
}

std::vector<uint32_t> Tenant::take_events() {
    std::vector<uint32_t> types;
    for (const vrdma_event& event : events()) {
        types.push_back(event.type);
    }
    events().clear();
    return types;
}

}  // namespace vrdma::test
