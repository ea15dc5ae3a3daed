// Memory regions.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <vector>

#include "driver/memory/memory_map.h"
#include "verbs/libibverbs_abi/structs.h"
#include "verbs/region_cache.h"

namespace vrdma::verbs {

// What is registered.
struct MrSpec {
    const ibv_pd* pd = nullptr;
    std::uint64_t address = 0;
    std::uint64_t length = 0;  // may be zero
    std::uint64_t iova = 0;    // how work requests name the first byte
    std::uint32_t access = 0;  // enum ibv_access_flags
};

// What a registration holds.
struct Registration {
    std::uint32_t handle = 0;
    std::uint32_t lkey = 0;
    bool pinned = false;
    tenant_memory::PinId pin{};
    std::vector<RegionCache::Region*> regions;
};

struct Mr {
    verbs_abi::VerbsMr base{};  // first: an ibv_mr* is a Mr*
    MrSpec spec;
    Registration registration;
};

[[nodiscard]] ibv_mr* reg_mr(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova,
                             int access);
[[nodiscard]] ibv_mr* reg_dmabuf_mr(ibv_pd* pd, std::uint64_t offset, std::size_t length,
                                    std::uint64_t iova, int fd, int access);
int rereg_mr(verbs_abi::VerbsMr* mr, int flags, ibv_pd* pd, void* address, std::size_t length,
             int access);
int dereg_mr(verbs_abi::VerbsMr* mr);

}  // namespace vrdma::verbs
