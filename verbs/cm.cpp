// What the kernel's rdma_cm and its user interface do for a program, done in the program: ids,
// their steps and their events. What two programs must tell each other goes through the service of
// their vNICs (driver/abi/connection.h), which also knows who listens where.
//
// A thread reads the services' sockets and makes events of what they say; it sleeps otherwise, and
// exists only in programs that opened an rdma_cm channel. An answer that a command waits for comes
// through the same thread, which takes the lock: so no command holds it while it asks, and looks
// its id up by a shared pointer that outlives it.
//
// State: channels by descriptor, ids by handle, a conversation for each vNIC. Never destroyed,
// because librdmacm and the thread may use it until the process is gone.
#include "verbs/cm.h"

#include <infiniband/verbs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "driver/memory/memory_map.h"
#include "verbs/cm_answers.h"
#include "verbs/cm_call.h"
#include "verbs/device.h"
#include "verbs/log.h"

namespace vrdma::verbs {
namespace {

constexpr std::size_t kStackBytes = 128UL << 10U;
constexpr int kTickMs = 1000;  // while an answer is awaited
constexpr int kMessagesAtOnce = 64;
constexpr std::size_t kMaxServices = 256;

// A child must not keep the parent's conversations open, or nobody would notice the parent's death.
std::array<std::atomic<int>, kMaxServices> service_fds{};  // fd + 1; 0: none

void close_in_child() {
    for (std::atomic<int>& fd : service_fds) {
        const int number = fd.exchange(0);
        if (number != 0) {
            ::close(number - 1);
        }
    }
}

int call_open() {
    return Cm::instance().open_channel();
}
bool call_is_channel(int fd) {
    return Cm::instance().is_channel(fd);
}
ssize_t call_command(int fd, const void* data, std::size_t size) {
    return Cm::instance().command(fd, data, size);
}
void call_close(int fd) {
    Cm::instance().close_channel(fd);
}

}  // namespace

const verbs_abi::RdmacmCalls kRdmacmCalls = {.open_channel = call_open,
                                             .is_channel = call_is_channel,
                                             .command = call_command,
                                             .close_channel = call_close};

Cm& Cm::instance() {
    static auto* cm = new Cm;
    return *cm;
}

int Cm::open_channel() {
    const pid_t process = process_.load();
    if (process != 0 && process != ::getpid()) {
        errno = EIO;
        return -1;
    }
    const std::lock_guard lock(mutex_);
    if (known_devices().empty()) {
        return verbs_abi::kNoChannel;
    }
    if (!start_thread()) {
        return -1;
    }
    connect_services();
    if (living().empty()) {
        errno = ENODEV;  // the reason has been said
        return -1;
    }
    const auto channel = CmChannel::open();
    if (channel == nullptr) {
        return -1;
    }
    for (std::size_t i = 0; i < channel_fds_.size(); ++i) {
        int none = 0;
        if (channel_fds_[i].compare_exchange_strong(none, channel->fd + 1)) {
            channels_used_.store(std::max(channels_used_.load(), i + 1));
            channels_[channel->fd] = channel;
            return channel->fd;
        }
    }
    ::close(channel->fd);
    errno = EMFILE;
    return -1;
}

bool Cm::is_channel(int fd) const {
    const std::size_t used = channels_used_.load();
    return fd >= 0 && std::any_of(channel_fds_.begin(),
                                  channel_fds_.begin() + static_cast<std::ptrdiff_t>(used),
                                  [fd](const std::atomic<int>& entry) { return entry == fd + 1; });
}

void Cm::close_channel(int fd) {
    for (std::atomic<int>& entry : channel_fds_) {
        int ours = fd + 1;
        if (entry.compare_exchange_strong(ours, 0)) {
            break;
        }
    }
    if (process_.load() != ::getpid()) {
        return;
    }
    Lock lock(mutex_);
    const auto found = channels_.find(fd);
    if (found == channels_.end()) {
        return;
    }
    const auto channel = found->second;
    channels_.erase(found);
    // As the kernel does: ids that were not destroyed end with their channel.
    std::vector<Id> theirs;
    for (const auto& [handle, id] : ids_) {
        if (id->channel == channel) {
            theirs.push_back(id);
        }
    }
    for (const Id& id : theirs) {
        end(lock, id);
    }
    channel->events.clear();
    channel->fd = -1;
}

ssize_t Cm::command(int fd, const void* data, std::size_t size) {
    if (process_.load() != ::getpid()) {
        errno = EIO;
        return -1;
    }
    rdma_ucm_cmd_hdr header{};
    if (size < sizeof header) {
        errno = EINVAL;
        return -1;
    }
    std::memcpy(&header, data, sizeof header);
    if (size - sizeof header < header.in) {
        errno = EINVAL;
        return -1;
    }
    Lock lock(mutex_);
    const auto channel = channels_.find(fd);
    if (channel == channels_.end()) {
        errno = EBADF;
        return -1;
    }
    const Call call{.channel = channel->second,
                    .opcode = header.cmd,
                    .words = static_cast<const std::byte*>(data) + sizeof header,
                    .size = header.in,
                    .room = header.out};
    const int error = dispatch(lock, call);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return static_cast<ssize_t>(size);
}

void Cm::connect_services() {
    for (const KnownDevice& device : known_devices()) {
        const auto slash = device.socket.rfind('/');
        const std::string path = device.socket.substr(0, slash + 1) + "cm.sock";
        if (std::ranges::any_of(services_, [&](const auto& entry) {
                return entry.first == path && entry.second->alive();
            })) {
            continue;
        }
        auto service = CmService::open(path, device.guid);
        if (!service) {
            log(LogLevel::error,
                "event=cm_unavailable socket=%s reason=\"errno %d: %s; rdma_cm does not work on "
                "this "
                "vNIC: start the service (vrdmad), of this release, or ask the operator for "
                "access\"",
                path.c_str(), service.error(), std::strerror(service.error()));
            continue;
        }
        const auto free = std::ranges::find_if(
            service_fds, [](const std::atomic<int>& entry) { return entry.load() == 0; });
        if (free == service_fds.end()) {
            return;
        }
        free->store((*service)->fd() + 1);
        services_.emplace_back(path, std::move(*service));
    }
    wake();
}

bool Cm::start_thread() {
    if (wake_fd_ >= 0) {
        return true;
    }
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) {
        return false;
    }
    process_.store(::getpid());
    pthread_atfork(nullptr, nullptr, close_in_child);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackBytes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread{};
    int error = pthread_create(&thread, &attributes, run, this);
    if (error == EINVAL) {  // much thread-local storage does not fit into a small stack
        error = pthread_create(&thread, nullptr, run, this);
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) {
        ::close(std::exchange(wake_fd_, -1));
        errno = error;
        return false;
    }
    tenant_memory::MemoryMap::instance().note_own_thread();
    return true;
}

void Cm::wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void* Cm::run(void* self) {
    pthread_setname_np(pthread_self(), "vrdma-cm");
    static_cast<Cm*>(self)->loop();
    return nullptr;
}

void Cm::loop() {
    std::vector<pollfd> watched;
    std::vector<CmService*> services;
    for (;;) {
        bool waits = false;
        {
            const std::lock_guard lock(mutex_);
            services = living();
            waits = std::ranges::any_of(
                ids_, [](const auto& entry) { return entry.second->deadline.has_value(); });
        }
        watched.assign(1, pollfd{.fd = wake_fd_, .events = POLLIN, .revents = 0});
        for (const CmService* service : services) {
            watched.push_back({.fd = service->fd(), .events = POLLIN, .revents = 0});
        }
        ::poll(watched.data(), watched.size(), waits ? kTickMs : -1);
        std::uint64_t woken = 0;
        [[maybe_unused]] const ssize_t taken = ::read(wake_fd_, &woken, sizeof woken);
        for (CmService* service : services) {
            for (int i = 0; i < kMessagesAtOnce; ++i) {
                vrdma_cm_message message{};
                const CmService::Received received = service->receive(message);
                if (received == CmService::Received::nothing) {
                    break;
                }
                const std::lock_guard lock(mutex_);
                if (received == CmService::Received::notice) {
                    notice(*service, message);
                } else if (received == CmService::Received::gone) {
                    service_gone(*service);
                    break;
                }
            }
        }
        const std::lock_guard lock(mutex_);
        expire();
    }
}

void Cm::expire() {
    const auto now = std::chrono::steady_clock::now();
    for (const auto& [handle, id] : ids_) {
        if (!id->deadline || now < *id->deadline) {
            continue;
        }
        id->deadline.reset();
        id->step = CmStep::ended;
        vrdma_cm_message message{};
        message.type = VRDMA_CM_REJECT;
        message.connection = id->connection;
        message.reason = VRDMA_CM_REASON_TIMEOUT;
        if (id->service != nullptr) {
            [[maybe_unused]] const bool told = id->service->tell(message);
        }
        push(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT);
    }
}

void Cm::service_gone(CmService& service) {
    for (std::atomic<int>& fd : service_fds) {
        int number = service.fd() + 1;
        fd.compare_exchange_strong(number, 0);
    }
    for (const auto& [handle, id] : ids_) {
        const bool uses = id->service == &service ||
                          std::ranges::any_of(id->reservations, [&](const auto& reservation) {
                              return reservation.service == &service;
                          });
        if (uses && id->step != CmStep::ended) {
            id->step = CmStep::ended;
            id->deadline.reset();
            push(id, RDMA_CM_EVENT_DEVICE_REMOVAL, 0);
        }
    }
}

Cm::Id Cm::find(std::uint32_t handle) const {
    const auto found = ids_.find(handle);
    return found == ids_.end() ? nullptr : found->second;
}

Cm::Id Cm::new_id(std::shared_ptr<CmChannel> channel) {
    auto id = std::make_shared<CmId>();
    // librdmacm keeps ids in an index of 16 bits.
    do {
        last_handle_ = (last_handle_ + 1) & 0xffffU;
    } while (ids_.contains(last_handle_));
    id->handle = last_handle_;
    id->channel = std::move(channel);
    ids_[id->handle] = id;
    return id;
}

void Cm::push(const Id& id, std::uint32_t event, int status, const vrdma_cm_message* message,
              std::uint8_t private_bytes, const Id& request) {
    if (id->uid == 0 || id->channel->fd < 0) {
        return;  // its program does not know it yet
    }
    CmEvent made{.id = id, .request = request, .membership = nullptr, .content = {}};
    rdma_ucm_event_resp& content = made.content;
    content.uid = id->uid;
    content.id = request == nullptr ? id->handle : request->handle;
    content.event = event;
    content.status = static_cast<std::uint32_t>(status);
    if (message != nullptr && id->datagram()) {
        rdma_ucm_ud_param& param = content.param.ud;
        param.qp_num = message->qpn;
        param.qkey = message->qkey;
        param.private_data_len = private_bytes;
        std::memcpy(param.private_data, message->private_data, private_bytes);
        param.ah_attr = address_handle(request == nullptr ? *id : *request);
    } else if (message != nullptr) {
        rdma_ucm_conn_param& param = content.param.conn;
        param.qp_num = message->qpn;
        param.srq = message->srq;
        // What one side asks for is what the other must provide.
        param.responder_resources = message->initiator_depth;
        param.initiator_depth = message->responder_resources;
        param.flow_control = message->flow_control;
        param.retry_count = message->retry_count;
        param.rnr_retry_count = message->rnr_retry_count;
        param.private_data_len = private_bytes;
        std::memcpy(param.private_data, message->private_data, private_bytes);
    }
    id->channel->push(std::move(made));
}

void Cm::end(Lock& lock, const Id& id) {
    if (ids_.erase(id->handle) == 0) {
        return;
    }
    forget_memberships(id->handle);
    vrdma_cm_message message{};
    message.connection = id->connection;
    message.listener_side = id->listener_side ? 1 : 0;
    if (id->step == CmStep::request_sent || id->step == CmStep::request_received) {
        message.type = VRDMA_CM_REJECT;
        message.reason = id->listener_side ? VRDMA_CM_REASON_PROGRAM : VRDMA_CM_REASON_TIMEOUT;
    } else if (!id->datagram() &&
               (id->step == CmStep::reply_sent || id->step == CmStep::reply_received ||
                id->step == CmStep::connected)) {
        message.type = VRDMA_CM_DISCONNECT;
    }
    id->step = CmStep::ended;
    if (message.type != 0 && id->service != nullptr) {
        [[maybe_unused]] const bool told = id->service->tell(message);
    }
    // Events that nobody will take; the requests among them end with their listener.
    std::vector<Id> requests;
    auto& events = id->channel->events;
    for (std::size_t i = events.size(); i-- > 0;) {
        if (events[i].id == id) {
            const CmEvent dropped = id->channel->pop(i);
            if (dropped.request != nullptr) {
                requests.push_back(dropped.request);
            }
        }
    }
    for (const Id& request : requests) {
        end(lock, request);
    }
    release(lock, id);
}

CmService* Cm::at(const CmService::Address& address) const {
    for (CmService* service : living()) {
        if (service->address() == address) {
            return service;
        }
    }
    return nullptr;
}

std::vector<CmService*> Cm::living() const {
    std::vector<CmService*> found;
    for (const auto& [path, service] : services_) {
        if (service->alive()) {
            found.push_back(service.get());
        }
    }
    return found;
}

}  // namespace vrdma::verbs
