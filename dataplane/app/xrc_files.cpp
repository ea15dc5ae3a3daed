// Everything that a target queue pair touches has to be on its worker: workers share nothing. So
// all handles of one domain are, and the first says where. It counts from before its command is
// given to the worker, because two programs may open the same file at the same time.
#include "dataplane/app/xrc_files.h"

#include "dataplane/base/check.h"

namespace vrdma::app {

bool XrcFiles::claim(const platform::FileIdentity& file, uint32_t worker) {
    Claims& claims = claims_.try_emplace(file, Claims{worker, 0}).first->second;
    if (claims.worker != worker) {
        return false;
    }
    ++claims.count;
    return true;
}

void XrcFiles::release(const platform::FileIdentity& file) {
    const auto found = claims_.find(file);
    VR_CHECK(found != claims_.end());
    if (--found->second.count == 0) {
        claims_.erase(found);
    }
}

}  // namespace vrdma::app
