#include "tests/e2e/fault_client/async_events.h"

#include <fcntl.h>
#include <poll.h>

// Takes events as the ibv_get_async_event man page shows for non-blocking use. An event is
// acknowledged at once, since destroying its object waits for that.

namespace vrdma::fault {

namespace {

bool names_a_qp(ibv_event_type type) {
    return type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR ||
           type == IBV_EVENT_QP_ACCESS_ERR || type == IBV_EVENT_COMM_EST ||
           type == IBV_EVENT_SQ_DRAINED || type == IBV_EVENT_PATH_MIG ||
           type == IBV_EVENT_PATH_MIG_ERR || type == IBV_EVENT_QP_LAST_WQE_REACHED;
}

}  // namespace

verbs_util::Result<AsyncEvents> AsyncEvents::watch(const verbs_util::Device& device) {
    AsyncEvents events;
    events.context_ = device.context();
    const int flags = fcntl(events.context_->async_fd, F_GETFL);
    if (flags < 0 || fcntl(events.context_->async_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return verbs_util::fail_errno(verbs_util::ErrorKind::kSetup,
                                      "event file of " + device.name(), errno);
    }
    return events;
}

std::optional<AsyncEvent> AsyncEvents::take() const {
    pollfd waiting{context_->async_fd, POLLIN, 0};
    if (poll(&waiting, 1, 0) <= 0 || (waiting.revents & POLLIN) == 0) {
        return std::nullopt;
    }
    ibv_async_event event{};
    if (ibv_get_async_event(context_, &event) != 0) {
        return std::nullopt;
    }
    AsyncEvent taken;
    taken.type = event.event_type;
    taken.qpn = names_a_qp(event.event_type) ? event.element.qp->qp_num : 0;
    ibv_ack_async_event(&event);
    return taken;
}

}  // namespace vrdma::fault
