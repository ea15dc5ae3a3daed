// An address handle is checked once, here, and then copied into every UD entry that names it: no
// state at the device, no limit but memory. That the peer exists is found out when something is
// sent.
#include "verbs/ah.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "verbs/address.h"
#include "verbs/context.h"

namespace vrdma::verbs {

ibv_ah* create_ah(ibv_pd* pd, ibv_ah_attr* attr) {
    const char* reason = check_address(Context::of(pd->context), *attr);
    if (reason != nullptr) {
        fail("create_ah", EINVAL, reason);
        return nullptr;
    }
    auto* ah = new (std::nothrow) Ah{};
    if (ah == nullptr) {
        fail("create_ah", ENOMEM, "out of memory");
        return nullptr;
    }
    const vrdma_address address = to_device(*attr);
    std::memcpy(ah->address.remote_gid, address.gid, sizeof ah->address.remote_gid);
    ah->address.flow_label = address.flow_label;
    ah->address.sgid_index = address.sgid_index;
    ah->address.hop_limit = address.hop_limit;
    ah->address.traffic_class = address.traffic_class;
    ah->address.sl = address.sl;
    return &ah->base;
}

int destroy_ah(ibv_ah* ah) {
    delete reinterpret_cast<Ah*>(ah);
    return 0;
}

}  // namespace vrdma::verbs
