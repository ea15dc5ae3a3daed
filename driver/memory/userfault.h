#pragma once

// Can other threads be held off while memory is exchanged, and by what.

#include <cstdint>
#include <string>

#include "driver/memory/memory_map.h"

namespace vrdma::tenant_memory {

struct Withholding {
    bool possible = false;
    int userfault_fd = -1;  // owned by the receiver; -1 with possible: no other thread is there
    std::string text;       // how, or why not
};

// device_fd: an open /dev/userfaultfd or -1. own_threads: threads of ours in this process.
[[nodiscard]] Withholding find_withholding(const Policy& policy, int device_fd,
                                           uint32_t own_threads);

}  // namespace vrdma::tenant_memory
