// A protection domain is a handle of the device and nothing else. A parent domain is the same
// handle with a thread domain beside it: what is made in it belongs to the protection domain at the
// device, and takes no lock here. Queues lie in memory that the device shares with us, so a parent
// domain with allocators of the program's own is refused.
#include "verbs/pd.h"

#include <cerrno>
#include <new>

#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

ibv_pd* refuse(int error, const char* reason) {
    fail("alloc_parent_domain", error, reason);
    return nullptr;
}

int dealloc_parent_domain(Pd* pd) {
    if (pd->users != 0) {
        return fail("dealloc_pd", EBUSY, "the parent domain still has QPs, SRQs or CQs");
    }
    --pd->protection->users;
    if (pd->td != nullptr) {
        --pd->td->users;
    }
    delete pd;
    return 0;
}

}  // namespace

ibv_pd* alloc_pd(ibv_context* ibv) {
    Context& context = Context::of(ibv);
    auto* pd = new (std::nothrow) Pd;
    if (pd == nullptr) {
        fail("alloc_pd", ENOMEM, "out of memory");
        return nullptr;
    }
    const auto allocated =
        driver::query_command<vrdma_handle>(*context.channel, VRDMA_CMD_ALLOC_PD);
    if (!allocated) {
        delete pd;
        fail(context, "alloc_pd", allocated.error());
        return nullptr;
    }
    pd->base.context = ibv;
    pd->base.handle = allocated->handle;
    return &pd->base;
}

int dealloc_pd(ibv_pd* ibpd) {
    Pd* pd = Pd::of(ibpd);
    Context& context = Context::of(ibpd->context);
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    if (pd->is_parent()) {
        return dealloc_parent_domain(pd);
    }
    if (pd->users != 0) {
        return fail("dealloc_pd", EBUSY, "the protection domain still has parent domains");
    }
    const vrdma_handle handle{.handle = ibpd->handle, .reserved = 0};
    const auto deallocated = driver::run_command(*context.channel, VRDMA_CMD_DEALLOC_PD, handle);
    if (!deallocated && !context.channel->dead()) {
        return fail(context, "dealloc_pd", deallocated.error());
    }
    delete pd;
    return 0;
}

ibv_pd* alloc_parent_domain(ibv_context* ibv, ibv_parent_domain_init_attr* attr) {
    // A context for allocators says nothing without them.
    constexpr std::uint32_t kMask =
        IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS | IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT;
    if (attr->pd == nullptr || attr->pd->context != ibv || Pd::of(attr->pd)->is_parent()) {
        return refuse(EINVAL, "pd must be a protection domain of this context");
    }
    if (attr->td != nullptr && attr->td->context != ibv) {
        return refuse(EINVAL, "td must be a thread domain of this context");
    }
    if ((attr->comp_mask & ~kMask) != 0) {
        return refuse(EINVAL, "unknown comp_mask");
    }
    if ((attr->comp_mask & IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS) != 0) {
        return refuse(EOPNOTSUPP, "queues lie in memory shared with the device: no allocators");
    }
    auto* pd = new (std::nothrow) Pd;
    if (pd == nullptr) {
        return refuse(ENOMEM, "out of memory");
    }
    pd->base.context = ibv;
    pd->base.handle = attr->pd->handle;
    pd->protection = Pd::of(attr->pd);
    ++pd->protection->users;
    if (attr->td != nullptr) {
        pd->td = Td::of(attr->td);
        ++pd->td->users;
    }
    return &pd->base;
}

ibv_td* alloc_td(ibv_context* ibv, ibv_td_init_attr* attr) {
    if (attr->comp_mask != 0) {
        fail("alloc_td", EINVAL, "unknown comp_mask");
        return nullptr;
    }
    auto* td = new (std::nothrow) Td;
    if (td == nullptr) {
        fail("alloc_td", ENOMEM, "out of memory");
        return nullptr;
    }
    td->base.context = ibv;
    return &td->base;
}

int dealloc_td(ibv_td* ibtd) {
    Td* td = Td::of(ibtd);
    if (td->users != 0) {
        return fail("dealloc_td", EBUSY, "parent domains still use the thread domain");
    }
    delete td;
    return 0;
}

}  // namespace vrdma::verbs
