// rdma_cm for devices without a kernel behind them.
//
// librdmacm opens /dev/infiniband/rdma_cm, writes commands to it and closes it; it has no
// providers. But it asks libibverbs for devices first, and so this provider is in the process by
// then: it redirects `open`, `fstat`, `write` and `close` in the global offset table of that
// librdmacm, and there only. What is not about a channel of ours goes where the slot led before.
//
// Threading: hook_rdmacm on any thread. The hooked calls run on any thread, without locks of their
// own.
#pragma once

#include <sys/types.h>

#include <cstddef>

struct link_map;

namespace vrdma::verbs_abi {

struct RdmacmCalls {
    // A new channel's descriptor; -1 and errno; or kNoChannel: the kernel's business.
    int (*open_channel)();
    bool (*is_channel)(int fd);
    ssize_t (*command)(int fd, const void* data, std::size_t size);
    // The descriptor is about to be closed.
    void (*close_channel)(int fd);
};
inline constexpr int kNoChannel = -2;

// Remembers what to call, hooks the librdmacm of this process when it has one, and else when the
// devices are asked for again after it was loaded, which it does before it opens anything.
// `libibverbs` is where that is noticed.
void hook_rdmacm(link_map* libibverbs, const RdmacmCalls& calls);

}  // namespace vrdma::verbs_abi
