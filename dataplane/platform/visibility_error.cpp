// Words for failures of system calls; see the header.
#include "dataplane/platform/visibility_error.h"

#include <system_error>

namespace vrdma::platform {

VisibilityError system_error(const std::string& problem, int error, const std::string& remedy) {
    return {.problem = problem + ": " + std::generic_category().message(error), .remedy = remedy};
}

}  // namespace vrdma::platform
