// How the provider enters a stock libibverbs and how it makes contexts there, in any release.
//
//   __attribute__((constructor)) static void enter() {        // in the provider
//       static constexpr ProviderHooks kHooks{...};
//       if (!register_provider(kHooks)) { ... }               // already printed one line on stderr
//   }
//   VerbsContext* alloc_context(ibv_device* device, int cmd_fd, void*) {
//       VerbsContext* context = allocate_context(device, cmd_fd, my_state);
//       OpsTable ops(current_layout()); ops.set<Op::free_context>(&free_context); ...
//       set_ops(context, ops);
//       context_of(context)->async_fd = fd; context_of(context)->num_comp_vectors = n;
//       return context;
//   }
//   void free_context(ibv_context* context) { Mine* mine = owner_of<Mine>(context); ...;
//   release_context(context); }
//
// Where the provider's state of a context lives: in an object of its own on the heap. The
// ibv_context is the last member of verbs_context in every release, so one pointer right behind it
// ("owner") leads there at a constant distance and owner_of() needs no knowledge of the layout.
//
// Threading: register_provider once, before any other call (a constructor). The rest may be called
// from any thread; two calls must not work on one context at the same time.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <tl/expected.hpp>

#include "verbs/libibverbs_abi/layout.h"
#include "verbs/libibverbs_abi/ops_table.h"
#include "verbs/libibverbs_abi/rdmacm_hook.h"
#include "verbs/libibverbs_abi/structs.h"

namespace vrdma::verbs_abi {

inline constexpr char kDriverName[] = "vrdma";
// uverbsN/abi_version of a tree that this provider accepts.
inline constexpr std::uint32_t kMatchAbiVersion = 1;

// The first four are called by libibverbs and must be set.
struct ProviderHooks {
    // A zeroed VerbsDevice (or a struct that starts with one) with core_support set, or nullptr for
    // "not mine / out of memory".
    VerbsDevice* (*alloc_device)(VerbsSysfsDev* sysfs_dev);
    // Frees what alloc_device returned.
    void (*uninit_device)(VerbsDevice* device);
    // Owns cmd_fd from the call on: give it to allocate_context, or close it. nullptr + errno on
    // failure.
    VerbsContext* (*alloc_context)(ibv_device* device, int cmd_fd, void* private_data);
    // A descriptor for a new completion channel of context: readable, 8 bytes (an ibv_cq*) for each
    // event. The library owns and closes it. -1 + errno on failure. Any thread.
    int (*create_channel)(ibv_context* context);
    // What answers for rdma_cm; nullptr: nobody does.
    const RdmacmCalls* rdmacm = nullptr;
};

enum class RegisterError : std::uint8_t {
    no_libibverbs,        // no libibverbs in this process: silent, nobody asked
    unknown_private_abi,  // a libibverbs newer than this provider
};

// Registers the provider with the libibverbs that loaded this object and hooks its completion
// channels. Says what went wrong on stderr, in one line, since a constructor has no other way.
[[nodiscard]] tl::expected<Layout, RegisterError> register_provider(const ProviderHooks& hooks);

// After a successful register_provider.
[[nodiscard]] Layout current_layout();

// False when libibverbs' calls could not be hooked: ibv_create_comp_channel fails with ENOSPC then.
[[nodiscard]] bool completion_channels_hooked();

// A new context with every operation answering EOPNOTSUPP, cmd_fd registered for completion
// channels, async_fd -1. Takes cmd_fd: it is closed by release_context, or before a nullptr is
// returned. errno: ENOMEM; EMFILE (kMaxCommandFds contexts are open); ENOSYS when the library's
// structs are not those its private ABI number stands for (one line on stderr).
[[nodiscard]] VerbsContext* allocate_context(ibv_device* device, int cmd_fd, void* owner);

// The provider fills async_fd (must be set: libibverbs asks the kernel otherwise) and
// num_comp_vectors.
[[nodiscard]] ibv_context* context_of(VerbsContext* context);
[[nodiscard]] VerbsContext* verbs_context_of(ibv_context* context);

// ops.layout() must be current_layout(). May be called again to override single operations.
void set_ops(VerbsContext* context, const OpsTable& ops);

// Closes cmd_fd and async_fd (when not -1) and frees the context; the owner object stays the
// caller's.
void release_context(ibv_context* context);

// The context with the provider's own pointer behind it, as allocate_context lays it out.
struct OwnedContext {
    ibv_context context;
    void* owner;
};
static_assert(offsetof(OwnedContext, owner) == 328);

template <typename Owner>
[[nodiscard]] Owner* owner_of(ibv_context* context) {
    return static_cast<Owner*>(reinterpret_cast<OwnedContext*>(context)->owner);
}

}  // namespace vrdma::verbs_abi
