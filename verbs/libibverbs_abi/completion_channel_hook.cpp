// Answers for the command descriptors of our contexts, in place of the kernel.
//
// libibverbs only writes to and ioctls on cmd_fds, but the same slots serve the real devices of a
// host, so a foreign descriptor costs one scan of the slots in use and no lock. Atomics and no
// mutex also mean that a child forked in the middle of a call is not left with a held lock.
//
// State: the two real functions, the callback, and the table of our descriptors, for one object:
// each copy of the provider is loaded by exactly one libibverbs. Nothing is ever unhooked; the
// provider is linked with -z nodelete.
#include "verbs/libibverbs_abi/completion_channel_hook.h"

#include <errno.h>
#include <rdma/ib_user_verbs.h>
#include <stdarg.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <span>

#include "verbs/libibverbs_abi/import_slots.h"

// NOLINTBEGIN(performance-no-int-to-ptr): this file computes addresses inside a loaded object.
namespace vrdma::verbs_abi {
namespace {

using WriteFunction = ssize_t (*)(int, const void*, std::size_t);
using IoctlFunction = int (*)(int, unsigned long, ...);

constexpr int kNoFd = -1;

struct CommandFd {
    std::atomic<int> fd{kNoFd};
    std::atomic<ibv_context*> context{nullptr};
};

std::array<CommandFd, kMaxCommandFds> command_fds;
std::atomic<std::size_t> command_fds_used{0};  // slots beyond this index were never taken
std::atomic<WriteFunction> real_write{nullptr};
std::atomic<IoctlFunction> real_ioctl{nullptr};
std::atomic<CreateChannel> create_channel_callback{nullptr};

CommandFd* find_command_fd(int fd) {
    if (fd < 0) {
        return nullptr;
    }
    const std::size_t used = command_fds_used.load(std::memory_order_acquire);
    for (CommandFd& entry : std::span(command_fds).first(used)) {
        if (entry.fd.load(std::memory_order_acquire) == fd) {
            return &entry;
        }
    }
    return nullptr;
}

// What ibv_create_comp_channel writes (IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL,
// rdma/ib_user_verbs.h).
struct CreateCompChannelRequest {
    ib_uverbs_cmd_hdr header;
    ib_uverbs_create_comp_channel command;
};
static_assert(sizeof(CreateCompChannelRequest) == 16);

ssize_t answer_command(CommandFd& entry, const void* data, std::size_t size) {
    CreateCompChannelRequest request{};
    if (size != sizeof request) {
        errno = EOPNOTSUPP;
        return -1;
    }
    std::memcpy(&request, data, sizeof request);
    if (request.header.command != IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL) {
        errno = EOPNOTSUPP;
        return -1;
    }
    ibv_context* context = entry.context.load(std::memory_order_acquire);
    if (context == nullptr) {
        errno = EAGAIN;
        return -1;
    }
    const int fd = create_channel_callback.load(std::memory_order_acquire)(context);
    if (fd < 0) {
        return -1;
    }
    ib_uverbs_create_comp_channel_resp response{};
    response.fd = static_cast<__u32>(fd);
    std::memcpy(reinterpret_cast<void*>(request.command.response), &response, sizeof response);
    return static_cast<ssize_t>(size);
}

ssize_t hooked_write(int fd, const void* data, std::size_t size) {
    CommandFd* entry = find_command_fd(fd);
    if (entry == nullptr) {
        return real_write.load(std::memory_order_acquire)(fd, data, size);
    }
    return answer_command(*entry, data, size);
}

int hooked_ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void* argument = va_arg(arguments, void*);
    va_end(arguments);
    if (find_command_fd(fd) == nullptr) {
        return real_ioctl.load(std::memory_order_acquire)(fd, request, argument);
    }
    errno = ENOTTY;
    return -1;
}

}  // namespace

tl::expected<void, HookError> install_hook(link_map* object, CreateChannel create_channel) {
    if (create_channel_callback.load(std::memory_order_acquire) != nullptr) {
        return tl::unexpected(HookError::already_hooked);
    }
    ImportSlots imports(object);
    if (!imports.readable()) {
        return tl::unexpected(HookError::no_relocations);
    }
    if (!imports.imports("write")) {
        return tl::unexpected(HookError::write_not_found);
    }
    void* write_function = imports.plan("write", reinterpret_cast<void*>(&hooked_write));
    void* ioctl_function = imports.plan("ioctl", reinterpret_cast<void*>(&hooked_ioctl));
    if (write_function == nullptr || (imports.imports("ioctl") && ioctl_function == nullptr)) {
        return tl::unexpected(HookError::not_resolved);
    }
    real_write.store(reinterpret_cast<WriteFunction>(write_function), std::memory_order_release);
    real_ioctl.store(reinterpret_cast<IoctlFunction>(ioctl_function), std::memory_order_release);
    create_channel_callback.store(create_channel, std::memory_order_release);
    if (!imports.redirect()) {
        create_channel_callback.store(nullptr, std::memory_order_release);
        return tl::unexpected(HookError::not_writable);
    }
    return {};
}

bool add_command_fd(int fd) {
    for (std::size_t i = 0; i < command_fds.size(); ++i) {
        int expected = kNoFd;
        if (!command_fds[i].fd.compare_exchange_strong(expected, fd, std::memory_order_acq_rel)) {
            continue;
        }
        command_fds[i].context.store(nullptr, std::memory_order_release);
        std::size_t used = command_fds_used.load(std::memory_order_acquire);
        while (used < i + 1 &&
               !command_fds_used.compare_exchange_weak(used, i + 1, std::memory_order_acq_rel)) {
        }
        return true;
    }
    return false;
}

void set_command_context(int fd, ibv_context* context) {
    CommandFd* entry = find_command_fd(fd);
    if (entry != nullptr) {
        entry->context.store(context, std::memory_order_release);
    }
}

void remove_command_fd(int fd) {
    CommandFd* entry = find_command_fd(fd);
    if (entry != nullptr) {
        entry->context.store(nullptr, std::memory_order_release);
        entry->fd.store(kNoFd, std::memory_order_release);
    }
}

}  // namespace vrdma::verbs_abi
// NOLINTEND(performance-no-int-to-ptr)
