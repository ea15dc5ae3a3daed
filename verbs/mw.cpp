// A memory window is a handle of the device; binding and invalidating are entries of a send queue
// (post_send.cpp, send_builder.cpp). The device decides whether a bind is allowed: the completion
// says so. A window of type 1 gets its next key here, with each bind; one of type 2 from the
// program.
#include "verbs/mw.h"

#include <cerrno>
#include <new>

#include "verbs/context.h"
#include "verbs/qp.h"

namespace vrdma::verbs {

bool has_windows(const Context& context) {
    return (context.channel->info().features & VRDMA_FEATURE_MEMORY_WINDOWS) != 0;
}

ibv_mw* alloc_mw(ibv_pd* pd, ibv_mw_type type) {
    static_assert(static_cast<int>(IBV_MW_TYPE_1) == static_cast<int>(VRDMA_MW_TYPE_1) &&
                  static_cast<int>(IBV_MW_TYPE_2) == static_cast<int>(VRDMA_MW_TYPE_2));
    Context& context = Context::of(pd->context);
    const auto refuse = [](int error, const char* reason) -> ibv_mw* {
        fail("alloc_mw", error, reason);
        return nullptr;
    };
    if (!has_windows(context)) {
        return refuse(EOPNOTSUPP, "the service is older than memory windows");
    }
    if (type != IBV_MW_TYPE_1 && type != IBV_MW_TYPE_2) {
        return refuse(EINVAL, "type must be IBV_MW_TYPE_1 or IBV_MW_TYPE_2");
    }
    if (context.abandoned) {
        return refuse(EIO, "a child after fork cannot use its parent's device");
    }
    auto* mw = new (std::nothrow) ibv_mw{};
    if (mw == nullptr) {
        return refuse(ENOMEM, "out of memory");
    }
    const vrdma_cmd_alloc_mw body{.pd = pd->handle, .type = static_cast<std::uint32_t>(type)};
    const auto made =
        driver::query_command<vrdma_rsp_alloc_mw>(*context.channel, VRDMA_CMD_ALLOC_MW, body);
    if (!made) {
        delete mw;
        fail(context, "alloc_mw", made.error());
        return nullptr;
    }
    mw->context = pd->context;
    mw->pd = pd;
    mw->rkey = made->rkey;
    mw->handle = made->handle;
    mw->type = type;
    return mw;
}

int dealloc_mw(ibv_mw* mw) {
    Context& context = Context::of(mw->context);
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    const vrdma_handle handle{.handle = mw->handle, .reserved = 0};
    const auto done = driver::run_command(*context.channel, VRDMA_CMD_DEALLOC_MW, handle);
    if (!done && !context.channel->dead()) {
        return fail(context, "dealloc_mw", done.error());
    }
    delete mw;
    return 0;
}

int bind_mw(ibv_qp* qp, ibv_mw* mw, ibv_mw_bind* bind) {
    const std::uint32_t key = ibv_inc_rkey(mw->rkey);
    const int error = post_bind(*Qp::of(qp), *mw, key, *bind);
    if (error == 0) {
        mw->rkey = key;
    }
    return error;
}

}  // namespace vrdma::verbs
