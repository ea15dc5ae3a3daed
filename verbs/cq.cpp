// Creating, resizing, arming and destroying completion queues.
//
// Size: the ring has the next power of two of what was asked for, every entry of it is usable, and
// that number is what ibv_cq.cqe tells.
//
// Events: arming stores a new value in the shared header and fences; the device sends one event for
// each value it acts on. A completion that is there already when the program arms is an event too,
// which we make: HCAs do it, and UCX does not poll between arming and going to sleep. A request for
// the next completion outranks one for the next solicited completion (IBA 11.4.2.2), so arming for
// solicited ones while "next" has not been answered keeps "next".
//
// Destroying waits until the program has acknowledged every event it has read, as a kernel's device
// does: libibverbs follows the event's pointer to us after its read. How many events there were is
// told by the device in the header, which counts what it sent, including one that another thread
// has just read and not yet reported.
#include "verbs/cq.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <mutex>
#include <new>

#include "verbs/context.h"
#include "verbs/dead_device.h"
#include "verbs/log.h"
#include "verbs/pd.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

struct CqRequest {
    std::int64_t cqe = 0;
    ibv_comp_channel* channel = nullptr;
    std::int64_t comp_vector = 0;
    bool single_threaded = false;
    bool timestamps = false;
    Pd* parent_domain = nullptr;
};

constexpr std::size_t kRingOffset = sizeof(vrdma_cq_header);

// Under the lock: there is a completion that an arm of this type is about, and that the program may
// never look for. One that arms between its event and its first poll does look: a second event
// would find nothing, which perftest does not bear.
bool has_unread(const Cq& cq, std::uint32_t type) {
    if (cq.channel == nullptr || !cq.polled.load(std::memory_order_relaxed)) {
        return false;
    }
    for (std::uint32_t index = cq.consumer; index - cq.consumer < cq.entries(); ++index) {
        const vrdma_cqe* cqe = cq.entry(index);
        if (cqe == nullptr) {
            return false;
        }
        if (type == VRDMA_ARM_NEXT || (cqe->flags & VRDMA_CQE_SOLICITED) != 0 ||
            cqe->status != VRDMA_WC_SUCCESS) {
            return true;
        }
    }
    return false;
}

std::size_t block_bytes(std::uint32_t entries, bool timestamps) {
    const std::size_t entry = sizeof(vrdma_cqe) + (timestamps ? sizeof(std::uint64_t) : 0);
    return kRingOffset + entries * entry;
}

// 0 when the size is impossible.
std::uint32_t ring_entries(const Context& context, std::int64_t cqe) {
    if (cqe < 1 || cqe > std::int64_t{context.limits().max_cq_entries}) {
        return 0;
    }
    return std::bit_ceil(static_cast<std::uint32_t>(cqe));
}

void use_block(Cq& cq, const driver::QueueBlock& block, std::uint32_t entries, bool timestamps) {
    cq.block = block;
    cq.header = block.at<vrdma_cq_header>(0);
    cq.ring = block.at<vrdma_cqe>(kRingOffset);
    cq.timestamps = timestamps ? block.at<std::uint64_t>(block_bytes(entries, false)) : nullptr;
    cq.mask = entries - 1;
    cq.base.cq.cqe = static_cast<int>(entries);
}

Cq* refuse(int error, const char* reason) {
    fail("create_cq", error, reason);
    return nullptr;
}

// nullptr and errno.
Cq* create(Context& context, const CqRequest& request) {
    if (context.abandoned) {
        return refuse(EIO, "a child after fork cannot use its parent's device");
    }
    const std::uint32_t entries = ring_entries(context, request.cqe);
    if (entries == 0) {
        return refuse(EINVAL, "cqe must be at least 1 and at most max_cqe");
    }
    if (request.comp_vector < 0 || request.comp_vector >= context.ibv->num_comp_vectors) {
        return refuse(EINVAL, "comp_vector must be below num_comp_vectors");
    }
    std::unique_ptr<Cq> cq(new (std::nothrow) Cq);
    if (cq == nullptr) {
        return refuse(ENOMEM, "out of memory");
    }
    const auto block = context.queues.allocate(block_bytes(entries, request.timestamps));
    if (!block) {
        fail(context, "create_cq", block.error());
        return nullptr;
    }
    cq->context = &context;
    cq->single_threaded = request.single_threaded;
    use_block(*cq, *block, entries, request.timestamps);
    if (request.channel != nullptr) {
        cq->channel = context.channels.attach(request.channel->fd);
        if (cq->channel == nullptr) {
            context.queues.free(*block);
            return refuse(EINVAL, "the completion channel is not of this context");
        }
    }
    vrdma_cmd_create_cq body{};
    body.memory = block->location;
    body.entries = entries;
    body.channel = cq->channel == nullptr ? VRDMA_NO_HANDLE : cq->channel->handle;
    body.cookie = reinterpret_cast<std::uintptr_t>(&cq->base.cq);
    body.completion_vector = static_cast<std::uint32_t>(request.comp_vector);
    body.flags = request.timestamps ? std::uint32_t{VRDMA_CQ_TIMESTAMPS} : 0U;
    const auto created =
        driver::query_command<vrdma_handle>(*context.channel, VRDMA_CMD_CREATE_CQ, body);
    if (!created) {
        if (cq->channel != nullptr) {
            [[maybe_unused]] const auto taken = context.channels.detach(*cq->channel, &cq->base.cq);
        }
        context.queues.free(*block);
        fail(context, "create_cq", created.error());
        return nullptr;
    }
    cq->handle = created->handle;
    cq->base.cq.handle = created->handle;
    cq->parent_domain = request.parent_domain;
    if (cq->parent_domain != nullptr) {
        cq->parent_domain->add_user();
    }
    context.events.add(AsyncEvents::Kind::cq, &cq->base.cq, cq->async_events);
    return cq.release();
}

// Events sent and neither taken back nor acknowledged are with the program.
void wait_until_acknowledged(Cq& cq, std::uint32_t taken_back) {
    const std::uint32_t sent = std::atomic_ref(cq.header->events).load(std::memory_order_acquire) +
                               cq.events_of_ours - taken_back;
    const std::uint32_t received = cq.events_received.load(std::memory_order_acquire);
    const bool sender_knows_of_more = static_cast<std::int32_t>(sent - received) > 0;
    ibv_cq& base = cq.base.cq;
    wait_for_acknowledgement(base.mutex, base.cond, base.comp_events_completed,
                             sender_knows_of_more ? sent : received);
    wait_for_acknowledgement(base.mutex, base.cond, base.async_events_completed,
                             cq.async_events.sent);
}

}  // namespace

ibv_cq* create_cq(ibv_context* context, int cqe, ibv_comp_channel* channel, int comp_vector) {
    Cq* cq =
        create(Context::of(context), {.cqe = cqe, .channel = channel, .comp_vector = comp_vector});
    return cq == nullptr ? nullptr : &cq->base.cq;
}

ibv_cq_ex* create_cq_ex(ibv_context* ibv, ibv_cq_init_attr_ex* attr) {
    constexpr std::uint32_t kMask = IBV_CQ_INIT_ATTR_MASK_FLAGS | IBV_CQ_INIT_ATTR_MASK_PD;
    constexpr std::uint64_t kTimestamps =
        IBV_WC_EX_WITH_COMPLETION_TIMESTAMP | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK;
    constexpr std::uint64_t kWcFlags = IBV_WC_STANDARD_FLAGS | kTimestamps;
    Context& context = Context::of(ibv);
    const auto given = [attr](std::uint32_t bit) { return (attr->comp_mask & bit) != 0; };
    const std::uint32_t flags = given(IBV_CQ_INIT_ATTR_MASK_FLAGS) ? attr->flags : 0;
    if ((attr->comp_mask & ~kMask) != 0 ||
        (flags & ~std::uint32_t{IBV_CREATE_CQ_ATTR_SINGLE_THREADED}) != 0 ||
        (attr->wc_flags & ~kWcFlags) != 0) {
        refuse(EOPNOTSUPP,
               "wc_flags: the standard ones and time stamps; flags: SINGLE_THREADED; "
               "comp_mask: FLAGS and PD");
        return nullptr;
    }
    const bool timestamps = (attr->wc_flags & kTimestamps) != 0;
    if (timestamps && (context.channel->info().features & VRDMA_FEATURE_TIMESTAMPS) == 0) {
        refuse(EOPNOTSUPP, "the service is older than time stamps");
        return nullptr;
    }
    Pd* parent = nullptr;
    if (given(IBV_CQ_INIT_ATTR_MASK_PD)) {
        if (attr->parent_domain == nullptr || attr->parent_domain->context != ibv ||
            !Pd::of(attr->parent_domain)->is_parent()) {
            refuse(EINVAL, "parent_domain must be a parent domain of this context");
            return nullptr;
        }
        parent = Pd::of(attr->parent_domain);
    }
    Cq* cq = create(
        context, {.cqe = attr->cqe,
                  .channel = attr->channel,
                  .comp_vector = attr->comp_vector,
                  .single_threaded = flags != 0 || (parent != nullptr && parent->single_threaded()),
                  .timestamps = timestamps,
                  .parent_domain = parent});
    if (cq == nullptr) {
        return nullptr;
    }
    set_poll_functions(cq->base.cq_ex, attr->wc_flags);
    return &cq->base.cq_ex;
}

int resize_cq(ibv_cq* ibcq, int cqe) {
    Cq& cq = *Cq::of(ibcq);
    Context& context = *cq.context;
    const std::uint32_t entries = ring_entries(context, cqe);
    if (entries == 0) {
        return fail("resize_cq", EINVAL, "cqe must be at least 1 and at most max_cqe");
    }
    if (context.abandoned) {
        return EIO;
    }
    const bool timestamps = cq.timestamps != nullptr;
    const auto block = context.queues.allocate(block_bytes(entries, timestamps));
    if (!block) {
        return fail(context, "resize_cq", block.error());
    }
    driver::QueueBlock unused = *block;
    int result = 0;
    {
        // Nobody may poll while entries move: this command is sent with the lock held.
        const CqGuard guard(cq);
        auto* header = block->at<vrdma_cq_header>(0);
        header->consumer = cq.consumer;
        header->arm = std::atomic_ref(cq.header->arm).load(std::memory_order_relaxed);
        header->events = std::atomic_ref(cq.header->events).load(std::memory_order_relaxed);
        vrdma_cmd_resize_cq body{};
        body.handle = cq.handle;
        body.entries = entries;
        body.memory = block->location;
        const auto resized = driver::run_command(*context.channel, VRDMA_CMD_RESIZE_CQ, body);
        if (resized) {
            unused = cq.block;
            use_block(cq, *block, entries, timestamps);
        } else {
            result = fail(context, "resize_cq", resized.error());
        }
    }
    context.queues.free(unused);
    return result;
}

int destroy_cq(ibv_cq* ibcq) {
    Cq* cq = Cq::of(ibcq);
    Context& context = *cq->context;
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    if (cq->users != 0) {
        return fail("destroy_cq", EBUSY, "a queue pair still uses it");
    }
    const vrdma_handle handle{.handle = cq->handle, .reserved = 0};
    const auto destroyed = driver::run_command(*context.channel, VRDMA_CMD_DESTROY_CQ, handle);
    if (!destroyed && !context.channel->dead()) {
        return fail(context, "destroy_cq", destroyed.error());
    }
    std::uint32_t taken_back = 0;
    context.events.remove(&cq->base.cq);
    if (cq->channel != nullptr) {
        taken_back = context.channels.detach(*cq->channel, &cq->base.cq);
    }
    wait_until_acknowledged(*cq, taken_back);
    context.queues.free(cq->block);
    if (cq->parent_domain != nullptr) {
        cq->parent_domain->remove_user();
    }
    delete cq;
    return 0;
}

int req_notify_cq(ibv_cq* ibcq, int solicited_only) {
    Cq& cq = *Cq::of(ibcq);
    bool event_is_due = false;
    {
        const CqGuard guard(cq);
        std::uint32_t type = VRDMA_ARM_SOLICITED;
        if (solicited_only == 0 || cq.waits_for_next.load(std::memory_order_relaxed)) {
            type = VRDMA_ARM_NEXT;
            cq.waits_for_next.store(true, std::memory_order_relaxed);
        }
        event_is_due = has_unread(cq, type);
        if (!event_is_due) {
            ++cq.arms;
            std::atomic_ref(cq.header->arm)
                .store(cq.arms << VRDMA_ARM_COUNT_SHIFT | type, std::memory_order_release);
            // Before our next look (driver/abi/queue.h): either that finds the completion, or the
            // device finds us armed. When both happen there are two events; programs bear that.
            std::atomic_thread_fence(std::memory_order_seq_cst);
            event_is_due = has_unread(cq, type);
        }
    }
    if (cq.context->dead() && !cq.context->abandoned && has_outstanding_requests(cq)) {
        event_is_due = true;
    }
    if (event_is_due && !cq.context->abandoned) {
        const std::lock_guard lock(cq.context->event_mutex);
        cq.context->channels.wake(cq);
    }
    return 0;
}

void cq_event(ibv_cq* ibcq) {
    Cq& cq = *Cq::of(ibcq);
    cq.waits_for_next.store(false, std::memory_order_relaxed);
    cq.polled.store(false, std::memory_order_relaxed);
    cq.events_received.fetch_add(1, std::memory_order_release);
}

void discard_completions_of(Cq& cq, std::uint32_t qpn) {
    const CqGuard guard(cq);
    if (cq.cached_qpn == qpn) {
        cq.cached_qpn = Cq::kNoQpn;
        cq.cached_qp = nullptr;
    }
    std::uint32_t end = cq.consumer;
    while (end - cq.consumer < cq.entries() && cq.entry(end) != nullptr) {
        ++end;
    }
    // From the newest to the oldest: what stays moves up, what goes leaves room at the old end.
    std::uint32_t kept_from = end;
    for (std::uint32_t index = end; index != cq.consumer;) {
        --index;
        const vrdma_cqe& cqe = cq.ring[index & cq.mask];
        if (cqe.qpn == qpn) {
            continue;
        }
        --kept_from;
        if (kept_from != index) {
            vrdma_cqe moved = cqe;
            moved.sequence = kept_from + 1;
            cq.ring[kept_from & cq.mask] = moved;
            if (cq.timestamps != nullptr) {
                cq.timestamps[kept_from & cq.mask] = cq.timestamps[index & cq.mask];
            }
        }
    }
    cq.consumer = kept_from;
    cq.publish_consumer();
}

}  // namespace vrdma::verbs
