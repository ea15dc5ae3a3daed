// Plain use of the contract, without the driver's caches: every object is one command, every queue
// a block of one sealed memfd.
#include "tests/hostile/tenant.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <utility>

namespace vrdma::hostile {

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      file_(std::move(other.file_)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(file_, other.file_);
    return *this;
}

Memory::~Memory() {
    if (data_ != nullptr) {
        munmap(data_, size_);
    }
}

Memory Memory::create(size_t bytes, bool sealed, unsigned flags) {
    Memory memory;
    memory.file_.reset(memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
    if (!memory.file_.valid() || ftruncate(memory.file(), static_cast<off_t>(bytes)) != 0 ||
        (sealed && fcntl(memory.file(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)) {
        return memory;
    }
    void* data =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory.file(), 0);
    if (data != MAP_FAILED) {
        memory.data_ = static_cast<std::byte*>(data);
        memory.size_ = bytes;
    }
    return memory;
}

const vrdma_cqe* CompletionQueue::poll() {
    vrdma_cqe& entry = ring[next & (entries - 1)];
    if (load(entry.sequence) != next + 1) {
        return nullptr;
    }
    ++next;
    store(header->consumer, next);
    return &entry;
}

bool Tenant::open(const std::string& path, size_t queue_bytes) {
    if (!device.connect(path)) {
        why = "the attach socket does not take connections";
        return false;
    }
    doorbell_memory = Memory::create(sizeof(vrdma_doorbell));
    kick.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    vrdma_cmd_open request{};
    request.abi_major = VRDMA_ABI_MAJOR;
    request.features = VRDMA_FEATURE_PROCESS_MEMORY | VRDMA_FEATURE_PEER_DEATH |
                       VRDMA_FEATURE_MEMORY_WINDOWS | VRDMA_FEATURE_TIMESTAMPS | VRDMA_FEATURE_XRC;
    std::strncpy(request.program, "hostile", sizeof request.program - 1);
    const int files[] = {doorbell_memory.file(), kick.get()};
    Answer answer = device.call(VRDMA_CMD_OPEN, request, files);
    why = answer.reason;
    if (!answer.ok()) {
        return false;
    }
    info = answer.as<vrdma_rsp_open>();
    events = std::move(answer.file);
    doorbell =
        driver::Doorbell(reinterpret_cast<vrdma_doorbell*>(doorbell_memory.data()), kick.get());
    queues = Memory::create(queue_bytes);
    queue_region = add_region(queues);
    const Answer domain = device.call(VRDMA_CMD_ALLOC_PD);
    pd = domain.as<vrdma_handle>().handle;
    return domain.ok() && queue_region != VRDMA_NO_HANDLE;
}

uint32_t Tenant::add_region(const Memory& memory) {
    const vrdma_cmd_add_region request{VRDMA_REGION_MAPPED, VRDMA_REGION_WRITABLE, 0,
                                       memory.size()};
    const int file = memory.file();
    const Answer answer = device.call(VRDMA_CMD_ADD_REGION, request, {&file, 1});
    why = answer.reason;
    return answer.ok() ? answer.as<vrdma_handle>().handle : VRDMA_NO_HANDLE;
}

MemoryRegion Tenant::register_memory(uint32_t region, uint64_t iova, uint64_t length,
                                     uint32_t access) {
    struct {
        vrdma_cmd_reg_mr head;
        vrdma_mr_range range;
    } const request{{pd, access, iova, length, 1, 0}, {region, 0, 0, length}};
    const Answer answer = device.call(VRDMA_CMD_REG_MR, request);
    why = answer.reason;
    if (!answer.ok()) {
        return {};
    }
    const auto body = answer.as<vrdma_rsp_reg_mr>();
    return {body.handle, body.lkey};
}

vrdma_queue_memory Tenant::take_queue_memory(size_t bytes, std::byte*& where) {
    const size_t offset = queue_bytes_used;
    queue_bytes_used += (bytes + 63) / 64 * 64;
    where = queue_bytes_used <= queues.size() ? queues.data() + offset : nullptr;
    return {queue_region, 0, offset};
}

CompletionQueue Tenant::create_cq(uint32_t entries, uint32_t channel) {
    CompletionQueue cq;
    std::byte* where = nullptr;
    vrdma_cmd_create_cq request{};
    request.memory =
        take_queue_memory(sizeof(vrdma_cq_header) + entries * sizeof(vrdma_cqe), where);
    request.entries = entries;
    request.channel = channel;
    const Answer answer = device.call(VRDMA_CMD_CREATE_CQ, request);
    why = answer.reason;
    if (where != nullptr && answer.ok()) {
        cq.handle = answer.as<vrdma_handle>().handle;
        cq.entries = entries;
        cq.header = reinterpret_cast<vrdma_cq_header*>(where);
        cq.ring = reinterpret_cast<vrdma_cqe*>(where + sizeof(vrdma_cq_header));
    }
    return cq;
}

QueuePair Tenant::create_qp(uint32_t type, uint32_t send_cq, uint32_t recv_cq, uint32_t entries,
                            uint32_t srq) {
    constexpr uint32_t kSges = 2;
    QueuePair qp;
    qp.entries = entries;
    qp.send_stride = vrdma_send_stride(type == VRDMA_QPT_UD ? 1 : 0, kSges, 0);
    qp.receive_stride = vrdma_recv_stride(kSges);
    const size_t send_bytes = size_t{entries} * qp.send_stride;
    std::byte* where = nullptr;
    vrdma_cmd_create_qp request{};
    request.memory = take_queue_memory(
        sizeof(vrdma_qp_header) + send_bytes + size_t{entries} * qp.receive_stride, where);
    request.pd = pd;
    request.type = type;
    request.send_cq = send_cq;
    request.recv_cq = recv_cq;
    request.srq = srq;
    request.sq_entries = entries;
    request.rq_entries = srq == VRDMA_NO_HANDLE ? entries : 0;
    request.max_send_sge = kSges;
    request.max_recv_sge = kSges;
    const Answer answer = device.call(VRDMA_CMD_CREATE_QP, request);
    why = answer.reason;
    if (where != nullptr && answer.ok()) {
        const auto body = answer.as<vrdma_rsp_create_qp>();
        qp.handle = body.handle;
        qp.qpn = body.qpn;
        qp.doorbell = body.doorbell;
        qp.header = reinterpret_cast<vrdma_qp_header*>(where);
        qp.send_ring = where + sizeof(vrdma_qp_header);
        qp.receive_ring = qp.send_ring + send_bytes;
    }
    return qp;
}

bool Tenant::modify(const QueuePair& qp, uint32_t state) {
    vrdma_cmd_modify_qp request{};
    request.handle = qp.handle;
    request.mask = VRDMA_QP_STATE;
    request.attributes.state = state;
    return device.call(VRDMA_CMD_MODIFY_QP, request).ok();
}

bool Tenant::connect(const QueuePair& qp, uint32_t type, const vrdma_gid_entry& gid, uint32_t qpn) {
    vrdma_cmd_modify_qp request{};
    request.handle = qp.handle;
    vrdma_qp_attributes& a = request.attributes;
    a.port = 1;
    a.access = kAllAccess;
    a.path_mtu = 5;
    a.dest_qpn = qpn;
    a.max_rd_atomic = a.max_dest_rd_atomic = 16;
    a.min_rnr_timer = 1;
    a.timeout = 14;
    a.retry_count = 7;
    a.rnr_retry = 7;
    a.address.sgid_index = VRDMA_GID_TABLE_LENGTH - 1;
    a.address.hop_limit = 64;
    std::memcpy(a.address.gid, gid.gid, sizeof a.address.gid);
    const bool connected = type != VRDMA_QPT_UD;
    const uint32_t masks[] = {
        VRDMA_QP_PORT | VRDMA_QP_PKEY_INDEX |
            (connected ? uint32_t{VRDMA_QP_ACCESS_FLAGS} : uint32_t{VRDMA_QP_QKEY}),
        connected ? VRDMA_QP_AV | VRDMA_QP_PATH_MTU | VRDMA_QP_DEST_QPN | VRDMA_QP_RQ_PSN |
                        VRDMA_QP_MAX_DEST_RD_ATOMIC | VRDMA_QP_MIN_RNR_TIMER
                  : 0U,
        connected ? VRDMA_QP_TIMEOUT | VRDMA_QP_RETRY_CNT | VRDMA_QP_RNR_RETRY | VRDMA_QP_SQ_PSN |
                        VRDMA_QP_MAX_QP_RD_ATOMIC
                  : uint32_t{VRDMA_QP_SQ_PSN}};
    for (uint32_t step = 0; step < 3; ++step) {
        a.state = VRDMA_QPS_INIT + step;
        request.mask = VRDMA_QP_STATE | masks[step];
        const Answer answer = device.call(VRDMA_CMD_MODIFY_QP, request);
        if (!answer.ok()) {
            why = answer.reason;
            return false;
        }
    }
    return true;
}

void Tenant::post_send(QueuePair& qp, const vrdma_send_wqe& wqe) {
    std::memcpy(qp.send_ring + size_t{qp.sends & (qp.entries - 1)} * qp.send_stride, &wqe,
                sizeof wqe);
    store(qp.header->sq_producer, ++qp.sends);
    doorbell.ring(qp.doorbell);
}

void Tenant::post_receive(QueuePair& qp, uint64_t wr_id, const vrdma_sge* sge) {
    std::byte* entry = qp.receive_ring + size_t{qp.receives & (qp.entries - 1)} * qp.receive_stride;
    vrdma_recv_wqe wqe{};
    wqe.wr_id = wr_id;
    wqe.sge_count = sge == nullptr ? 0 : 1;
    std::memcpy(entry, &wqe, sizeof wqe);
    if (sge != nullptr) {
        std::memcpy(entry + sizeof wqe, sge, sizeof *sge);
    }
    store(qp.header->rq_producer, ++qp.receives);
}

}  // namespace vrdma::hostile
