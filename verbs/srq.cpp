// Shared receive queues. The device takes entries in the order they were posted and says in the
// shared header how many, so a slot is free as soon as its entry is taken, before its completion is
// polled: the device has copied the entry by then.
//
// An XRC SRQ is the same with a completion queue and an XRC domain, whose target queue pairs put
// what they receive there (xrc.h).
//
// The limit event is armed by modify_srq and kept by the device; the size cannot be changed.
#include "verbs/srq.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <mutex>
#include <new>

#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/pd.h"
#include "verbs/xrc.h"

namespace vrdma::verbs {
namespace {

template <typename T>
T* refuse(int error, const char* reason) {
    fail("create_srq", error, reason);
    return nullptr;
}

tl::expected<vrdma_rsp_create_xrc_srq, driver::CommandError> create_at_device(
    Context& context, const vrdma_cmd_create_srq& body, const Xrcd* xrcd, const Cq* cq) {
    if (xrcd != nullptr) {
        const vrdma_cmd_create_xrc_srq extended{
            .srq = body, .xrcd = xrcd->base.handle, .cq = cq->handle};
        return driver::query_command<vrdma_rsp_create_xrc_srq>(*context.channel,
                                                               VRDMA_CMD_CREATE_XRC_SRQ, extended);
    }
    return driver::query_command<vrdma_handle>(*context.channel, VRDMA_CMD_CREATE_SRQ, body)
        .map([](const vrdma_handle& made) {
            return vrdma_rsp_create_xrc_srq{.handle = made.handle, .srqn = 0};
        });
}

// nullptr and errno. attr is what the program is told it got. xrcd and cq: of an XRC SRQ.
Srq* create(ibv_pd& pd, ibv_srq_attr& attr, Xrcd* xrcd, Cq* cq) {
    Context& context = Context::of(pd.context);
    const vrdma_device_limits& limits = context.limits();
    if (context.abandoned) {
        return refuse<Srq>(EIO, "a child after fork cannot use its parent's device");
    }
    if (attr.max_wr < 1 || attr.max_wr > limits.max_queue_entries) {
        return refuse<Srq>(EINVAL, "max_wr must be at least 1 and at most max_srq_wr");
    }
    if (attr.max_sge > limits.max_sge) {
        return refuse<Srq>(EINVAL, "max_sge must be at most max_srq_sge");
    }
    std::unique_ptr<Srq> srq(new (std::nothrow) Srq);
    if (srq == nullptr) {
        return refuse<Srq>(ENOMEM, "out of memory");
    }
    srq->context = &context;
    srq->pd = Pd::of(&pd);
    if (srq->pd->single_threaded()) {
        srq->lock.set_single_threaded();
    }
    srq->entries = std::bit_ceil(attr.max_wr);
    srq->stride = vrdma_recv_stride(attr.max_sge);
    const auto sge_bytes = srq->stride - std::uint32_t{sizeof(vrdma_recv_wqe)};
    srq->max_sge = std::min(limits.max_sge, sge_bytes / std::uint32_t{sizeof(vrdma_sge)});
    const auto block =
        context.queues.allocate(sizeof(vrdma_srq_header) + std::size_t{srq->entries} * srq->stride);
    if (!block) {
        fail(context, "create_srq", block.error());
        return nullptr;
    }
    srq->block = *block;
    srq->header = block->at<vrdma_srq_header>(0);
    srq->ring = block->at<std::byte>(sizeof(vrdma_srq_header));
    vrdma_cmd_create_srq body{};
    body.memory = block->location;
    body.pd = pd.handle;
    body.entries = srq->entries;
    body.max_sge = srq->max_sge;
    body.limit = attr.srq_limit;
    body.cookie = reinterpret_cast<std::uintptr_t>(&srq->base.srq);
    const auto created = create_at_device(context, body, xrcd, cq);
    if (!created) {
        context.queues.free(*block);
        fail(context, "create_srq", created.error());
        return nullptr;
    }
    srq->handle = created->handle;
    srq->base.srq.handle = created->handle;
    srq->base.srq_type = xrcd == nullptr ? IBV_SRQT_BASIC : IBV_SRQT_XRC;
    if (xrcd != nullptr) {
        srq->base.xrcd = &xrcd->base;
        srq->base.cq = &cq->base.cq;
        srq->base.srq_num = created->srqn;
        srq->cq = cq;
        ++cq->users;
    }
    attr.max_wr = srq->entries;
    attr.max_sge = srq->max_sge;
    srq->pd->add_user();
    context.events.add(AsyncEvents::Kind::srq, &srq->base.srq, srq->async_events);
    return srq.release();
}

}  // namespace

ibv_srq* create_srq(ibv_pd* pd, ibv_srq_init_attr* attr) {
    Srq* srq = create(*pd, attr->attr, nullptr, nullptr);
    return srq == nullptr ? nullptr : &srq->base.srq;
}

ibv_srq* create_srq_ex(ibv_context* context, ibv_srq_init_attr_ex* attr) {
    constexpr std::uint32_t kMask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD |
                                    IBV_SRQ_INIT_ATTR_XRCD | IBV_SRQ_INIT_ATTR_CQ;
    const auto given = [attr](std::uint32_t bit) { return (attr->comp_mask & bit) != 0; };
    const ibv_srq_type type = given(IBV_SRQ_INIT_ATTR_TYPE) ? attr->srq_type : IBV_SRQT_BASIC;
    if ((attr->comp_mask & ~kMask) != 0 || (type != IBV_SRQT_BASIC && type != IBV_SRQT_XRC)) {
        return refuse<ibv_srq>(EOPNOTSUPP,
                               "unknown comp_mask, or a type that is neither BASIC nor XRC");
    }
    if (!given(IBV_SRQ_INIT_ATTR_PD) || attr->pd == nullptr || attr->pd->context != context) {
        return refuse<ibv_srq>(EINVAL, "pd must be a protection domain of this context");
    }
    const bool xrc = type == IBV_SRQT_XRC;
    if (xrc && (!given(IBV_SRQ_INIT_ATTR_XRCD) || attr->xrcd == nullptr ||
                attr->xrcd->context != context)) {
        return refuse<ibv_srq>(EINVAL, "xrcd must be an XRC domain of this context");
    }
    if (xrc &&
        (!given(IBV_SRQ_INIT_ATTR_CQ) || attr->cq == nullptr || attr->cq->context != context)) {
        return refuse<ibv_srq>(EINVAL, "cq must be a CQ of this context");
    }
    Srq* srq = create(*attr->pd, attr->attr, xrc ? Xrcd::of(attr->xrcd) : nullptr,
                      xrc ? Cq::of(attr->cq) : nullptr);
    if (srq == nullptr) {
        return nullptr;
    }
    // What ibv_create_srq does for an ordinary one.
    ibv_srq& base = srq->base.srq;
    base.context = context;
    base.srq_context = attr->srq_context;
    base.pd = attr->pd;
    base.events_completed = 0;
    pthread_mutex_init(&base.mutex, nullptr);
    pthread_cond_init(&base.cond, nullptr);
    return &base;
}

int get_srq_num(ibv_srq* ibsrq, std::uint32_t* number) {
    const Srq& srq = *Srq::of(ibsrq);
    if (srq.base.srq_type != IBV_SRQT_XRC) {
        return fail("get_srq_num", EOPNOTSUPP, "only XRC SRQs have a number");
    }
    *number = srq.base.srq_num;
    return 0;
}

int modify_srq(ibv_srq* ibsrq, ibv_srq_attr* attr, int mask) {
    Srq& srq = *Srq::of(ibsrq);
    if ((mask & ~IBV_SRQ_LIMIT) != 0) {
        return fail("modify_srq", EOPNOTSUPP, "an SRQ cannot be resized");
    }
    if (mask == 0) {
        return 0;
    }
    if (attr->srq_limit > srq.entries) {
        return fail("modify_srq", EINVAL, "srq_limit must be at most max_wr");
    }
    const vrdma_cmd_modify_srq body{.handle = srq.handle, .limit = attr->srq_limit};
    const auto modified = driver::run_command(*srq.context->channel, VRDMA_CMD_MODIFY_SRQ, body);
    return modified ? 0 : fail(*srq.context, "modify_srq", modified.error());
}

int query_srq(ibv_srq* ibsrq, ibv_srq_attr* attr) {
    Srq& srq = *Srq::of(ibsrq);
    const vrdma_handle handle{.handle = srq.handle, .reserved = 0};
    const auto answer = driver::query_command<vrdma_rsp_query_srq>(*srq.context->channel,
                                                                   VRDMA_CMD_QUERY_SRQ, handle);
    if (!answer) {
        return fail(*srq.context, "query_srq", answer.error());
    }
    *attr = {.max_wr = srq.entries, .max_sge = srq.max_sge, .srq_limit = answer->limit};
    return 0;
}

int destroy_srq(ibv_srq* ibsrq) {
    Srq* srq = Srq::of(ibsrq);
    Context& context = *srq->context;
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    const vrdma_handle handle{.handle = srq->handle, .reserved = 0};
    const auto destroyed = driver::run_command(*context.channel, VRDMA_CMD_DESTROY_SRQ, handle);
    if (!destroyed && !context.channel->dead()) {
        return fail(context, "destroy_srq", destroyed.error());
    }
    context.events.remove(ibsrq);
    wait_for_acknowledgement(ibsrq->mutex, ibsrq->cond, ibsrq->events_completed,
                             srq->async_events.sent);
    context.queues.free(srq->block);
    pthread_cond_destroy(&ibsrq->cond);
    pthread_mutex_destroy(&ibsrq->mutex);
    srq->pd->remove_user();
    if (srq->cq != nullptr) {
        --srq->cq->users;
    }
    delete srq;
    return 0;
}

int post_srq_recv(ibv_srq* ibsrq, ibv_recv_wr* wr, ibv_recv_wr** bad_wr) {
    Srq& srq = *Srq::of(ibsrq);
    const std::lock_guard lock(srq.lock);
    const std::uint32_t taken =
        std::atomic_ref(srq.header->consumer).load(std::memory_order_acquire);
    std::uint32_t head = srq.head;
    int error = 0;
    for (; wr != nullptr; wr = wr->next) {
        if (head - taken >= srq.entries) [[unlikely]] {
            error = ENOMEM;
            break;
        }
        error = write_receive(*wr, srq.max_sge, *srq.slot(head));
        if (error != 0) [[unlikely]] {
            break;
        }
        ++head;
    }
    if (head != srq.head) {
        srq.head = head;
        std::atomic_ref(srq.header->producer).store(head, std::memory_order_release);
    }
    if (error != 0) [[unlikely]] {
        *bad_wr = wr;
    }
    return error;
}

}  // namespace vrdma::verbs
