// Opening and closing a device, and what happens to open devices when the program forks or ends.
//
// A device is found through the tree that made it visible: the file vrdma_socket beside its other
// attributes names the service's socket, absolute or relative to that directory. Being able to
// connect is the permission. When it fails, one line on stderr says what to do, because libibverbs
// itself only says "Failed to open device".
//
// fork: the device stays the parent's. In the child every open context is abandoned: its
// descriptors are closed (a child must not keep a dead parent's device alive), its queues are holes
// filled with zero pages, commands fail with EIO, polling returns an error, and destroying does
// nothing.
//
// exit: a program that ends without closing its devices says goodbye here, so that its peers see an
// orderly end. One that is killed does not, and that is how the service tells the two apart.
//
// State: the list of open contexts, under a lock that fork holds.
#include "verbs/context.h"

#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "driver/memory/memory_map.h"
#include "verbs/ah.h"
#include "verbs/clock.h"
#include "verbs/cq.h"
#include "verbs/device.h"
#include "verbs/log.h"
#include "verbs/mcast.h"
#include "verbs/mr.h"
#include "verbs/mw.h"
#include "verbs/not_there.h"
#include "verbs/pd.h"
#include "verbs/port.h"
#include "verbs/qp.h"
#include "verbs/srq.h"
#include "verbs/xrc.h"

namespace vrdma::verbs {
namespace {

using verbs_abi::Op;

constexpr std::uint64_t kFeatures = VRDMA_FEATURE_PROCESS_MEMORY | VRDMA_FEATURE_PEER_DEATH |
                                    VRDMA_FEATURE_USERFAULT | VRDMA_FEATURE_MEMORY_WINDOWS |
                                    VRDMA_FEATURE_TIMESTAMPS | VRDMA_FEATURE_XRC |
                                    VRDMA_FEATURE_MULTICAST;
constexpr char kSocketFile[] = "vrdma_socket";

constinit std::mutex open_mutex;
constinit Context* open_contexts = nullptr;

void before_fork() {
    open_mutex.lock();
    for (Context* context = open_contexts; context != nullptr; context = context->next_open) {
        context->queues.lock();
    }
}

void after_fork_in_parent() {
    for (Context* context = open_contexts; context != nullptr; context = context->next_open) {
        context->queues.unlock();
    }
    open_mutex.unlock();
}

void after_fork_in_child() {
    for (Context* context = open_contexts; context != nullptr; context = context->next_open) {
        context->abandoned = true;
        context->dead_flag = true;
        context->channel->abandon();
        context->queues.abandon();
        context->queues.unlock();
    }
    open_contexts = nullptr;
    open_mutex.unlock();
}

void add_to_open(Context& context) {
    static const int handlers =
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (handlers != 0) {
        log(LogLevel::error, "event=fork_unsafe reason=\"pthread_atfork: errno %d\"", handlers);
    }
    const std::lock_guard lock(open_mutex);
    context.next_open = open_contexts;
    open_contexts = &context;
}

void remove_from_open(const Context& context) {
    const std::lock_guard lock(open_mutex);
    Context** link = &open_contexts;
    while (*link != nullptr && *link != &context) {
        link = &(*link)->next_open;
    }
    if (*link != nullptr) {
        *link = context.next_open;
    }
}

// One line of a file beside the device's other attributes, or empty and errno.
std::string read_attribute(const ibv_device& device, const char* name) {
    const std::string directory(device.ibdev_path,
                                ::strnlen(device.ibdev_path, sizeof device.ibdev_path));
    const std::string file = directory + "/" + name;
    const driver::UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 4096> text;
    const ssize_t bytes = fd.valid() ? ::read(fd.get(), text.data(), text.size()) : -1;
    if (bytes < 0) {
        return {};
    }
    std::string line(text.data(), static_cast<std::size_t>(bytes));
    line.erase(line.find_last_not_of(" \t\r\n") + 1);
    if (line.empty()) {
        errno = EINVAL;
    }
    return line;
}

const char* remedy_for(int error) {
    switch (error) {
        case ENOENT:
        case ECONNREFUSED:
            return "start the service (vrdmad) or make this vNIC's directory visible here";
        case EACCES:
        case EPERM:
            return "ask the operator for access to this vNIC (owner, group, mode of its socket)";
        case EPROTO:
            return "install the provider and the service of the same release";
        case ENOMEM:
            return "close a device, or ask the operator for a higher quota of this vNIC";
        default:
            return "see the service's log";
    }
}

tl::expected<std::unique_ptr<driver::SocketChannel>, driver::CommandError> open_channel(
    const ibv_device& device) {
    const std::string path = device_socket_path(device);
    if (path.empty()) {
        const int error = errno;
        log(LogLevel::error,
            "device=%s event=open_failed errno=%d reason=\"%s/%s cannot be read\" remedy=\"%s\"",
            device.name, error, device.ibdev_path, kSocketFile,
            "point SYSFS_PATH at the tree that the service keeps");
        return tl::unexpected(driver::command_error(error, "no socket path"));
    }
    auto channel =
        driver::SocketChannel::open(path.c_str(), program_invocation_short_name, kFeatures);
    if (!channel) {
        const driver::CommandError& error = channel.error();
        log(LogLevel::error,
            "device=%s event=open_failed socket=%s errno=%d reason=\"%s: %s\" remedy=\"%s\"",
            device.name, path.c_str(), error.error, error.reason, std::strerror(error.error),
            remedy_for(error.error));
    }
    return channel;
}

void set_operations(verbs_abi::VerbsContext* context) {
    verbs_abi::OpsTable ops(verbs_abi::current_layout());
    set_refusals(ops);
    ops.set<Op::alloc_mw>(&alloc_mw);
    ops.set<Op::alloc_parent_domain>(&alloc_parent_domain);
    ops.set<Op::alloc_pd>(&alloc_pd);
    ops.set<Op::alloc_td>(&alloc_td);
    ops.set<Op::attach_mcast>(&attach_mcast);
    ops.set<Op::bind_mw>(&bind_mw);
    ops.set<Op::close_xrcd>(&close_xrcd);
    ops.set<Op::cq_event>(&cq_event);
    ops.set<Op::create_ah>(&create_ah);
    ops.set<Op::create_cq>(&create_cq);
    ops.set<Op::create_cq_ex>(&create_cq_ex);
    ops.set<Op::create_qp>(&create_qp);
    ops.set<Op::create_qp_ex>(&create_qp_ex);
    ops.set<Op::create_srq>(&create_srq);
    ops.set<Op::create_srq_ex>(&create_srq_ex);
    ops.set<Op::dealloc_mw>(&dealloc_mw);
    ops.set<Op::dealloc_pd>(&dealloc_pd);
    ops.set<Op::dealloc_td>(&dealloc_td);
    ops.set<Op::dereg_mr>(&dereg_mr);
    ops.set<Op::destroy_ah>(&destroy_ah);
    ops.set<Op::destroy_cq>(&destroy_cq);
    ops.set<Op::destroy_qp>(&destroy_qp);
    ops.set<Op::destroy_srq>(&destroy_srq);
    ops.set<Op::detach_mcast>(&detach_mcast);
    ops.set<Op::free_context>(&free_context);
    ops.set<Op::get_srq_num>(&get_srq_num);
    ops.set<Op::modify_qp>(&modify_qp);
    ops.set<Op::modify_srq>(&modify_srq);
    ops.set<Op::open_qp>(&open_qp);
    ops.set<Op::open_xrcd>(&open_xrcd);
    ops.set<Op::poll_cq>(&poll_cq);
    ops.set<Op::post_recv>(&post_recv);
    ops.set<Op::post_send>(&post_send);
    ops.set<Op::post_srq_recv>(&post_srq_recv);
    ops.set<Op::query_device_ex>(&query_device_ex);
    ops.set<Op::query_port>(&query_port);
    ops.set<Op::query_port_speed>(&query_port_speed);
    ops.set<Op::query_qp>(&query_qp);
    ops.set<Op::query_qp_data_in_order>(&query_qp_data_in_order);
    ops.set<Op::query_rt_values>(&query_rt_values);
    ops.set<Op::query_srq>(&query_srq);
    ops.set<Op::reg_dmabuf_mr>(&reg_dmabuf_mr);
    ops.set<Op::reg_mr>(&reg_mr);
    ops.set<Op::req_notify_cq>(&req_notify_cq);
    ops.set<Op::rereg_mr>(&rereg_mr);
    ops.set<Op::resize_cq>(&resize_cq);
    verbs_abi::set_ops(context, ops);
}

// 0, or an errno.
int start_events(Context& context) {
    auto async_fd = context.events.open();
    if (!async_fd) {
        return async_fd.error();
    }
    context.ibv->async_fd = async_fd->release();  // libibverbs closes it with the context
    const auto started = context.watcher.start(context);
    return started ? 0 : started.error();
}

}  // namespace

std::string device_socket_path(const ibv_device& device) {
    const std::string path = read_attribute(device, kSocketFile);
    if (path.empty() || path.front() == '/') {
        return path;
    }
    return std::string(device.ibdev_path, ::strnlen(device.ibdev_path, sizeof device.ibdev_path)) +
           "/" + path;
}

std::uint64_t device_guid(const ibv_device& device) {
    std::string digits = read_attribute(device, "node_guid");
    std::erase(digits, ':');
    return htobe64(std::strtoull(digits.c_str(), nullptr, 16));
}

verbs_abi::VerbsContext* alloc_context(ibv_device* device, int cmd_fd, void*) {
    driver::UniqueFd command_fd(cmd_fd);
    auto channel = open_channel(*device);
    if (!channel) {
        errno = channel.error().error;
        return nullptr;
    }
    driver::UniqueFd userfault_device = (*channel)->take_userfault_device();
    if (userfault_device.valid()) {
        tenant_memory::MemoryMap::instance().offer_userfault_device(userfault_device.release());
    }
    std::unique_ptr<Context> context(new (std::nothrow) Context(std::move(*channel)));
    if (context == nullptr || !context->qp_table.create(context->limits().max_qps)) {
        errno = ENOMEM;
        return nullptr;
    }
    verbs_abi::VerbsContext* made =
        verbs_abi::allocate_context(device, command_fd.release(), context.get());
    if (made == nullptr) {
        return nullptr;
    }
    context->ibv = verbs_abi::context_of(made);
    context->ibv->async_fd = -1;
    context->ibv->num_comp_vectors = static_cast<int>(context->channel->info().completion_vectors);
    set_operations(made);
    const int error = start_events(*context);
    if (error != 0) {
        log(LogLevel::error, "device=%s event=open_failed errno=%d reason=\"no event thread\"",
            device->name, error);
        verbs_abi::release_context(context->ibv);
        errno = error;
        return nullptr;
    }
    const vrdma_rsp_open& info = context->channel->info();
    log(LogLevel::info, "device=%s event=opened vnic=%.32s context=%u service=%.32s", device->name,
        info.vnic, info.context_id, info.service_version);
    add_to_open(*context);
    context.release();  // free_context deletes it
    return made;
}

void free_context(ibv_context* ibv) {
    Context* context = &Context::of(ibv);
    if (context->abandoned) {
        // The parent's objects stay where they are in this copy of its memory.
        verbs_abi::release_context(ibv);
        return;
    }
    remove_from_open(*context);
    context->closing = true;
    context->watcher.stop();
    const driver::Command close{.opcode = VRDMA_CMD_CLOSE, .body = {}, .tail = {}, .fds = {}};
    // Waits for the answer, so that what this context used is free for the next one.
    [[maybe_unused]] const auto closed = context->channel->request(close, {});
    verbs_abi::release_context(ibv);
    delete context;
}

void Context::device_lost() {
    if (closing || dead_flag.exchange(true)) {
        return;
    }
    channel->mark_dead();
    log(LogLevel::error,
        "device=%s event=device_lost "
        "reason=\"the service is gone, or has deleted the vNIC\" "
        "remedy=\"restart the program once both are there again\"",
        ibv->device->name);
    events.device_lost();
}

int fail(Context& context, const char* verb, const driver::CommandError& error) {
    if (context.channel->dead()) {
        context.device_lost();
    }
    return fail(verb, error.error, error.reason);
}

int fail(const char* verb, int error, const char* reason) {
    log(LogLevel::info, "verb=%s errno=%d reason=\"%s\"", verb, error, reason);
    errno = error;
    return error;
}

void say_goodbye_to_all() {
    // The lock may be held by a thread that is gone for good: then nobody can be told any more.
    if (!open_mutex.try_lock()) {
        return;
    }
    for (Context* context = open_contexts; context != nullptr; context = context->next_open) {
        context->closing = true;
        context->channel->say_goodbye();
    }
    open_mutex.unlock();
}

}  // namespace vrdma::verbs
