// The regions that memory registrations of one context use: one for each piece of memory, however
// many MRs lie in it.
//
// Threading: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <tl/expected.hpp>
#include <vector>

#include "driver/channel/channel.h"
#include "driver/memory/memory_map.h"

namespace vrdma::verbs {

class RegionCache {
  public:
    struct Region;  // one at the device

    // A range of an MR: the region it lies in and where.
    struct Use {
        Region* region;
        vrdma_mr_range range;
    };

    explicit RegionCache(driver::Channel& channel);
    ~RegionCache();

    // Errors: those of ADD_REGION, and of looking at the file.
    [[nodiscard]] tl::expected<Use, driver::CommandError> acquire(
        const tenant_memory::Range& memory);
    // After the MR is deregistered. The last use removes the region.
    void release(Region* region);

  private:
    std::mutex mutex_;
    driver::Channel& channel_;
    std::vector<std::unique_ptr<Region>> regions_;
};

}  // namespace vrdma::verbs
