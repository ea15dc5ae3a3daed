// The device names an object by the cookie it was created with, which is the address of the public
// object: libibverbs takes that address out of the event and dereferences it. So an event is passed
// on only when its object is in the registry here and of the kind the event is about.
//
// An object leaves in this order: the device destroys it (after its answer no event is sent for
// it); what is still in the device's socket is taken, by the destroying thread itself and not by
// waiting for the watcher; what the program has not read is taken back; the object leaves the
// registry. What is left are events the program has read, and for their acknowledgement the
// destroyer waits, as with a kernel's device. An address that is used again can so never receive an
// event of its predecessor.
//
// State: the registry, the pipe to the program. Both under the context's event lock.
#include "verbs/async_events.h"

#include <infiniband/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "verbs/context.h"
#include "verbs/cq.h"
#include "verbs/log.h"

namespace vrdma::verbs {
namespace {

enum class About : std::uint8_t { cq, qp, srq, port, device, nothing };

About about(std::uint32_t type) {
    switch (type) {
        case VRDMA_EVENT_CQ_ERR:
            return About::cq;
        case VRDMA_EVENT_QP_FATAL:
        case VRDMA_EVENT_QP_REQ_ERR:
        case VRDMA_EVENT_QP_ACCESS_ERR:
        case VRDMA_EVENT_COMM_EST:
        case VRDMA_EVENT_SQ_DRAINED:
        case VRDMA_EVENT_QP_LAST_WQE_REACHED:
            return About::qp;
        case VRDMA_EVENT_SRQ_ERR:
        case VRDMA_EVENT_SRQ_LIMIT_REACHED:
            return About::srq;
        case VRDMA_EVENT_PORT_ACTIVE:
        case VRDMA_EVENT_PORT_ERR:
            return About::port;
        case VRDMA_EVENT_DEVICE_FATAL:
            return About::device;
        default:
            return About::nothing;
    }
}

About about(AsyncEvents::Kind kind) {
    switch (kind) {
        case AsyncEvents::Kind::cq:
            return About::cq;
        case AsyncEvents::Kind::qp:
            return About::qp;
        case AsyncEvents::Kind::srq:
            return About::srq;
    }
    return About::nothing;
}

}  // namespace

tl::expected<driver::UniqueFd, int> AsyncEvents::open() {
    auto program_end = pipe_.open(sizeof(ib_uverbs_async_event_desc));
    if (program_end) {
        program_fd_ = program_end->get();
    }
    return program_end;
}

void AsyncEvents::add(Kind kind, const void* object, AsyncEventCount& count) {
    const std::lock_guard lock(context_.event_mutex);
    objects_[reinterpret_cast<std::uintptr_t>(object)] = {kind, &count};
}

void AsyncEvents::remove(const void* object) {
    const auto cookie = reinterpret_cast<std::uintptr_t>(object);
    const std::lock_guard lock(context_.event_mutex);
    // A hang-up is the watcher's to report: it sees the same.
    [[maybe_unused]] const bool alive = take_all();
    const auto found = objects_.find(cookie);
    if (found == objects_.end()) {
        return;
    }
    const About kind = about(found->second.kind);
    found->second.count->sent -=
        pipe_.take_back(program_fd_, [cookie, kind](std::span<const std::byte> bytes) {
            ib_uverbs_async_event_desc event;
            std::memcpy(&event, bytes.data(), sizeof event);
            return event.element == cookie && about(event.event_type) == kind;
        });
    objects_.erase(found);
}

void AsyncEvents::device_readable() {
    bool alive = true;
    {
        const std::lock_guard lock(context_.event_mutex);
        alive = take_all();
    }
    if (!alive) {
        context_.watcher.forget(context_.channel->event_socket());
        context_.device_lost();
    }
}

void AsyncEvents::pipe_writable() {
    const std::lock_guard lock(context_.event_mutex);
    pipe_.flush();
    if (!pipe_.has_pending()) {
        context_.watcher.forget(pipe_.fd());
    }
}

void AsyncEvents::device_lost() {
    const std::lock_guard lock(context_.event_mutex);
    send(0, IBV_EVENT_DEVICE_FATAL);
    for (const auto& [cookie, object] : objects_) {
        if (object.kind == Kind::cq) {
            context_.channels.wake(*Cq::of(reinterpret_cast<ibv_cq*>(cookie)));
        }
    }
}

bool AsyncEvents::take_all() {
    for (;;) {
        vrdma_event event{};
        const ssize_t bytes =
            ::recv(context_.channel->event_socket(), &event, sizeof event, MSG_DONTWAIT);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0) {
            return errno == EAGAIN;
        }
        if (bytes == 0) {
            return false;
        }
        if (bytes == sizeof event) {
            deliver(event);
        }
    }
}

void AsyncEvents::deliver(const vrdma_event& event) {
    log(LogLevel::debug, "event=async type=%u", event.type);
    const About kind = about(event.type);
    if (kind == About::port) {
        send(event.cookie, event.type);
    } else if (kind == About::cq || kind == About::qp || kind == About::srq) {
        const auto found = objects_.find(event.cookie);
        if (found != objects_.end() && about(found->second.kind) == kind) {
            ++found->second.count->sent;
            send(event.cookie, event.type);
        }
    }
    // The loss of the device shows as a hang-up, which no event can announce more reliably.
}

void AsyncEvents::send(std::uint64_t element, std::uint32_t type) {
    ib_uverbs_async_event_desc event{};
    event.element = element;
    event.event_type = type;
    const bool had_pending = pipe_.has_pending();
    pipe_.send(std::as_bytes(std::span(&event, 1)));
    if (!had_pending && pipe_.has_pending() &&
        !context_.watcher.watch(pipe_.fd(), EPOLLOUT, Watcher::kAsyncPipe)) {
        log(LogLevel::error, "event=lost reason=\"the async fd cannot be watched: errno %d\"",
            errno);
    }
}

void wait_for_acknowledgement(pthread_mutex_t& mutex, pthread_cond_t& cond,
                              const std::uint32_t& completed, std::uint32_t sent) {
    pthread_mutex_lock(&mutex);
    while (completed != sent) {
        pthread_cond_wait(&cond, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

}  // namespace vrdma::verbs
