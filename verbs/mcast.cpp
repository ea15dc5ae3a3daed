// Membership in a multicast group is the device's to know; what is sent to a group is an ordinary
// datagram whose address handle names the group. The checks are the kernel's, in its order, so that
// programs see the errors that they know.
#include "verbs/mcast.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

int change(const char* verb, vrdma_command_opcode opcode, const ibv_qp* qp, const ibv_gid* gid) {
    Context& context = Context::of(qp->context);
    if (!has_multicast(context)) {
        return fail(verb, EOPNOTSUPP, "the service is older than multicast");
    }
    if (context.abandoned) {
        return fail(verb, EIO, "a child after fork cannot use its parent's device");
    }
    vrdma_cmd_mcast body{};
    body.qp = qp->handle;
    std::copy(std::begin(gid->raw), std::end(gid->raw), std::begin(body.gid));
    const auto changed = driver::run_command(*context.channel, opcode, body);
    return changed ? 0 : fail(context, verb, changed.error());
}

}  // namespace

bool has_multicast(const Context& context) {
    return (context.channel->info().features & VRDMA_FEATURE_MULTICAST) != 0;
}

int attach_mcast(ibv_qp* qp, const ibv_gid* gid, std::uint16_t) {
    return change("attach_mcast", VRDMA_CMD_ATTACH_MCAST, qp, gid);
}

int detach_mcast(ibv_qp* qp, const ibv_gid* gid, std::uint16_t) {
    return change("detach_mcast", VRDMA_CMD_DETACH_MCAST, qp, gid);
}

}  // namespace vrdma::verbs
