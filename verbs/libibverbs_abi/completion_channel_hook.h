// ibv_create_comp_channel() for devices without a kernel behind them.
//
// It is the one public verb that libibverbs sends to the kernel directly (a write() or ioctl() on
// the context's cmd_fd) without asking the provider. So the provider redirects `write` and `ioctl`
// in the global offset table of that libibverbs, and there only, and answers for its own cmd_fds:
//   write CREATE_COMP_CHANNEL  -> the descriptor that create_channel returns
//   any other write            -> EOPNOTSUPP
//   ioctl                      -> ENOTTY (libibverbs then uses write, and sysfs for GIDs)
// Every other descriptor gets the function the slot pointed to before.
//
// Threading: install_hook once. add/remove and the hooked calls run on any thread, without locks,
// and are safe in a child after fork.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <tl/expected.hpp>

struct link_map;

namespace vrdma::verbs_abi {

// Contexts open at one time in one process.
inline constexpr std::size_t kMaxCommandFds = 4096;

using CreateChannel = int (*)(ibv_context* context);

enum class HookError : std::uint8_t {
    no_relocations,   // the object has no usable dynamic section
    write_not_found,  // it does not import write(): not a libibverbs
    not_resolved,     // the real write or ioctl could not be found
    not_writable,     // mprotect refused
    already_hooked,   // another object was hooked before
};

// Hooks the object (a libibverbs). Changes nothing when it fails. ioctl may be absent from the
// object.
[[nodiscard]] tl::expected<void, HookError> install_hook(link_map* object,
                                                         CreateChannel create_channel);

// From now on fd is one of ours; until set_command_context names its context, creating a channel
// answers EAGAIN. False when kMaxCommandFds are registered.
[[nodiscard]] bool add_command_fd(int fd);
void set_command_context(int fd, ibv_context* context);
// Before fd is closed.
void remove_command_fd(int fd);

}  // namespace vrdma::verbs_abi
