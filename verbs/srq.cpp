// Shared receive queues. The device takes entries in the order they were posted and says in the
// shared header how many, so a slot is free as soon as its entry is taken, before its completion is
// polled: the device has copied the entry by then.
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
#include "verbs/pd.h"

namespace vrdma::verbs {
namespace {

ibv_srq* refuse(int error, const char* reason) {
    fail("create_srq", error, reason);
    return nullptr;
}

}  // namespace

ibv_srq* create_srq(ibv_pd* pd, ibv_srq_init_attr* attr) {
    Context& context = Context::of(pd->context);
    const vrdma_device_limits& limits = context.limits();
    if (context.abandoned) {
        return refuse(EIO, "a child after fork cannot use its parent's device");
    }
    if (attr->attr.max_wr < 1 || attr->attr.max_wr > limits.max_queue_entries) {
        return refuse(EINVAL, "max_wr must be at least 1 and at most max_srq_wr");
    }
    if (attr->attr.max_sge > limits.max_sge) {
        return refuse(EINVAL, "max_sge must be at most max_srq_sge");
    }
    std::unique_ptr<Srq> srq(new (std::nothrow) Srq);
    if (srq == nullptr) {
        return refuse(ENOMEM, "out of memory");
    }
    srq->context = &context;
    srq->pd = Pd::of(pd);
    if (srq->pd->single_threaded()) {
        srq->lock.set_single_threaded();
    }
    srq->entries = std::bit_ceil(attr->attr.max_wr);
    srq->stride = vrdma_recv_stride(attr->attr.max_sge);
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
    body.pd = pd->handle;
    body.entries = srq->entries;
    body.max_sge = srq->max_sge;
    body.limit = attr->attr.srq_limit;
    body.cookie = reinterpret_cast<std::uintptr_t>(&srq->base.srq);
    const auto created =
        driver::query_command<vrdma_handle>(*context.channel, VRDMA_CMD_CREATE_SRQ, body);
    if (!created) {
        context.queues.free(*block);
        fail(context, "create_srq", created.error());
        return nullptr;
    }
    srq->handle = created->handle;
    srq->base.srq.handle = created->handle;
    srq->base.srq_type = IBV_SRQT_BASIC;
    attr->attr.max_wr = srq->entries;
    attr->attr.max_sge = srq->max_sge;
    srq->pd->add_user();
    context.events.add(AsyncEvents::Kind::srq, &srq->base.srq, srq->async_events);
    return &srq.release()->base.srq;
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
