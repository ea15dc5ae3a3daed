// VR_CHECK: our own bugs stop the service at once. Never on a value that a tenant, a peer or a file
// can choose.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace vrdma {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "vrdmad: internal error: %s does not hold at %s:%d\n", condition, file,
                 line);
    std::abort();
}

}  // namespace vrdma

#define VR_CHECK(condition)                                        \
    do {                                                           \
        if (!(condition)) [[unlikely]] {                           \
            ::vrdma::check_failed(#condition, __FILE__, __LINE__); \
        }                                                          \
    } while (false)
