// Events of the device must reach a program that sits in ibv_get_async_event() or in poll(), so
// somebody has to wait for them: one small thread for each context, asleep in epoll unless
// something happens. It also learns first that the device is gone, and that a program closed a
// channel.
//
// It must not disturb the program it lives in: every signal is blocked in it, its stack is small,
// and the memory layer is told that it never writes the program's memory.
#include "verbs/watcher.h"

#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "driver/memory/memory_map.h"
#include "verbs/context.h"

namespace vrdma::verbs {
namespace {

constexpr std::size_t kStackBytes = 128UL << 10U;
constexpr char kThreadName[] = "vrdma-events";

// A program with much thread-local storage leaves no room in a small stack: then the default one.
int create_thread(pthread_t* thread, void* (*run)(void*), void* argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackBytes);
    int error = pthread_create(thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    if (error == EINVAL) {
        error = pthread_create(thread, nullptr, run, argument);
    }
    return error;
}

}  // namespace

tl::expected<void, int> Watcher::start(Context& context) {
    context_ = &context;
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll_.valid() || !stop_.valid() || !watch(stop_.get(), EPOLLIN, kStop) ||
        !watch(context.channel->event_socket(), EPOLLIN, kDevice)) {
        return tl::unexpected(errno);
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = create_thread(&thread_, &Watcher::run, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) {
        return tl::unexpected(error);
    }
    running_ = true;
    // By us and not by the thread, which may run only after the program's first registration: that
    // would take it for one of the program's. Not before it exists either: one of the program's
    // would be overlooked.
    tenant_memory::MemoryMap::instance().note_own_thread();
    pthread_setname_np(thread_, kThreadName);
    return {};
}

void Watcher::stop() {
    if (!running_) {
        return;
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
    pthread_join(thread_, nullptr);
    running_ = false;
}

bool Watcher::watch(int fd, std::uint32_t events, std::uint64_t token) {
    epoll_event event{.events = events, .data = {.u64 = token}};
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Watcher::change(int fd, std::uint32_t events, std::uint64_t token) {
    epoll_event event{.events = events, .data = {.u64 = token}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Watcher::forget(int fd) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void* Watcher::run(void* self) {
    static_cast<Watcher*>(self)->loop();
    tenant_memory::MemoryMap::instance().forget_own_thread();
    return nullptr;
}

void Watcher::loop() {
    std::array<epoll_event, 16> ready;
    for (;;) {
        const int count = ::epoll_wait(epoll_.get(), ready.data(), ready.size(), -1);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = ready[static_cast<std::size_t>(i)];
            const std::uint64_t token = event.data.u64;
            if (token == kStop) {
                return;
            }
            if (token == kDevice) {
                context_->events.device_readable();
            } else if (token == kAsyncPipe) {
                context_->events.pipe_writable();
            } else {
                context_->channels.pipe_ready(token, event.events);
            }
        }
    }
}

}  // namespace vrdma::verbs
