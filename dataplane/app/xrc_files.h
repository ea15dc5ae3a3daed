// On which worker the XRC domains of files are: the domains of one vNIC.
#pragma once

#include <cstdint>
#include <map>

#include "dataplane/platform/tenant_files.h"

namespace vrdma::app {

class XrcFiles {
  public:
    // A handle of the file's domain is about to be made on this worker. False: the domain is on
    // another one, where its target queue pairs and SRQs are.
    [[nodiscard]] bool claim(const platform::FileIdentity& file, uint32_t worker);
    // It was not made, or is gone.
    void release(const platform::FileIdentity& file);

    [[nodiscard]] bool empty() const { return claims_.empty(); }

  private:
    struct Claims {
        uint32_t worker;
        uint32_t count;
    };
    std::map<platform::FileIdentity, Claims> claims_;
};

}  // namespace vrdma::app
