// Creating, asking and destroying queue pairs.
//
// Sizes: each ring has the next power of two of the entries asked for. The slots of a send ring are
// whole cache lines, so there is usually room for more than was asked; what fits is what the
// program is told and what the device is told (a slot for one SGE also holds two, or 32 bytes of
// inline data). Anything above the device's limits is EINVAL: programs find the limits by trying.
//
// A queue pair is in three places: the list and the table of its context, and at the device. It
// enters the table before the program knows its number and leaves after its last completion was
// removed from the CQs, so that polling never meets a number without a queue pair.
#include "verbs/qp.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <mutex>
#include <new>

#include "verbs/address.h"
#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/log.h"
#include "verbs/mcast.h"
#include "verbs/mw.h"
#include "verbs/pd.h"
#include "verbs/xrc.h"

namespace vrdma::verbs {
namespace {

constexpr std::uint32_t opcode_bit(ibv_wr_opcode opcode) {
    return 1U << static_cast<unsigned>(opcode);
}
constexpr std::uint32_t kOpcodesUd = opcode_bit(IBV_WR_SEND) | opcode_bit(IBV_WR_SEND_WITH_IMM);
constexpr std::uint32_t kOpcodesUc =
    kOpcodesUd | opcode_bit(IBV_WR_RDMA_WRITE) | opcode_bit(IBV_WR_RDMA_WRITE_WITH_IMM);
constexpr std::uint32_t kOpcodesRc = kOpcodesUc | opcode_bit(IBV_WR_RDMA_READ) |
                                     opcode_bit(IBV_WR_ATOMIC_CMP_AND_SWP) |
                                     opcode_bit(IBV_WR_ATOMIC_FETCH_AND_ADD);

constexpr std::uint32_t kLocalOpcodes = opcode_bit(IBV_WR_BIND_MW) | opcode_bit(IBV_WR_LOCAL_INV);

std::uint32_t opcodes_of(const Context& context, ibv_qp_type type) {
    if (type == IBV_QPT_UD) {
        return kOpcodesUd;
    }
    const std::uint32_t windows = has_windows(context) ? kLocalOpcodes : 0;
    if (type == IBV_QPT_UC) {
        return kOpcodesUc | windows;
    }
    if (type == IBV_QPT_XRC_SEND) {
        return kOpcodesRc;  // its requests are answered by targets, which bind no windows
    }
    return kOpcodesRc | windows | (windows != 0 ? opcode_bit(IBV_WR_SEND_WITH_INV) : 0);
}

// nullptr when the attributes are possible on this device.
const char* check(const Context& context, const ibv_qp_init_attr& attr) {
    const vrdma_device_limits& limits = context.limits();
    const ibv_qp_cap& cap = attr.cap;
    const auto of_context = [&context](const ibv_cq* cq) {
        return cq != nullptr && cq->context == context.ibv;
    };
    if (!of_context(attr.send_cq) ||
        (attr.qp_type != IBV_QPT_XRC_SEND && !of_context(attr.recv_cq))) {
        return "send_cq and recv_cq must be CQs of this context";
    }
    if (attr.srq != nullptr && attr.srq->context != context.ibv) {
        return "the SRQ must be of this context";
    }
    if (cap.max_send_wr > limits.max_queue_entries ||
        (attr.srq == nullptr && cap.max_recv_wr > limits.max_queue_entries)) {
        return "max_send_wr and max_recv_wr must be at most max_qp_wr";
    }
    if (cap.max_send_sge > limits.max_sge ||
        (attr.srq == nullptr && cap.max_recv_sge > limits.max_sge)) {
        return "max_send_sge and max_recv_sge must be at most max_sge";
    }
    if (cap.max_inline_data > limits.max_inline) {
        return "max_inline_data is more than this device takes";
    }
    return nullptr;
}

// Sizes the rings and tells the program what it got.
void size_queues(const Context& context, const ibv_qp_init_attr& attr, Qp& qp) {
    const vrdma_device_limits& limits = context.limits();
    SendQueue& sq = qp.sq;
    sq.is_ud = attr.qp_type == IBV_QPT_UD;
    sq.is_xrc = attr.qp_type == IBV_QPT_XRC_SEND;
    const bool long_entries = sq.is_ud || sq.is_xrc;
    sq.data_offset = long_entries ? VRDMA_WQE_DATA_OFFSET_UD : VRDMA_WQE_DATA_OFFSET;
    sq.opcodes = opcodes_of(context, attr.qp_type);
    if (attr.cap.max_send_wr > 0) {
        sq.entries = std::bit_ceil(attr.cap.max_send_wr);
        sq.stride = vrdma_send_stride(long_entries ? 1 : 0, attr.cap.max_send_sge,
                                      attr.cap.max_inline_data);
        const std::uint32_t data_bytes = sq.stride - sq.data_offset;
        sq.max_sge = std::min(limits.max_sge, data_bytes / std::uint32_t{sizeof(vrdma_sge)});
        sq.max_inline = std::min(limits.max_inline, data_bytes);
    }
    ReceiveQueue& rq = qp.rq;
    if (attr.srq == nullptr && attr.cap.max_recv_wr > 0) {
        rq.entries = std::bit_ceil(attr.cap.max_recv_wr);
        rq.stride = vrdma_recv_stride(attr.cap.max_recv_sge);
        rq.max_sge = std::min(limits.max_sge, (rq.stride - std::uint32_t{sizeof(vrdma_recv_wqe)}) /
                                                  std::uint32_t{sizeof(vrdma_sge)});
    }
    qp.cap = {.max_send_wr = sq.entries,
              .max_recv_wr = rq.entries,
              .max_send_sge = sq.max_sge,
              .max_recv_sge = rq.max_sge,
              .max_inline_data = sq.max_inline};
}

// Where the rings lie in the block (driver/abi/queue.h).
struct QpLayout {
    std::size_t send_ring = sizeof(vrdma_qp_header);
    std::size_t receive_ring = 0;
    std::size_t bytes = 0;
};

QpLayout layout_of(const Qp& qp) {
    QpLayout layout;
    layout.receive_ring = layout.send_ring + std::size_t{qp.sq.entries} * qp.sq.stride;
    layout.bytes = layout.receive_ring + std::size_t{qp.rq.entries} * qp.rq.stride;
    return layout;
}

void use_block(Qp& qp, const driver::QueueBlock& block) {
    const QpLayout layout = layout_of(qp);
    qp.block = block;
    qp.header = block.at<vrdma_qp_header>(0);
    qp.sq.ring = block.at<std::byte>(layout.send_ring);
    qp.sq.producer = &qp.header->sq_producer;
    qp.rq.ring = block.at<std::byte>(layout.receive_ring);
    qp.rq.producer = &qp.header->rq_producer;
}

// What ibv_cmd_create_qp does for the provider of a kernel's device.
void init_base(Qp& qp, ibv_pd* pd, const ibv_qp_init_attr& attr,
               const vrdma_rsp_create_qp& created) {
    ibv_qp& base = qp.base.qp;
    base.context = pd->context;
    base.qp_context = attr.qp_context;
    base.pd = pd;
    base.send_cq = attr.send_cq;
    base.recv_cq = attr.recv_cq;
    base.srq = attr.srq;
    base.handle = created.handle;
    base.qp_num = created.qpn;
    base.state = IBV_QPS_RESET;
    base.qp_type = attr.qp_type;
    base.events_completed = 0;
    pthread_mutex_init(&base.mutex, nullptr);
    pthread_cond_init(&base.cond, nullptr);
}

tl::expected<vrdma_rsp_create_qp, driver::CommandError> create_at_device(
    Context& context, const ibv_pd* pd, const ibv_qp_init_attr& attr, const Qp& qp) {
    vrdma_cmd_create_qp body{};
    body.memory = qp.block.location;
    body.pd = pd->handle;
    body.type = static_cast<std::uint32_t>(attr.qp_type);
    body.send_cq = qp.send_cq->handle;
    body.recv_cq = qp.recv_cq == nullptr ? VRDMA_NO_HANDLE : qp.recv_cq->handle;
    body.srq = attr.srq == nullptr ? VRDMA_NO_HANDLE : attr.srq->handle;
    body.sq_entries = qp.sq.entries;
    body.rq_entries = qp.rq.entries;
    body.max_send_sge = qp.sq.max_sge;
    body.max_recv_sge = qp.rq.max_sge;
    body.max_inline = qp.sq.max_inline;
    body.flags = (qp.signal_all ? std::uint32_t{VRDMA_QP_SIGNAL_ALL} : 0U) |
                 (qp.block_loopback ? std::uint32_t{VRDMA_QP_BLOCK_MCAST_LOOPBACK} : 0U);
    body.cookie = reinterpret_cast<std::uintptr_t>(&qp.base.qp);
    return driver::query_command<vrdma_rsp_create_qp>(*context.channel, VRDMA_CMD_CREATE_QP, body);
}

void add_to_list(Context& context, Qp& qp) {
    const std::lock_guard lock(context.qp_list_lock);
    qp.next = context.qp_list;
    context.qp_list = &qp;
}

void remove_from_list(Context& context, const Qp& qp) {
    const std::lock_guard lock(context.qp_list_lock);
    Qp** link = &context.qp_list;
    while (*link != nullptr && *link != &qp) {
        link = &(*link)->next;
    }
    if (*link != nullptr) {
        *link = qp.next;
    }
}

Qp* refuse(int error, const char* reason) {
    fail("create_qp", error, reason);
    return nullptr;
}

// nullptr and errno. attr.cap is what the program is told it got.
Qp* create(ibv_pd* pd, ibv_qp_init_attr& attr, bool block_loopback = false) {
    Context& context = Context::of(pd->context);
    if (attr.qp_type == IBV_QPT_XRC_RECV && has_xrc(context)) {
        return refuse(EINVAL, "a target is made in an XRC domain, by ibv_create_qp_ex");
    }
    const bool initiator = attr.qp_type == IBV_QPT_XRC_SEND && has_xrc(context);
    if (attr.qp_type != IBV_QPT_RC && attr.qp_type != IBV_QPT_UC && attr.qp_type != IBV_QPT_UD &&
        !initiator) {
        return refuse(EOPNOTSUPP, "only RC, UC, UD and XRC queue pairs are supported");
    }
    if (initiator) {  // it receives nothing, whatever the program says
        attr.recv_cq = nullptr;
        attr.srq = nullptr;
        attr.cap.max_recv_wr = 0;
        attr.cap.max_recv_sge = 0;
    }
    if (context.abandoned) {
        return refuse(EIO, "a child after fork cannot use its parent's device");
    }
    const char* reason = check(context, attr);
    if (reason != nullptr) {
        return refuse(EINVAL, reason);
    }
    std::unique_ptr<Qp> qp(new (std::nothrow) Qp);
    if (qp == nullptr) {
        return refuse(ENOMEM, "out of memory");
    }
    qp->context = &context;
    qp->doorbell = context.doorbell;
    qp->send_cq = Cq::of(attr.send_cq);
    qp->recv_cq = initiator ? nullptr : Cq::of(attr.recv_cq);
    qp->signal_all = attr.sq_sig_all != 0;
    qp->block_loopback = block_loopback;
    size_queues(context, attr, *qp);
    if (Pd::of(pd)->single_threaded()) {
        qp->sq.lock.set_single_threaded();
        qp->rq.lock.set_single_threaded();
    }
    const auto block = context.queues.allocate(layout_of(*qp).bytes);
    if (!block) {
        fail(context, "create_qp", block.error());
        return nullptr;
    }
    use_block(*qp, *block);
    const std::lock_guard lock(context.qp_mutex);
    const auto created = create_at_device(context, pd, attr, *qp);
    if (!created) {
        context.queues.free(*block);
        fail(context, "create_qp", created.error());
        return nullptr;
    }
    if (created->doorbell >= VRDMA_MAX_QPS_PER_CONTEXT ||
        !context.qp_table.insert(created->qpn, qp.get())) {
        context.channel->mark_dead();
        context.device_lost();
        context.queues.free(*block);
        return refuse(EIO, "the device answered CREATE_QP against the contract");
    }
    qp->doorbell_index = created->doorbell;
    init_base(*qp, pd, attr, *created);
    attr.cap = qp->cap;
    ++qp->send_cq->users;
    if (qp->recv_cq != nullptr) {
        ++qp->recv_cq->users;
    }
    Pd::of(pd)->add_user();
    add_to_list(context, *qp);
    context.events.add(AsyncEvents::Kind::qp, &qp->base.qp, qp->async_events);
    return qp.release();
}

}  // namespace

ibv_qp* create_qp(ibv_pd* pd, ibv_qp_init_attr* attr) {
    ibv_qp_init_attr own = *attr;  // the program may use its own again
    Qp* qp = create(pd, own);
    if (qp == nullptr) {
        return nullptr;
    }
    attr->cap = own.cap;
    return &qp->base.qp;
}

ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attr) {
    if (attr->qp_type == IBV_QPT_XRC_RECV) {
        return create_target(context, attr);
    }
    constexpr std::uint32_t kMask =
        IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS | IBV_QP_INIT_ATTR_CREATE_FLAGS;
    constexpr std::uint64_t kSendOps =
        IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_SEND |
        IBV_QP_EX_WITH_SEND_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ |
        IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP | IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD |
        IBV_QP_EX_WITH_LOCAL_INV | IBV_QP_EX_WITH_BIND_MW | IBV_QP_EX_WITH_SEND_WITH_INV;
    const bool has_send_ops = (attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0;
    const std::uint64_t send_ops = has_send_ops ? attr->send_ops_flags : 0;
    const std::uint32_t create_flags =
        (attr->comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS) != 0 ? attr->create_flags : 0;
    const bool can_block = attr->qp_type == IBV_QPT_UD && has_multicast(Context::of(context));
    const std::uint32_t known_flags =
        can_block ? std::uint32_t{IBV_QP_CREATE_BLOCK_SELF_MCAST_LB} : 0U;
    if ((attr->comp_mask & ~kMask) != 0 || (send_ops & ~kSendOps) != 0 ||
        (create_flags & ~known_flags) != 0) {
        refuse(EOPNOTSUPP, "unknown comp_mask, create_flags or send_ops_flags");
        return nullptr;
    }
    if ((attr->comp_mask & IBV_QP_INIT_ATTR_PD) == 0 || attr->pd == nullptr) {
        refuse(EINVAL, "a protection domain is needed");
        return nullptr;
    }
    // The operations must exist on the type: their bits have the order of kOpcodes*.
    std::uint32_t needed = 0;
    const auto need = [&](std::uint64_t flag, ibv_wr_opcode opcode) {
        needed |= (send_ops & flag) != 0 ? opcode_bit(opcode) : 0U;
    };
    need(IBV_QP_EX_WITH_RDMA_WRITE, IBV_WR_RDMA_WRITE);
    need(IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_WRITE_WITH_IMM);
    need(IBV_QP_EX_WITH_RDMA_READ, IBV_WR_RDMA_READ);
    need(IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP, IBV_WR_ATOMIC_CMP_AND_SWP);
    need(IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_FETCH_AND_ADD);
    need(IBV_QP_EX_WITH_LOCAL_INV, IBV_WR_LOCAL_INV);
    need(IBV_QP_EX_WITH_BIND_MW, IBV_WR_BIND_MW);
    need(IBV_QP_EX_WITH_SEND_WITH_INV, IBV_WR_SEND_WITH_INV);
    if ((needed & ~opcodes_of(Context::of(context), attr->qp_type)) != 0) {
        refuse(EOPNOTSUPP, "send_ops_flags has an operation that the queue pair type lacks");
        return nullptr;
    }
    ibv_qp_init_attr plain{.qp_context = attr->qp_context,
                           .send_cq = attr->send_cq,
                           .recv_cq = attr->recv_cq,
                           .srq = attr->srq,
                           .cap = attr->cap,
                           .qp_type = attr->qp_type,
                           .sq_sig_all = attr->sq_sig_all};
    Qp* qp = create(attr->pd, plain, create_flags != 0);
    if (qp == nullptr) {
        return nullptr;
    }
    attr->cap = plain.cap;
    if (has_send_ops) {
        set_builder_functions(qp->base.qp_ex);
        verbs_abi::mark_extended(qp->base);
    }
    return &qp->base.qp;
}

int query_qp_data_in_order(ibv_qp*, ibv_wr_opcode, std::uint32_t flags) {
    // Ascending stores, the last cache line last, is part of the device's contract
    // (docs/device.md). Later releases ask with flag 1 for a vector of capabilities: bit 0 whole
    // message, bit 1 aligned blocks of 128 bytes. Without it the answer is the first one.
    constexpr std::uint32_t kReturnCaps = 1U << 0U;
    constexpr int kWholeMessage = 1 << 0;
    constexpr int kAligned128 = 1 << 1;
    if ((flags & kReturnCaps) != 0) {
        return kWholeMessage | kAligned128;
    }
    return kWholeMessage;
}

void discard_completions(Qp& qp) {
    discard_completions_of(*qp.send_cq, qp.base.qp.qp_num);
    if (qp.recv_cq != nullptr && qp.recv_cq != qp.send_cq) {
        discard_completions_of(*qp.recv_cq, qp.base.qp.qp_num);
    }
}

int destroy_qp(ibv_qp* ibqp) {
    Qp* qp = Qp::of(ibqp);
    Context& context = *qp->context;
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    if (ibqp->qp_type == IBV_QPT_XRC_RECV) {
        return destroy_target(*qp);
    }
    {
        const std::lock_guard lock(context.qp_mutex);
        const vrdma_handle handle{.handle = ibqp->handle, .reserved = 0};
        const auto destroyed = driver::run_command(*context.channel, VRDMA_CMD_DESTROY_QP, handle);
        if (!destroyed && !context.channel->dead()) {
            return fail(context, "destroy_qp", destroyed.error());
        }
        remove_from_list(context, *qp);
        discard_completions(*qp);
        context.qp_table.remove(ibqp->qp_num);
    }
    --qp->send_cq->users;
    if (qp->recv_cq != nullptr) {
        --qp->recv_cq->users;
    }
    context.events.remove(ibqp);
    wait_for_acknowledgement(ibqp->mutex, ibqp->cond, ibqp->events_completed,
                             qp->async_events.sent);
    context.queues.free(qp->block);
    pthread_cond_destroy(&ibqp->cond);
    pthread_mutex_destroy(&ibqp->mutex);
    Pd::of(ibqp->pd)->remove_user();
    delete qp;
    return 0;
}

}  // namespace vrdma::verbs
