// Regions: memory of a tenant that the device can reach, and the spans that point into it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "driver/abi/command.h"

namespace vrdma {

// How a region is reached from this process. Not arena state: a restart makes it anew.
struct RegionMapping {
    std::byte* base = nullptr;     // MAPPED: where it stands here
    int process_file = -1;         // PROCESS: the tenant's /proc/self/mem
    uint64_t process_address = 0;  // PROCESS: tenant address of the region's first byte
    // MAPPED: becomes true when the memory behind the mapping turned out to be gone (a truncated
    // file): what was read since is zeros, what was written is lost.
    const std::atomic<bool>* broken = nullptr;
    bool may_shrink = false;  // MAPPED: not sealed, so that `broken` may become true
};

// The part of a region that outlives a restart.
struct Region {
    uint64_t offset;
    uint64_t length;
    uint32_t context;  // owner
    uint32_t users;    // memory regions and queues that stand on it
    uint8_t kind;      // enum vrdma_region_kind; 0 = free entry
    uint8_t flags;     // VRDMA_REGION_*
    uint8_t reserved[6];
};
static_assert(sizeof(Region) == 32);

// A contiguous piece of tenant memory, ready to be copied.
struct MemorySpan {
    std::byte* host;  // nullptr: PROCESS memory
    uint64_t process_address;
    const RegionMapping* mapping;
    uint64_t length;
};

}  // namespace vrdma
