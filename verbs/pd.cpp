// A protection domain is a handle of the device and nothing else.
#include "verbs/pd.h"

#include <cerrno>
#include <new>

#include "verbs/context.h"

namespace vrdma::verbs {

ibv_pd* alloc_pd(ibv_context* ibv) {
    Context& context = Context::of(ibv);
    auto* pd = new (std::nothrow) ibv_pd{};
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
    pd->context = ibv;
    pd->handle = allocated->handle;
    return pd;
}

int dealloc_pd(ibv_pd* pd) {
    Context& context = Context::of(pd->context);
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    const vrdma_handle handle{.handle = pd->handle, .reserved = 0};
    const auto deallocated = driver::run_command(*context.channel, VRDMA_CMD_DEALLOC_PD, handle);
    if (!deallocated && !context.channel->dead()) {
        return fail(context, "dealloc_pd", deallocated.error());
    }
    delete pd;
    return 0;
}

}  // namespace vrdma::verbs
