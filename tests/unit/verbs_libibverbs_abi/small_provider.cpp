// The least provider there can be, to see registration work inside a loaded libibverbs.
#include <errno.h>
#include <fcntl.h>

#include <cstdlib>

#include "verbs/libibverbs_abi/registration.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace vrdma::verbs_abi;  // NOLINT(google-build-using-namespace): a test program

namespace {

int state = 4711;
int result = -1;  // the layout, or -2 - RegisterError

VerbsDevice* alloc_device(VerbsSysfsDev*) {
    return static_cast<VerbsDevice*>(std::calloc(1, sizeof(VerbsDevice)));
}

void uninit_device(VerbsDevice* device) {
    std::free(device);
}

int modify_qp(ibv_qp*, ibv_qp_attr*, int) {
    return 0;
}

void free_context(ibv_context* context) {
    release_context(context);
}

VerbsContext* alloc_context(ibv_device* device, int cmd_fd, void*) {
    VerbsContext* context = allocate_context(device, cmd_fd, &state);
    if (context == nullptr) {
        return nullptr;
    }
    OpsTable ops(current_layout());
    ops.set<Op::modify_qp>(&modify_qp);
    ops.set<Op::free_context>(&free_context);
    set_ops(context, ops);
    context_of(context)->async_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    context_of(context)->num_comp_vectors = 1;
    return context;
}

int create_channel(ibv_context*) {
    return open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

__attribute__((constructor)) void enter() {
    static constexpr ProviderHooks kHooks{alloc_device, uninit_device, alloc_context,
                                          create_channel};
    const auto registered = register_provider(kHooks);
    result = registered ? static_cast<int>(*registered) : -2 - static_cast<int>(registered.error());
}

}  // namespace

EXPORT int small_result() {
    return result;
}

EXPORT void* small_modify_qp() {
    return reinterpret_cast<void*>(&modify_qp);
}

EXPORT void* small_state() {
    return &state;
}

EXPORT void* small_owner(ibv_context* context) {
    return owner_of<int>(context);
}
