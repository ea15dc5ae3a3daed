#include "tools/verbs_util/registration.h"

#include <fmt/format.h>

// Protection domains and memory regions. A refused registration is the most common set-up failure
// on real hosts (locked-memory limit on RDMA hardware, quota of the virtual NIC on vRDMA), so its
// message carries the range and both remedies.

namespace vrdma::verbs_util {

Result<Owned<ibv_pd>> allocate_pd(const Device& device) {
    errno = 0;
    Owned<ibv_pd> pd(ibv_alloc_pd(device.context()));
    if (!pd) {
        return fail_errno(ErrorKind::kSetup, "ibv_alloc_pd on " + device.name(), errno);
    }
    return pd;
}

Result<Owned<ibv_mr>> register_memory(const Device& device, ibv_pd* pd, void* at, std::size_t bytes,
                                      unsigned access) {
    errno = 0;
    Owned<ibv_mr> mr(ibv_reg_mr(pd, at, bytes, access));
    if (!mr) {
        return fail_errno(ErrorKind::kSetup,
                          fmt::format("ibv_reg_mr of {} bytes at {}, access {:#x}, on {}", bytes,
                                      at, access, device.name()),
                          errno,
                          errno == ENOMEM
                              ? "raise ulimit -l, or the memory quota of the virtual NIC"
                              : std::string());
    }
    return mr;
}

}  // namespace vrdma::verbs_util
