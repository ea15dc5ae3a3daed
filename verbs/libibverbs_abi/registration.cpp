// Enters libibverbs and makes contexts in it. Decides nothing about verbs: it knows where things
// lie.
//
// A context is one allocation by the library: its verbs_context, and right behind it our owner
// pointer (OwnedContext) and some slack. The slack and the check after allocation guard against a
// libibverbs whose private structs changed without a new private ABI number, as happened between
// rdma-core 61 and 62: verbs_context.sz, the field just before the embedded ibv_context, must be
// the size we expect where we expect it, and so must the device pointer. A mismatch refuses the
// device with a sentence instead of corrupting memory.
//
// State: the library found by register_provider and the ops table it was given, both set once by a
// constructor and constant after. Messages go to stderr because neither a constructor nor
// libibverbs has another channel to whoever runs the program; there is at most one for each cause.
#include "verbs/libibverbs_abi/registration.h"

#include <errno.h>
#include <link.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "verbs/libibverbs_abi/completion_channel_hook.h"
#include "verbs/libibverbs_abi/libibverbs.h"

namespace vrdma::verbs_abi {
namespace {

// Bytes behind OwnedContext that a larger verbs_context may grow into without touching the heap.
constexpr std::size_t kContextSlack = 256;
constexpr std::uint32_t kDriverIdUnknown = 0;  // RDMA_DRIVER_UNKNOWN

std::optional<Libibverbs> library;
VerbsDeviceOps device_ops;
bool hooked = false;

// VERBS_NAME_MATCH("vrdma") and the sentinel: libibverbs matches the name of a device without an
// HCA's modalias as "rdma_device:N<name>".
constexpr std::array<VerbsMatchEnt, 2> kMatchTable = {{
    {.driver_data = nullptr,
     .u = {.modalias = "rdma_device:*Nvrdma*"},
     .vendor = 0,
     .device = 0,
     .kind = MatchKind::modalias},
    {.driver_data = nullptr, .u = {}, .vendor = 0, .device = 0, .kind = MatchKind::sentinel},
}};

const char* describe(HookError error) {
    switch (error) {
        case HookError::no_relocations:
            return "it has no dynamic section that can be read";
        case HookError::write_not_found:
            return "it does not import write()";
        case HookError::not_resolved:
            return "write() or ioctl() could not be found";
        case HookError::not_writable:
            return "its offset table could not be made writable";
        case HookError::already_hooked:
            return "this provider already serves another libibverbs";
    }
    __builtin_unreachable();
}

std::size_t size_field(const ibv_context* context) {
    std::size_t size = 0;  // verbs_context.sz
    std::memcpy(&size, reinterpret_cast<const char*>(context) - sizeof size, sizeof size);
    return size;
}

}  // namespace

tl::expected<Layout, RegisterError> register_provider(const ProviderHooks& hooks) {
    const auto found = find_libibverbs();
    if (!found) {
        if (found.error() == LibibverbsError::not_loaded) {
            return tl::unexpected(RegisterError::no_libibverbs);
        }
        std::fprintf(stderr,
                     "vrdma: this libibverbs has a private ABI that this provider does not know "
                     "(it knows 34, 57, 59, 64 and 65); install a newer vrdma provider\n");
        return tl::unexpected(RegisterError::unknown_private_abi);
    }
    library = *found;
    const auto hook = install_hook(library->object, hooks.create_channel);
    hooked = hook.has_value();
    if (!hooked) {
        std::fprintf(
            stderr,
            "vrdma: completion channels will not work, because %s could not be hooked: %s\n",
            library->object == nullptr ? "libibverbs" : library->object->l_name,
            describe(hook.error()));
    }
    if (hooks.rdmacm != nullptr) {
        hook_rdmacm(library->object, *hooks.rdmacm);
    }
    device_ops = VerbsDeviceOps{
        .name = kDriverName,
        .match_min_abi_version = kMatchAbiVersion,
        .match_max_abi_version = kMatchAbiVersion,
        .match_table = kMatchTable.data(),
        .static_providers = nullptr,
        .match_device = nullptr,
        .alloc_context = hooks.alloc_context,
        .import_context = nullptr,
        .alloc_device = hooks.alloc_device,
        .uninit_device = hooks.uninit_device,
    };
    library->register_driver(&device_ops);
    return library->layout;
}

Layout current_layout() {
    return library->layout;
}

bool completion_channels_hooked() {
    return hooked;
}

VerbsContext* allocate_context(ibv_device* device, int cmd_fd, void* owner) {
    if (!add_command_fd(cmd_fd)) {
        close(cmd_fd);
        errno = EMFILE;
        return nullptr;
    }
    const LayoutSizes sizes = sizes_of(library->layout);
    const std::size_t bytes = sizes.context_offset + sizeof(OwnedContext) + kContextSlack;
    void* blob = library->init_and_alloc_context(device, cmd_fd, bytes, nullptr, kDriverIdUnknown);
    if (blob == nullptr) {
        remove_command_fd(cmd_fd);
        return nullptr;
    }
    auto* verbs_context = static_cast<VerbsContext*>(blob);
    ibv_context* context = context_of(verbs_context);
    if (size_field(context) != sizes.context_size || context->device != device) {
        std::fprintf(
            stderr,
            "vrdma: this libibverbs (%s) does not lay out its contexts as its private ABI %u "
            "should; install a vrdma provider made for this release\n",
            library->object->l_name, static_cast<unsigned>(library->pabi));
        remove_command_fd(cmd_fd);
        library->uninit_context(verbs_context);
        std::free(blob);
        errno = ENOSYS;
        return nullptr;
    }
    reinterpret_cast<OwnedContext*>(context)->owner = owner;
    set_command_context(cmd_fd, context);
    return verbs_context;
}

ibv_context* context_of(VerbsContext* context) {
    return reinterpret_cast<ibv_context*>(reinterpret_cast<char*>(context) +
                                          sizes_of(library->layout).context_offset);
}

VerbsContext* verbs_context_of(ibv_context* context) {
    return reinterpret_cast<VerbsContext*>(reinterpret_cast<char*>(context) -
                                           sizes_of(library->layout).context_offset);
}

void set_ops(VerbsContext* context, const OpsTable& ops) {
    library->set_ops(context, ops.data());
}

void release_context(ibv_context* context) {
    VerbsContext* verbs_context = verbs_context_of(context);
    remove_command_fd(context->cmd_fd);
    library->uninit_context(verbs_context);
    std::free(verbs_context);
}

}  // namespace vrdma::verbs_abi
