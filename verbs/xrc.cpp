// A domain and a target queue pair are handles of the device. A target has no queues: nothing is
// posted to it, and what it receives completes in the CQs of its domain's SRQs, so it is not in the
// tables that posting and polling use. Several processes may have handles of one target and change
// its state, which the library therefore asks for.
//
// Errors are those of the kernel's XRC: EAGAIN without O_CREAT when the file has no domain yet,
// EINVAL with O_EXCL when it has one, EBUSY for a domain with SRQs or targets.
#include "verbs/xrc.h"

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <new>

#include "verbs/context.h"
#include "verbs/qp.h"

namespace vrdma::verbs {
namespace {

template <typename T>
T* refuse(const char* verb, int error, const char* reason) {
    fail(verb, error, reason);
    return nullptr;
}

// The handle that the device gives for it, as a queue pair of the library.
ibv_qp* make_target(Context& context, const char* verb, vrdma_command_opcode opcode,
                    vrdma_cmd_xrc_target body, void* qp_context) {
    std::unique_ptr<Qp> qp(new (std::nothrow) Qp);
    if (qp == nullptr) {
        return refuse<ibv_qp>(verb, ENOMEM, "out of memory");
    }
    body.cookie = reinterpret_cast<std::uintptr_t>(&qp->base.qp);
    const auto made = driver::query_command<vrdma_rsp_create_qp>(*context.channel, opcode, body);
    if (!made) {
        fail(context, verb, made.error());
        return nullptr;
    }
    qp->context = &context;
    ibv_qp& base = qp->base.qp;
    base.context = context.ibv;
    base.qp_context = qp_context;
    base.handle = made->handle;
    base.qp_num = made->qpn;
    base.state = opcode == VRDMA_CMD_CREATE_XRC_TARGET ? IBV_QPS_RESET : IBV_QPS_UNKNOWN;
    base.qp_type = IBV_QPT_XRC_RECV;
    pthread_mutex_init(&base.mutex, nullptr);
    pthread_cond_init(&base.cond, nullptr);
    context.events.add(AsyncEvents::Kind::qp, &base, qp->async_events);
    return &qp.release()->base.qp;
}

}  // namespace

bool has_xrc(const Context& context) {
    return (context.channel->info().features & VRDMA_FEATURE_XRC) != 0;
}

ibv_xrcd* open_xrcd(ibv_context* ibv, ibv_xrcd_init_attr* attr) {
    constexpr const char* kVerb = "open_xrcd";
    constexpr std::uint32_t kMask = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS;
    Context& context = Context::of(ibv);
    if (!has_xrc(context)) {
        return refuse<ibv_xrcd>(kVerb, EOPNOTSUPP, "the service is older than XRC");
    }
    if (context.abandoned) {
        return refuse<ibv_xrcd>(kVerb, EIO, "a child after fork cannot use its parent's device");
    }
    if ((attr->comp_mask & ~kMask) != 0) {
        return refuse<ibv_xrcd>(kVerb, EOPNOTSUPP, "unknown comp_mask");
    }
    if (attr->comp_mask != kMask) {
        return refuse<ibv_xrcd>(kVerb, EINVAL, "fd and oflags are needed, fd -1 for no file");
    }
    const auto given = [attr](int flag) { return (attr->oflags & flag) != 0; };
    const bool file = attr->fd != -1;
    if (file && ::fcntl(attr->fd, F_GETFD) < 0) {
        return refuse<ibv_xrcd>(kVerb, EBADF, "fd is no open file");
    }
    vrdma_cmd_open_xrcd body{};
    body.flags = (given(O_CREAT) || !file ? std::uint32_t{VRDMA_XRCD_CREATE} : 0U) |
                 (given(O_EXCL) ? std::uint32_t{VRDMA_XRCD_EXCLUSIVE} : 0U);
    std::unique_ptr<Xrcd> xrcd(new (std::nothrow) Xrcd);
    if (xrcd == nullptr) {
        return refuse<ibv_xrcd>(kVerb, ENOMEM, "out of memory");
    }
    const std::span<const int> fds =
        file ? std::span<const int>(&attr->fd, 1) : std::span<const int>{};
    const auto opened =
        driver::query_command<vrdma_handle>(*context.channel, VRDMA_CMD_OPEN_XRCD, body, {}, fds);
    if (!opened) {
        fail(context, kVerb, opened.error());
        return nullptr;
    }
    xrcd->base.xrcd.context = ibv;
    xrcd->base.handle = opened->handle;
    return &xrcd.release()->base.xrcd;
}

int close_xrcd(ibv_xrcd* ibxrcd) {
    Xrcd* xrcd = Xrcd::of(ibxrcd);
    Context& context = Context::of(ibxrcd->context);
    if (context.abandoned) {
        return 0;  // the parent's; this process only forgets it
    }
    const vrdma_handle handle{.handle = xrcd->base.handle, .reserved = 0};
    const auto closed = driver::run_command(*context.channel, VRDMA_CMD_CLOSE_XRCD, handle);
    if (!closed && !context.channel->dead()) {
        return fail(context, "close_xrcd", closed.error());
    }
    delete xrcd;
    return 0;
}

ibv_qp* create_target(ibv_context* ibv, ibv_qp_init_attr_ex* attr) {
    constexpr const char* kVerb = "create_qp";
    constexpr std::uint32_t kMask = IBV_QP_INIT_ATTR_XRCD | IBV_QP_INIT_ATTR_PD;
    Context& context = Context::of(ibv);
    if (!has_xrc(context)) {
        return refuse<ibv_qp>(kVerb, EOPNOTSUPP, "the service is older than XRC");
    }
    if (context.abandoned) {
        return refuse<ibv_qp>(kVerb, EIO, "a child after fork cannot use its parent's device");
    }
    if ((attr->comp_mask & ~kMask) != 0) {
        return refuse<ibv_qp>(kVerb, EOPNOTSUPP, "a target has neither flags nor operations");
    }
    if ((attr->comp_mask & IBV_QP_INIT_ATTR_XRCD) == 0 || attr->xrcd == nullptr ||
        attr->xrcd->context != ibv) {
        return refuse<ibv_qp>(kVerb, EINVAL, "xrcd must be an XRC domain of this context");
    }
    ibv_qp* qp = make_target(context, kVerb, VRDMA_CMD_CREATE_XRC_TARGET,
                             {.xrcd = Xrcd::of(attr->xrcd)->base.handle, .qpn = 0, .cookie = 0},
                             attr->qp_context);
    if (qp != nullptr) {
        attr->cap = {};
    }
    return qp;
}

ibv_qp* open_qp(ibv_context* ibv, ibv_qp_open_attr* attr) {
    constexpr const char* kVerb = "open_qp";
    constexpr std::uint32_t kNeeded =
        IBV_QP_OPEN_ATTR_NUM | IBV_QP_OPEN_ATTR_XRCD | IBV_QP_OPEN_ATTR_TYPE;
    Context& context = Context::of(ibv);
    if (!has_xrc(context)) {
        return refuse<ibv_qp>(kVerb, EOPNOTSUPP, "the service is older than XRC");
    }
    if (context.abandoned) {
        return refuse<ibv_qp>(kVerb, EIO, "a child after fork cannot use its parent's device");
    }
    if ((attr->comp_mask & ~(kNeeded | IBV_QP_OPEN_ATTR_CONTEXT)) != 0) {
        return refuse<ibv_qp>(kVerb, EOPNOTSUPP, "unknown comp_mask");
    }
    if ((attr->comp_mask & kNeeded) != kNeeded || attr->qp_type != IBV_QPT_XRC_RECV ||
        attr->xrcd == nullptr || attr->xrcd->context != ibv) {
        return refuse<ibv_qp>(kVerb, EINVAL,
                              "needed are a number, an XRC domain of this context and XRC_RECV");
    }
    const bool has_context = (attr->comp_mask & IBV_QP_OPEN_ATTR_CONTEXT) != 0;
    return make_target(
        context, kVerb, VRDMA_CMD_OPEN_XRC_TARGET,
        {.xrcd = Xrcd::of(attr->xrcd)->base.handle, .qpn = attr->qp_num, .cookie = 0},
        has_context ? attr->qp_context : nullptr);
}

int destroy_target(Qp& qp) {
    Context& context = *qp.context;
    ibv_qp& base = qp.base.qp;
    const vrdma_handle handle{.handle = base.handle, .reserved = 0};
    const auto destroyed = driver::run_command(*context.channel, VRDMA_CMD_DESTROY_QP, handle);
    if (!destroyed && !context.channel->dead()) {
        return fail(context, "destroy_qp", destroyed.error());
    }
    context.events.remove(&base);
    wait_for_acknowledgement(base.mutex, base.cond, base.events_completed, qp.async_events.sent);
    pthread_cond_destroy(&base.cond);
    pthread_mutex_destroy(&base.mutex);
    delete &qp;
    return 0;
}

}  // namespace vrdma::verbs
